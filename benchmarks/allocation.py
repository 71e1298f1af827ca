"""Mixed precision without training: uniform bits against bits chosen by three criteria, weights alone.

    python benchmarks/allocation.py demo demo:hubert-mini --out docs/results/mixed-precision

Weights are rounded to nearest on one scale per output channel (of least squared error below 8 bits), activations stay
in float, all weights are searched. Every row is evaluated on part of the dev set; rows of uniform bits, and for each
budget the criterion with the fewest errors there, then on all of dev and on test. Evaluations and costs are stored in
`<out>.work`, so an interrupted run goes on where it stopped; several models may run at once, and the tables show what
is there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from harness import cell, provenance

from speechquant.artifact import storage_of
from speechquant.artifact.weights import save_tensors
from speechquant.data import Corpus, iter_loaded
from speechquant.evaluation import EvaluationStore, Evaluator
from speechquant.jobs.sources import resolve_corpus, resolve_model
from speechquant.learn.allocation import Budget, candidates_of, choose, criterion_names, sensitivities
from speechquant.models import SpeechModel, load_model
from speechquant.numerics import ScaleTable
from speechquant.simulation import quantized, weight_table

UNIFORM = (8, 6, 4, 3)


def main() -> None:
    """Run the models that are named and write all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--budgets", type=float, nargs="+", default=(5.0, 4.0, 3.0))
    parser.add_argument("--criteria", nargs="+", default=sorted(criterion_names()))
    parser.add_argument("--speech", type=int, default=3, help="utterances that sensitivities are measured on")
    parser.add_argument("--utterances", type=int, default=60, help="of the dev set, to choose with")
    parser.add_argument("--rows-only", action="store_true", help="leave out all of dev and test")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    work = options.out.with_name(options.out.name + ".work")
    work.mkdir(parents=True, exist_ok=True)
    for name in options.models:
        Bench(name, options, work).run()
    write(options.out, work, provenance(__doc__ or ""))


