"""Weight rounding: reconstruction error and word error rate of nearest, AdaRound and GPTQ, simulated.

    python benchmarks/rounding.py --test demo:test --out docs/results/rounding

Activations are those that StableQuant found (docs/results). Rounded operators and evaluations are stored in
`<out>.work`, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import torch
from harness import cell, provenance

from speechquant.data import Corpus, iter_loaded
from speechquant.evaluation import Evaluation, EvaluationStore, Evaluator
from speechquant.jobs.sources import resolve_corpus, resolve_model
from speechquant.learn import RoundedWeights, round_weights, rounded
from speechquant.models import SpeechModel, load_model
from speechquant.numerics import Histogram, ScaleTable, load_histograms, save_histograms
from speechquant.simulation import activation_table, observe, quantized, weight_table

MODELS = {
    "demo": ("Moonshine tiny", ("conv.0", "conv.1"), 0.08),
    "demo:hubert-mini": ("hubert-mini", ("input", "projection"), 0.1),
}
"""Name, and the layers and the cut-off of StableQuant at W8A8."""

METHODS: dict[str, dict[str, Any]] = {
    "nearest": {},
    "gptq": {},
    "gptq asymmetric": {"asymmetric": True},
    "adaround": {},
}


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    model: str
    weights: int
    inputs: int | None
    scales: str
    method: str

    @property
    def bits(self) -> str:
        """`w4a8`; without a number of its own, activations stay in float."""
        return f"w{self.weights}a{self.inputs or 16}"


def rows(models: list[str], methods: list[str]) -> list[Row]:
    """In the order of importance."""
    widths = ((4, None, "mse"), (4, 8, "mse"), (8, 8, "max"))
    return [Row(model, *width, method) for width in widths for model in models for method in methods]


def main() -> None:
    """Run all lines and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--calibration", default="demo:calibration")
    parser.add_argument("--utterances", type=int, help="of the calibration speech, at random; all by default")
    parser.add_argument("--dev", default="demo:dev")
    parser.add_argument("--test")
    parser.add_argument("--bits", nargs="+", help="only these, such as w4a8")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    work = options.out.with_name(options.out.name + ".work")
    work.mkdir(parents=True, exist_ok=True)
    benches: dict[str, Bench] = {}
    lines: list[dict[str, Any]] = []
    with EvaluationStore(work / "evaluations.sqlite") as store:
        for row in rows(options.models, options.methods):
            if options.bits and row.bits not in options.bits:
                continue
            if row.model not in benches:
                benches[row.model] = Bench(row.model, options, store, work)
            lines.append(benches[row.model].line(row))
            print(json.dumps(lines[-1]), flush=True)
            write(options.out, lines)


