"""Mixed precision: bits and weights learned in one stage, against two stages, uniform bits, and bits without training.

    python benchmarks/mixed_precision.py demo:hubert-mini --train train.jsonl --out docs/results/mixed-precision
    python benchmarks/mixed_precision.py demo --train train.jsonl --budgets 4 --steps 100 --learning-rate 2e-5 \
        --out docs/results/mixed-precision

Further options are settings of `speechquant learn` (`--steps 300`, `--rule all`). The float control is trained on the
same speech with the same schedule and losses, without quantizers; with `--task-weight 0` there is none, as the float
model has nothing to learn from itself. `--methods allocate:kl allocate:fisher` are two, and `uniform+entropy` is one
with bits of entropy (`--code entropy`) and a scale per tensor. Rows that are in `<out>.json` with the same settings are
not run again unless `--again` says so, rows of other settings stay; a run that was interrupted goes on from its
checkpoint in `<out>.work`.
"""

from __future__ import annotations

import hashlib
import json
import re
import statistics
from functools import partial
from typing import TYPE_CHECKING, Any

from harness import cell, p_text, provenance
from training_runs import known_rows, listed, parsed, roles_parser, trained

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

CONTROL = "float"
METHODS = ("uniform", "two-stage", "one-stage", "allocate")
BUDGETS = (4.0, 3.0, 2.5)
# What fits in three quarters of an hour on two slow cores; a recipe for real use takes more of everything.
SETTINGS = {
    "steps": "150",
    "batch": "4",
    "learning_rate": "1e-4",
    "evaluate_every": "50",
    "maximum_seconds": "10",
    "check_minutes": "3",
    "dev_minutes": "10",
    "probe_utterances": "4",
}
OF_TRAINING = ("steps", "search_share", "evaluate_every", "maximum_seconds")
HEAD = (
    *("method", "bits", "bits of all", "MB", "ratio", "dev", "p control", "test", "p control", "engine test"),
    "seconds",
)


def main() -> None:
    """Run what is missing, and write the tables after every row."""
    parser = roles_parser(__doc__)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--budgets", nargs="+", type=float, default=list(BUDGETS), help="average bits")
    parser.add_argument("--again", action="store_true", help="run rows that are there already")
    own, given = parsed(parser)
    known = known_rows(own.out)
    for model in own.models:
        Bench(model, own, {**SETTINGS, **given}, known).run()
    write(own.out, known)


class Bench:
    """All rows of one model."""

    def __init__(
        self, model: str, own: argparse.Namespace, settings: dict[str, str], known: dict[str, Any]
    ) -> None:
        self.model, self.own, self.settings, self.known = model, own, settings, known
        self.control: Any = None

    def run(self) -> None:
        """The control first: the others are tested against it."""
        controlled = float(self.settings.get("task_weight", 1)) > 0
        control = [(CONTROL, 32.0)] if controlled else []
        wanted = [*control, *((m, b) for b in self.own.budgets for m in self.own.methods)]
        done = {key(row) for row in self.known["rows"]}
        missing = [pair for pair in wanted if self.own.again or self.key(*pair) not in done]
        if controlled and missing and (CONTROL, 32.0) not in missing:
            # Its evaluations are needed, and are stored.
            self.control = self.outcome(CONTROL, 32.0).proof
        for method, budget in missing:
            outcome = self.outcome(method, budget)
            if method == CONTROL:
                self.control = outcome.proof
            row = self.row(method, budget, outcome)
            rows = [r for r in self.known["rows"] if key(r) != key(row)]
            self.known["rows"] = [*rows, row]
            print(self.model, method, budget, row["test"], f"{row['seconds']:.0f} s", flush=True)
            write(self.own.out, self.known)

    def outcome(self, method: str, budget: float) -> Any:
        """One run, or what an earlier one left of it."""
        rest, _, code = method.partition("+")
        how, _, criterion = rest.partition(":")
        recipe: dict[str, Any] = {"model": self.model, "method": how, **self.settings}
        recipe |= {"criterion": criterion} if criterion else {}
        recipe |= {"code": code, "weight_granularity": "tensor"} if code else {}
        recipe |= {} if method == CONTROL else {"average_bits": budget}
        return trained(self.own, self.place(method, budget), self.place(CONTROL, 32.0), **recipe)

    def key(self, method: str, budget: float) -> tuple[str, str, float, str]:
        """What the row of a run will be known by."""
        return key({"model": self.model, "method": method, "budget": budget, "settings": self.settings})

    def place(self, method: str, budget: float) -> Path:
        """Where a run leaves its result; what it needs to go on lies beside it."""
        settings = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:6]
        name = re.sub("[:/+]", "-", f"{self.model}-{method}-{budget:g}-{settings}")
        return self.own.out.with_name(self.own.out.name + ".work") / name

    def row(self, method: str, budget: float, outcome: Any) -> dict[str, Any]:
        """Figures on dev and test with paired tests, size, and time."""
        proof, metrics = outcome.proof, outcome.metrics
        main = "trained" if method == CONTROL else "simulated"
        row: dict[str, Any] = {"model": self.model, "method": method, "budget": budget}
        row |= {"settings": self.settings, "run": provenance(__doc__ or "")}
        for name, found in {"dev": proof.dev, "test": proof.reported}.items():
            row[f"float {name}"] = found["float"].figures()
            row[name] = found[main].figures() | {"p_value": found["float"].compare(found[main]).p_value}
            if self.control is not None and method != CONTROL:
                other = {"dev": self.control.dev, "test": self.control.reported}[name]["trained"]
                row[name]["p_control"] = other.compare(found[main]).p_value
        if "quantized" in proof.reported:
            engine = proof.reported["quantized"]
            row["engine test"] = engine.figures() | {
                "p_value": proof.reported["float"].compare(engine).p_value,
                "agreement": metrics["agreement"],
            }
            row["storage"], row["allocation"] = metrics["storage"], metrics["allocation"]
            text = (outcome.folder / "allocation.json").read_text(encoding="utf-8")
            row["matrices"] = {item["module"]: item["bits"] for item in json.loads(text)["matrices"]}
        row["seconds"] = metrics["compression_seconds"]
        row["stages"] = {k: v for k, v in metrics["seconds"].items() if k != "evaluate"}
        row["training"] = metrics["training"]
        row["update_seconds"] = update_seconds(outcome.folder / "history.jsonl")
        return row