class Bench:
    """All rows of one model."""

    def __init__(self, name: str, options: argparse.Namespace, work: Path) -> None:
        self.name, self.options, self.work = name, options, work
        self.model: SpeechModel = load_model(resolve_model(name))
        self.weights = {key: tensor.numpy() for key, tensor in self.model.module.state_dict().items()}
        self.path = work / f"{self.model.folder.name}.json"
        dev = resolve_corpus("demo:dev", name="dev", require_text=True)
        test = resolve_corpus("demo:test", name="test", require_text=True)
        part = Corpus("dev", tuple(dev)[:: max(1, len(dev) // options.utterances)][: options.utterances])
        self.corpora = {"part": part, "dev": dev, "test": test}
        self.found: dict[str, Any] = {"model": name, "float": {}, "rows": []}

    def run(self) -> None:
        """Every row on part of dev, then the chosen ones on everything."""
        normalizer = "whisper-english" if self.model.writes_punctuation else "upper"
        with EvaluationStore(self.work / f"{self.model.folder.name}.sqlite") as store:
            self.evaluator = Evaluator(normalizer, store)
            self.evaluated(ScaleTable({}), "part", self.found["float"])
            tables = {}
            for bits in UNIFORM:
                method = "max" if bits == 8 else "mse"
                table = weight_table(self.model, self.model.sites(), bits=bits, method=method)
                tables[f"uniform {bits}"] = table
                self.row("uniform", bits, table)
            for row, table in self.allocated():
                tables[f"{row['method']} {row['budget']}"] = table
            if self.options.rows_only:
                return
            for role in ("dev", "test"):
                self.evaluated(ScaleTable({}), role, self.found["float"])
            for row in self.chosen():
                for role in ("dev", "test"):
                    self.evaluated(tables[f"{row['method']} {row['budget']}"], role, row)
                    self.save()

    def allocated(self) -> Any:
        """Rows of every criterion and budget."""
        speech = resolve_corpus("demo:calibration", name="calibration").subset(
            limit=self.options.speech, seed=0
        )
        waves = [samples for _, samples in iter_loaded(speech, strict=True, on_skip=print)]
        candidates = candidates_of(self.model, rule="all")
        for criterion in self.options.criteria:
            costs = sensitivities(self.model, candidates, waves, criterion=criterion, work=self.work)
            print(self.name, criterion, "measured", flush=True)
            for average in self.options.budgets:
                budget = Budget(average_bits=average)
                made = choose(self.model, candidates, costs, budget=budget, criterion=criterion)
                row = self.row(criterion, average, made.table)
                row["predicted"] = made.predicted
                row["matrices"] = {choice.module: choice.bits for choice in made.choices}
                self.save()
                yield row, made.table

    def row(self, method: str, budget: float, table: ScaleTable) -> dict[str, Any]:
        """One line of the table, on part of dev."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.safetensors"
            save_tensors(path, self.weights, table)
            searched = [entry.site.module for entry in table]
            row = {
                "method": method,
                "budget": budget,
                "storage": storage_of(path, searched=searched).figures(),
            }
        self.evaluated(table, "part", row)
        self.found["rows"].append(row)
        self.save()
        print(self.name, method, budget, row["part"], flush=True)
        return row

    def chosen(self) -> list[dict[str, Any]]:
        """Uniform rows, and for each budget the criterion with the fewest errors."""
        rows = self.found["rows"]
        best = [
            min((r for r in rows if r["method"] != "uniform" and r["budget"] == budget), key=errors)
            for budget in self.options.budgets
        ]
        return [row for row in rows if row["method"] == "uniform"] + best

    def evaluated(self, table: ScaleTable, role: str, row: dict[str, Any]) -> None:
        """Add WER with all that must stand beside it; the float row comes first."""
        run = partial(self.evaluator.evaluate, corpus=self.corpora[role])
        reference = run(self.model.recognizer())
        if not len(table):
            row[role] = reference.figures() | {"capped": reference.capped}
            return
        names = f"{self.model.recognizer().signature}|{table.signature}"
        signature = hashlib.sha256(names.encode()).hexdigest()
        with quantized(self.model, table):
            found = run(self.model.recognizer(signature=signature))
        row[role] = found.figures() | {"capped": found.capped, "p_value": reference.compare(found).p_value}

    def save(self) -> None:
        """Keep what there is."""
        self.path.write_text(json.dumps(self.found, indent=1) + "\n", encoding="utf-8")


def errors(row: dict[str, Any]) -> int:
    """Wrong words on part of dev."""
    part = row["part"]
    return int(part["substitutions"] + part["deletions"] + part["insertions"])


def write(out: Path, work: Path, where: dict[str, Any]) -> None:
    """`<out>.json` with everything and `<out>.md` with a table for each model."""
    models = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(work.glob("*.json"))]
    models = [model for model in models if "rows" in model]
    out.with_suffix(".json").write_text(
        json.dumps({**where, "models": models}, indent=1) + "\n", encoding="utf-8"
    )
    text = [f"# {where['about']}", "", *(__doc__ or "").strip().split("\n\n")[2].splitlines(), ""]
    text += ["p: MAPSSWE against float, two-sided. \\*: p < 0.05. Ratio: float32 bytes over bytes of"]
    text += [
        "`model.safetensors`, before and after entropy coding. Predicted: sum of the costs, nats per position."
    ]
    for model in models:
        text += ["", f"## {model['model']}", "", *table_of(model)]
    text += ["", f"    {where['command']}", "", f"Commit {where['commit'][:12]}; {where['machine']};"]
    text += [", ".join(f"{name} {number}" for name, number in where["versions"].items()) + ".", ""]
    out.with_suffix(".md").write_text("\n".join(text), encoding="utf-8")


def table_of(model: dict[str, Any]) -> list[str]:
    """The rows of one model."""
    sets = [role for role in ("part", "dev", "test") if role in model["float"]]
    words = {role: model["float"][role]["words"] for role in sets}
    heads = [f"{'dev part' if role == 'part' else role}, {words[role]:,} words" for role in sets]
    lines = [f"| method | bits | MB | ratio | predicted | {' | '.join(heads)} |"]
    lines += ["| --- " * (5 + len(sets)) + "|"]
    lines += [f"| float | 32 | | 1 | | {' | '.join(cell(model['float'][role]) for role in sets)} |"]
    for row in model["rows"]:
        stored = row["storage"]
        ratio = f"{stored['packed_ratio']:.2f}, {stored['ratio']:.2f}"
        predicted = f"{row['predicted']:.4f}" if "predicted" in row else ""
        cells = " | ".join(cell(row.get(role)) for role in sets)
        lines.append(
            f"| {row['method']} | {stored['searched_bits']:.2f} | {stored['stored_bytes'] / 1e6:.2f} | "
            f"{ratio} | {predicted} | {cells} |"
        )
    return lines


if __name__ == "__main__":
    main()