class Bench:
    """One model with its speech."""

    def __init__(self, name: str, options: argparse.Namespace, store: EvaluationStore, work: Path) -> None:
        self.model: SpeechModel = load_model(resolve_model(name))
        self.work = work
        sets = {"dev": options.dev, "test": options.test}
        self.sets = {key: resolve_corpus(spec) for key, spec in sets.items() if spec}
        calibration = resolve_corpus(options.calibration)
        self.waves = [samples for _, samples in iter_loaded(calibration, strict=True, on_skip=print)]
        self.histograms = self.observed()
        if options.utterances:
            self.waves = random.Random(0).sample(self.waves, options.utterances)  # noqa: S311
        self.evaluator = Evaluator(
            "whisper-english" if self.model.runtime.writes_punctuation else "upper", store
        )

    def observed(self) -> dict[str, Histogram]:
        """Of all calibration speech, kept in the work folder."""
        path = self.work / f"histograms-{self.model.results_signature[:16]}.npz"
        if not path.is_file():
            save_histograms(path, observe(self.model, self.waves))
        return load_histograms(path)

    def table(self, row: Row) -> ScaleTable:
        """Weights by max or mse; activations as StableQuant clips them."""
        sites = self.model.sites()
        found = weight_table(self.model, sites, bits=row.weights, method=row.scales)  # type: ignore[arg-type]
        if row.inputs is None:
            return found
        _, clipped, cutoff = MODELS[row.model]
        for part, p in ((True, cutoff), (False, 0.0)):
            chosen = [site for site in sites if (site.layer in clipped) == part]
            found = found.merged(
                activation_table(
                    chosen,
                    histograms=self.histograms,
                    calibrator="stablequant",
                    bits=row.inputs,
                    cutoff=p,
                )
            )
        return found

    def line(self, row: Row) -> dict[str, Any]:
        """Round, then recognise."""
        table = self.table(row)
        method, settings = row.method.split()[0], METHODS[row.method]
        weights = round_weights(
            self.model, table, self.waves, method=method, options=settings, work=self.work, progress=tell
        )
        line: dict[str, Any] = {
            "model": MODELS[row.model][0],
            "bits": row.bits,
            "scales": row.scales,
            "method": row.method,
            "options": settings,
            "errors": {name: [e.rounded, e.nearest] for name, e in weights.errors.items()},
        }
        for name, corpus in self.sets.items():
            reference = self.evaluator.evaluate(self.model.recognizer(), corpus)
            found = self.simulate(table, weights, corpus)
            line[f"float {name}"] = reference.figures() | {"capped": reference.capped}
            line[name] = found.figures() | {
                "capped": found.capped,
                "p_value": reference.compare(found).p_value,
            }
        return line

    def simulate(self, table: ScaleTable, weights: RoundedWeights, corpus: Corpus) -> Evaluation:
        """The rounded model under fake quantizers."""
        names = f"{self.model.recognizer().signature}|{table.signature}|{weights.signature}"
        signature = hashlib.sha256(names.encode()).hexdigest()
        with rounded(self.model, weights), quantized(self.model, table):
            return self.evaluator.evaluate(self.model.recognizer(signature=signature), corpus)


def tell(done: int, total: int, what: str = "") -> None:
    """One line on the terminal."""
    print(f"  {done}/{total} {what}", end="\r", flush=True)


def write(out: Path, lines: list[dict[str, Any]]) -> None:
    """`<out>.json` with everything and `<out>.md` with the table."""
    where = provenance(__doc__ or "")
    out.with_suffix(".json").write_text(
        json.dumps({**where, "rows": lines}, indent=1) + "\n", encoding="utf-8"
    )
    sets = [name for name in ("dev", "test") if name in lines[0]]
    head = ["model", "bits", "weight scales", "rounding", "output error", *(f"{s} WER %" for s in sets)]
    table = [head, ["---"] * len(head)]
    told = set()
    for line in lines:
        if line["model"] not in told:
            told.add(line["model"])
            floats = [cell(line[f"float {name}"]) for name in sets]
            table.append([line["model"], "float", "", "", "", *floats])
        cells = [cell(line[name]) for name in sets]
        table.append([*(line[key] for key in ("model", "bits", "scales", "method")), error(line), *cells])
    text = [f"# {where['about']}", "", EXPLANATION, ""]
    text += ["| " + " | ".join(row) + " |" for row in table]
    text += ["", f"    {where['command']}", "", f"Commit {where['commit'][:12]}; {where['machine']};"]
    text += [", ".join(f"{name} {number}" for name, number in where["versions"].items()) + ".", ""]
    out.with_suffix(".md").write_text("\n".join(text), encoding="utf-8")


EXPLANATION = """Output error: squared error of an operator's output over that of rounding this operator to nearest
with the same inputs, geometric mean over all operators, on the calibration speech. WER with 95 % interval and S/D/I;
p: MAPSSWE against float, two-sided, \\*: p < 0.05."""


def error(line: dict[str, Any]) -> str:
    """`0.43`, empty where nothing was measured."""
    ratios = [max(found, 1e-30) / max(nearest, 1e-30) for found, nearest in line["errors"].values()]
    return f"{geometric_mean(ratios):.3f}" if ratios else "1"


if __name__ == "__main__":
    main()
