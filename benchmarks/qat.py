"""Quantization-aware training and its float control: word error rates before and after, on dev and test.

    python benchmarks/qat.py demo:hubert-mini --train train.jsonl --steps 100 --batch 4 --out docs/results/qat
    python benchmarks/qat.py demo --train train.jsonl --steps 150 --batch 8 --out docs/results/qat

With `--task-weight 0` and without the run `float` there is no control: a float model has nothing to learn from itself.
Every run resumes from its checkpoint in `<out>.work`; lines of other models stay in the table.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from harness import cell, p_text, provenance
from training_runs import known_rows, listed, parsed, roles_parser, trained

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

RUNS = ("float", "w8a8", "w6a6", "w4a8", "w4a4")
SYSTEMS = ("simulated", "trained")


def main() -> None:
    """Run all lines and write the table after each."""
    parser = roles_parser(__doc__)
    parser.add_argument("model")
    parser.add_argument("--runs", nargs="+", default=list(RUNS), help="`float` first: it is the control")
    own, settings = parsed(parser)
    known = known_rows(own.out)
    control: Any = None
    for run in own.runs:
        outcome = train(own, run, settings)
        row, control = line(own.model, run, outcome, control)
        known["rows"] = [r for r in known["rows"] if (r["model"], r["run"]) != (own.model, run)] + [row]
        known["runs"][own.model] = provenance(__doc__ or "")
        print({k: v for k, v in row.items() if k != "recipe"}, flush=True)
        write(own.out, known)


def train(own: argparse.Namespace, run: str, settings: dict[str, str]) -> Any:
    """One run, or what an earlier one left of it."""
    work = own.out.with_name(own.out.name + ".work")
    place, control = (work / f"{own.model.replace(':', '-')}-{name}" for name in (run, RUNS[0]))
    how = {"method": "float"} if run == RUNS[0] else {"method": "qat", "bits": run}
    return trained(own, place, control, model=own.model, **how, **settings)


def line(model: str, run: str, outcome: Any, control: Any) -> tuple[dict[str, Any], Any]:
    """Figures on dev and test, with paired tests against the float model and against the float control."""
    proof, metrics = outcome.proof, outcome.metrics
    main = next(name for name in SYSTEMS if name in proof.reported)
    if run == "float":
        control = proof
    row: dict[str, Any] = {"model": model, "run": run, "training": metrics["training"]}
    rows = [json.loads(text) for text in (outcome.folder / "history.jsonl").read_text().splitlines()]
    row["start"] = next(r["dev"]["wer"] for r in rows if "dev" in r)
    for name, found in {"dev": proof.dev, "test": proof.reported}.items():
        row[f"float {name}"] = found["float"].figures()
        row[name] = found[main].figures() | {"p_value": found["float"].compare(found[main]).p_value}
        if control is not None and run != "float":
            other = {"dev": control.dev, "test": control.reported}[name]["trained"]
            row[name]["p_control"] = other.compare(found[main]).p_value
    if "quantized" in proof.reported:
        engine = proof.reported["quantized"]
        row["engine test"] = engine.figures() | {
            "p_value": proof.reported["float"].compare(engine).p_value,
            "agreement": metrics["agreement"],
        }
    kept = ("steps", "batch", "learning_rate", "scale_learning_rate", "distillation", "seed")
    row["recipe"] = {name: setting(outcome, name) for name in kept}
    return row, control


def setting(outcome: Any, name: str) -> Any:
    """A setting of the recipe that lies beside the result."""
    import yaml

    return yaml.safe_load((outcome.folder / "recipe.yaml").read_text(encoding="utf-8"))[name]


def write(out: Path, known: dict[str, Any]) -> None:
    """`<out>.json` and `<out>.md`."""
    out.with_suffix(".json").write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    text = ["# Quantization-aware training and its float control", ""]
    text += [
        (
            "WER in % (95 %), S/D/I, p against the float model before training (MAPSSWE, two-sided, \\*: p < 0.05); "
            "p against the float control, which was trained on the same schedule without quantizers. The best of "
            "all evaluations on a part of dev during training decides which weights are kept, so that dev rates "
            "are too good; test was run once."
        ),
        "",
    ]
    for model in dict.fromkeys(row["model"] for row in known["rows"]):
        text += table(model, [row for row in known["rows"] if row["model"] == model], known["runs"][model])
    out.with_suffix(".md").write_text("\n".join(text), encoding="utf-8")


def table(model: str, rows: list[dict[str, Any]], where: dict[str, Any]) -> list[str]:
    """The lines of one model."""
    head = [
        "run",
        "start, check",
        "chosen, check",
        "dev",
        "p control",
        "test",
        "p control",
        "engine test",
        "s/update",
    ]
    lines = [head, ["---"] * len(head)]
    first = rows[0]
    shared = {k: v for k, v in first["recipe"].items() if all(row["recipe"][k] == v for row in rows)}
    lines.append(
        ["float, untrained", "", "", cell(first["float dev"]), "", cell(first["float test"]), "", "", ""]
    )
    for row in rows:
        training = row["training"]
        lines.append(
            [
                named(row, shared),
                f"{row['start']:.2f}",
                f"{training['check']['best_wer']:.2f} ({training['best_update']} of {training['updates']})",
                cell(row["dev"]),
                p_text(row["dev"].get("p_control")),
                cell(row["test"]),
                p_text(row["test"].get("p_control")),
                cell(row.get("engine test")),
                f"{training['seconds_per_update']:.1f}" if training["seconds_per_update"] else "",
            ]
        )
    words = f"dev {first['dev']['words']:,} words, test {first['test']['words']:,}"
    check = f"check {first['training']['check']['words']:,} words of dev"
    control = (
        "" if any(row["run"] == "float" for row in rows) else " Runs without transcripts have no control."
    )
    text = [f"## {model}", "", f"{words}, {check}; {listed(shared)}.{control}", ""]
    text += ["| " + " | ".join(entries) + " |" for entries in lines]
    text += ["", f"    {where['command']}", "", f"Commit {where['commit'][:12]}; {where['machine']}.", ""]
    return text


def named(row: dict[str, Any], shared: dict[str, Any]) -> str:
    """The run, with settings that others do not have."""
    name = "float control" if row["run"] == "float" else f"QAT {row['run'].upper()}"
    own = {name: value for name, value in row["recipe"].items() if name not in shared}
    return f"{name}; {listed(own)}" if own else name


if __name__ == "__main__":
    main()