def key(row: dict[str, Any]) -> tuple[str, str, float, str]:
    """What a row is known by."""
    return row["model"], row["method"], row["budget"], json.dumps(row["settings"], sort_keys=True)


def update_seconds(path: Path) -> dict[str, float]:
    """Median time of an update while bits are learned, and of one with fixed bits."""
    if not path.is_file():
        return {}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    times: dict[str, list[float]] = {}
    for row in rows:
        if "loss" in row:
            times.setdefault("searching" if "bits_temperature" in row else "fixed", []).append(row["seconds"])
    return {name: statistics.median(values) for name, values in times.items()}


def harmless(row: dict[str, Any], name: str) -> bool:
    """Whether a row makes no significantly larger number of errors than the float model."""
    found = row[name]
    return found["p_value"] >= 0.05 or found["wer"] <= row[f"float {name}"]["wer"]


def write(out: Path, known: dict[str, Any]) -> None:
    """`<out>.json`, `<out>.md`, and a picture for each model."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(
        json.dumps({"rows": known["rows"]}, indent=1) + "\n", encoding="utf-8"
    )
    text = [
        "# Mixed precision: one stage, two stages, uniform bits, and bits without training",
        "",
        "Weights only; activations in float. WER in % (95 %), S/D/I, p against the float model (MAPSSWE, two-sided,",
        "\\*: p < 0.05); p control, where there is one: against the float control, which was trained on the same",
        "schedule without quantizers. Dev and test of the simulation; the engine (ONNX Runtime) runs the exported",
        "artifact. Dev chose the weights that were kept and is too good; test was run once. Bits: average over the",
        "searched weights, of entropy where a row says so, then of what holds all parameters, before entropy coding;",
        "MB and ratio count the whole file, after (and before) it.",
        "",
    ]
    for model in dict.fromkeys(row["model"] for row in known["rows"]):
        rows = [row for row in known["rows"] if row["model"] == model]
        text += [*table(model, rows), *summary(rows)]
        picture = out.with_name(f"{out.name}-{model.split(':')[-1].rsplit('/', 1)[-1]}.svg")
        if draw(picture, model, rows):
            text += [f"![WER against size]({picture.name})", ""]
    out.with_suffix(".md").write_text("\n".join(text), encoding="utf-8")


def table(model: str, rows: list[dict[str, Any]]) -> list[str]:
    """The lines of one model."""
    first = rows[0]
    shared = {k: v for k, v in first["settings"].items() if all(row["settings"].get(k) == v for row in rows)}
    lines = [list(HEAD), ["---"] * len(HEAD)]
    blank = [""] * 2
    untrained = [cell(first["float dev"]), "", cell(first["float test"]), "", "", ""]
    lines.append(["float, untrained", "32", "32", *blank, *untrained])
    order = {name: place for place, name in enumerate((CONTROL, *METHODS))}
    rows = sorted(rows, key=lambda r: (-r["budget"], order.get(r["method"], 9)))
    lines += [entries(row, shared) for row in rows]
    if not any("p_control" in row["dev"] for row in rows):
        kept = [place for place, title in enumerate(HEAD) if title != "p control"]
        lines = [[line[place] for place in kept] for line in lines]
    words = f"dev {first['dev']['words']:,} words, test {first['test']['words']:,} words; {listed(shared)}."
    text = [f"## {model}", "", words, "", *("| " + " | ".join(line) + " |" for line in lines), ""]
    for command in dict.fromkeys(row["run"]["command"] for row in rows):
        runs = [row["run"] for row in rows if row["run"]["command"] == command]
        commits = " and ".join(dict.fromkeys(run["commit"][:12] for run in runs))
        machines = "; ".join(dict.fromkeys(run["machine"] for run in runs))
        text += [f"    {command}", "", f"Commit {commits}; {machines}.", ""]
    return text


def entries(row: dict[str, Any], shared: dict[str, Any]) -> list[str]:
    """The cells of a row, with settings that others do not have."""
    name = "float control" if row["method"] == CONTROL else row["method"]
    unused = OF_TRAINING if row["method"].startswith("allocate") else ()
    own = {k: v for k, v in row["settings"].items() if k not in shared and k not in unused}
    stored = row.get("storage")
    size = ["32", "32", "", "1"]
    if stored:
        size = [f"{row['allocation']['average_bits']:.2f}", f"{stored['average_bits']:.2f}"]
        size += [
            f"{stored['stored_bytes'] / 1e6:.2f}",
            f"{stored['ratio']:.2f} ({stored['packed_ratio']:.2f})",
        ]
    return [
        f"{name}; {listed(own)}" if own else name,
        *size,
        *(cell(row["dev"]), p_text(row["dev"].get("p_control"))),
        *(cell(row["test"]), p_text(row["test"].get("p_control"))),
        cell(row.get("engine test")),
        f"{row['seconds']:.0f}",
    ]


def methods_of(rows: list[dict[str, Any]]) -> list[str]:
    """Those that there are, in the order of the tables."""
    known = dict.fromkeys(row["method"] for row in rows if row["method"] != CONTROL)
    return [*(name for name in METHODS if name in known), *(name for name in known if name not in METHODS)]


def summary(rows: list[dict[str, Any]]) -> list[str]:
    """Lossless ratios, time of compression, and what an update costs, by method."""
    head = [
        "method",
        "lossless ratio, dev",
        "lossless ratio, test",
        "on both",
        "seconds",
        "s/update, searching, fixed bits",
    ]
    lines = [head, ["---"] * len(head)]
    for method in methods_of(rows):
        own = [row for row in rows if row["method"] == method]
        best = [
            max(
                (row["storage"]["ratio"] for row in own if all(map(partial(harmless, row), names))),
                default=None,
            )
            for names in (("dev",), ("test",), ("dev", "test"))
        ]
        update = [
            statistics.median(times)
            if (times := [t for r in own if (t := r["update_seconds"].get(kind))])
            else None
            for kind in ("searching", "fixed")
        ]
        lines.append(
            [
                method,
                *("none" if ratio is None else f"{ratio:.2f}" for ratio in best),
                f"{statistics.median(row['seconds'] for row in own):.0f}",
                ", ".join("-" if value is None else f"{value:.2f}" for value in update),
            ]
        )
    about = (
        "Lossless ratio: the largest one without significantly more errors than the untrained float model."
    )
    return [about, "", *("| " + " | ".join(line) + " |" for line in lines), ""]


def draw(path: Path, model: str, rows: list[dict[str, Any]]) -> bool:
    """WER on test against the size of the file, with intervals, and the front of what is worth having."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "speechquant"
    from matplotlib import pyplot as plt

    sized = [row for row in rows if "storage" in row]
    if not sized:
        return False
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for method, marker in zip(methods_of(sized), "sD^ov<>*", strict=False):
        own = sorted((r for r in sized if r["method"] == method), key=megabytes)
        rates = [r["test"]["wer"] for r in own]
        low = [r["test"]["wer"] - r["test"]["low"] for r in own]
        high = [r["test"]["high"] - r["test"]["wer"] for r in own]
        sizes = [megabytes(r) for r in own]
        axes.errorbar(sizes, rates, [low, high], marker=marker, label=method, capsize=3, linewidth=0.8)
    front: list[dict[str, Any]] = []
    for row in sorted(sized, key=lambda r: (megabytes(r), r["test"]["wer"])):
        if not front or row["test"]["wer"] < front[-1]["test"]["wer"]:
            front.append(row)
    places = [megabytes(r) for r in front]
    axes.step(places, [r["test"]["wer"] for r in front], where="post", color="0.6", zorder=0, label="front")
    reference = sized[0]["float test"]
    axes.axhline(reference["wer"], color="0.3", linestyle="--", label="float")
    axes.axhspan(reference["low"], reference["high"], color="0.9", zorder=-1)
    axes.set(xlabel="MB of the file of weights", ylabel="WER on test in %", title=model)
    # A point that understands nothing would squeeze all others.
    highest = max(reference["high"], min(max(r["test"]["high"] for r in sized), 2.5 * reference["high"]))
    axes.set_ylim(0.9 * min(reference["low"], *(r["test"]["low"] for r in sized)), 1.02 * highest)
    axes.legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return True


def megabytes(row: dict[str, Any]) -> float:
    """Size of the file of weights."""
    return row["storage"]["stored_bytes"] / 1e6


if __name__ == "__main__":
    main()
