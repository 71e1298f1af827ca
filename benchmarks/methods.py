"""Word error rates of all calibrators on one model, simulated and in real int8.

    python benchmarks/methods.py demo --dev demo:dev --test demo:test --out docs/results/moonshine-methods

Every evaluation is stored in `<out>.work`, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import provenance, write_results

from speechquant.engines import load_recognizer
from speechquant.engines.export import export_onnx
from speechquant.evaluation import Evaluation, EvaluationStore
from speechquant.jobs import Recipe, Silent
from speechquant.jobs.quantization.workbench import Workbench
from speechquant.jobs.sources import open_corpora, resolve_model
from speechquant.metrics import token_agreement
from speechquant.models import load_model
from speechquant.numerics import ScaleTable

ALL = ("*",)
TRANSFORMER = ("encoder.*", "decoder.*", "transformer.*", "head", "lm_head")
ENCODER = ("input", "conv.*", "encoder.*", "transformer.*", "projection", "pos_conv")


@dataclass(frozen=True)
class Row:
    """One line of the table: what is quantized and how."""

    method: str
    bits: str = "w8a8"
    layers: str = "all"
    int8: bool = False
    dev: bool = True

    @property
    def settings(self) -> dict[str, Any]:
        """Fields of the recipe."""
        name, _, percentile = self.method.partition(" ")
        include = {"all": ALL, "Transformer": TRANSFORMER, "encoder": ENCODER}[self.layers]
        found: dict[str, Any] = {"method": name, "bits": self.bits, "include": include}
        if name == "stablequant" and self.bits != "w8a8":
            # Most of these fail whatever the cut-off; a coarse grid shows it.
            found["cutoffs"] = "0:0.4:0.2"
        return found | ({"percentile": float(percentile)} if percentile else {})


def rows() -> list[Row]:
    """In the order of importance: an interrupted run has the most interesting lines."""
    baselines = ("max", "percentile 99.9", "percentile 99.99", "entropy", "mse")
    lines = [Row(name, int8=True) for name in baselines] + [Row("stablequant", int8=True)]
    widths = ("w16a16", "w8a8", "w6a6", "w4a4")
    for layers in ("Transformer", "encoder", "all"):
        lines += [
            Row("percentile 99.9", bits, layers, dev=False)
            for bits in widths
            if (layers, bits) != ("all", "w8a8")
        ]
    lines += [Row("max", "w8a8", layers, dev=False) for layers in ("Transformer", "encoder")]
    lines += [Row("stablequant", bits) for bits in ("w6a6", "w4a4", "w16a16")]
    return lines


def main() -> None:
    """Run all lines and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--calibration", default="demo:calibration")
    parser.add_argument("--dev", default="demo:dev")
    parser.add_argument("--test", default="demo:test")
    parser.add_argument("--dev-minutes", type=float)
    parser.add_argument("--cutoffs", default="0:0.5:0.01")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    base = {key: value for key, value in vars(options).items() if key != "out"} | {"output": options.out}
    model = load_model(resolve_model(options.model))
    work = options.out.with_name(options.out.name + ".work")
    work.mkdir(parents=True, exist_ok=True)
    with EvaluationStore(work / "evaluations.sqlite") as store:
        lines = []
        for row in rows():
            recipe = Recipe(**{**base, **row.settings})
            bench = Workbench(model, open_corpora(recipe), recipe, store, work, Silent())
            lines.append(measure(bench, row))
            print(lines[-1], flush=True)
            write_results(options.out, lines, provenance(__doc__ or ""))


def measure(bench: Workbench, row: Row) -> dict[str, Any]:
    """Dev and test figures of one line, with the paired test against float."""
    histograms = bench.calibrate()
    line: dict[str, Any] = {"method": row.method, "bits": row.bits, "layers": row.layers}
    evaluator, test = bench.scoring(bench.corpora.test)
    float_test = bench.simulate(ScaleTable({}), evaluator, test)
    if row.dev:
        _, dev = bench.scoring(bench.corpora.dev)
        float_dev = bench.simulate(ScaleTable({}), evaluator, dev)
        found = bench.search(histograms, evaluator, dev)
        table = found.table
        line |= figures("float dev", float_dev)
        line |= figures("dev", bench.simulate(table, evaluator, dev), float_dev)
    else:
        table = bench.plain(histograms, bench.recipe.method)
    simulated = bench.simulate(table, evaluator, test)
    line |= figures("float test", float_test) | figures("test", simulated, float_test)
    if row.method == "stablequant":
        line |= {
            "selected": list(found.selected_layers),
            "p_opt": dict(found.p_opt or {}),
            "passes": found.dev_passes,
            "sensitivity": {item.layer: item.delta for item in found.sensitivity},
            "cutoffs": {str(item.p): item.wer for item in found.cutoffs},
        }
    if row.int8:
        engine = run_engine(bench, table, evaluator, test)
        line |= figures("int8 test", engine, float_test)
        pairs = [(simulated.transcripts[i].tokens, engine.transcripts[i].tokens) for i in engine.transcripts]
        line["token agreement"] = 100 * token_agreement([a for a, _ in pairs], [b for _, b in pairs])
    return line


def run_engine(bench: Workbench, table: ScaleTable, evaluator: Any, test: Any) -> Evaluation:
    """The test set on ONNX Runtime."""
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(bench.model, table, Path(folder))
        recognizer = load_recognizer(folder, vocabulary=bench.model.folder)
        found: Evaluation = evaluator.evaluate(recognizer, test)
    return found


def figures(name: str, found: Evaluation, reference: Evaluation | None = None) -> dict[str, Any]:
    """WER with all that must stand beside it."""
    line = {name: found.figures() | {"capped": found.capped}}
    if reference is not None:
        line[name]["p_value"] = reference.compare(found).p_value
    return line


if __name__ == "__main__":
    main()
