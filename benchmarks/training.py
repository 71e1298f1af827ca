"""Training at full size: time and memory of an update, by kind of training, with and without gradient checkpointing.

    python benchmarks/training.py wav2vec2-base hubert-large --out docs/results/training
    python benchmarks/training.py ./my-model --seconds 10 --batch 8 --device cuda --out docs/results/training

An update as `speechquant learn` makes it with its defaults (own loss and distillation from the float model, learned
scales, AdamW), on noise, in float32, all utterances at once; LayerDrop is off, so that all updates do the same work.
`uniform` has 4-bit weights in the Transformer; `one stage, searching` is the beginning of a search over 2, 3, 4, 6 and
8 bits with `--bit-start even`, where nearly every matrix is a mixture of two, `one stage, settled` what follows it.
Every measurement is a process of its own; all of them take turns `--repeats` times. Memory is the most that the process
had resident, or that torch had allocated on the GPU, after the updates; the float model that teaches is part of it.

Architectures have random weights. Measurements that are in `<out>.json` are not made again unless `--again` says so.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from harness import processor, provenance
from training_updates import KINDS, Task

from speechquant.jobs.sources import resolve_model
from speechquant.models.random import ARCHITECTURES, random_model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["main", "measure", "page", "settings_of"]

LABELS = {
    "float": "float",
    "uniform": "uniform, 4 bits",
    "searching": "one stage, searching",
    "settled": "one stage, settled",
}
REFERENCE = ("uniform", False)
HEAD = ["training", "gradient checkpointing", "s per update", "/ uniform", "peak MB", "/ uniform"]
PROGRAM = Path(__file__).with_name("training_updates.py")


def main() -> None:
    """Measure what is missing, and write the tables after every measurement."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", help="architectures, folders, or built-in models")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--seconds", type=float, default=5.0, help="of an utterance")
    parser.add_argument("--batch", type=int, default=2, help="utterances of an update")
    parser.add_argument("--updates", type=int, default=3, help="of a measurement, after one to warm up")
    parser.add_argument("--repeats", type=int, default=3, help="of every measurement")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the CPU")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--again", action="store_true", help="make measurements that are there already")
    parser.add_argument("--out", type=Path, required=True)
    own = parser.parse_args()
    if own.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch finds no GPU here")
    path = own.out.with_suffix(".json")
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"rows": []}
    with tempfile.TemporaryDirectory() as folder:
        folders = {name: _model_folder(name, Path(folder) / name) for name in own.models}
        measure(own, folders, known, run=_run)
    _write(own.out, known)


def settings_of(own: argparse.Namespace) -> dict[str, Any]:
    """What has to be the same for two measurements to be of the same thing."""
    given = {name: getattr(own, name) for name in ("seconds", "batch", "updates", "threads", "device")}
    machine = torch.cuda.get_device_name() if own.device == "cuda" else processor()
    return given | {"machine": machine}


def measure(
    own: argparse.Namespace,
    folders: Mapping[str, str],
    known: dict[str, Any],
    *,
    run: Callable[[Task, str], dict[str, Any]],
) -> None:
    """Let all measurements take turns, and keep each in `known` as soon as it is there."""
    settings, rows = settings_of(own), {}
    for model, kind, checkpointing in product(folders, own.kinds, (False, True)):
        fresh = {"model": model, "kind": kind, "checkpointing": checkpointing, "settings": settings}
        fixed = set(fresh)
        found = next((r for r in known["rows"] if {k: r[k] for k in fixed} == fresh), None)
        if found is None:
            known["rows"].append(found := fresh)
        if own.again or "runs" not in found:
            found["runs"] = []
        rows[model, kind, checkpointing] = found
    for turn, (key, row) in product(range(own.repeats), rows.items()):
        if len(row["runs"]) > turn:
            continue
        model, kind, checkpointing = key
        task = Task(
            folders[model], kind, checkpointing, own.seconds, own.batch, own.updates, threads=own.threads
        )
        row["runs"].append(run(task, own.device))
        row["where"] = provenance(__doc__ or "")
        print(model, LABELS[kind], "checkpointing" if checkpointing else "", row["runs"][-1], flush=True)
        _write(own.out, known)


def _model_folder(name: str, place: Path) -> str:
    if name not in ARCHITECTURES:
        return resolve_model(name)
    random_model(name, place)
    return str(place)


def _run(task: Task, device: str) -> dict[str, Any]:
    """One measurement in a process of its own."""
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), json.dumps(asdict(task))],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | hidden,
        check=False,
    )
    if done.returncode:
        raise SystemExit(
            f"{task.kind} of {task.folder} ended with code {done.returncode}; what was measured is kept"
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def page(known: Mapping[str, Any]) -> list[str]:
    """The lines of the Markdown file: a table for each model under each set of settings."""
    about, *_, explained, _ = (__doc__ or "").strip().split("\n\n")
    text = [f"# {about.removesuffix('.')}", "", explained, ""]
    text += ["Medians over all updates, smallest and largest in brackets.", ""]
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in known["rows"]:
        if row.get("runs"):
            groups.setdefault(json.dumps([row["model"], row["settings"]]), []).append(row)
    for rows in groups.values():
        text += _table(rows)
    return text


def _table(rows: list[Mapping[str, Any]]) -> list[str]:
    first, where = rows[0], rows[-1]["where"]
    reference = next((row for row in rows if (row["kind"], row["checkpointing"]) == REFERENCE), None)
    order = list(LABELS)
    lines = [HEAD, ["---"] * len(HEAD)]
    for row in sorted(rows, key=lambda r: (order.index(r["kind"]), r["checkpointing"])):
        cells = [LABELS[row["kind"]], "yes" if row["checkpointing"] else "no"]
        for values, digits in ((_seconds, 2), (_megabytes, 0)):
            cells.append(_spread(values(row), digits))
            known = [] if reference is None else values(reference)
            cells.append(f"{statistics.median(values(row)) / statistics.median(known):.2f}" if known else "")
        lines.append(cells)
    run, settings = first["runs"][0], first["settings"]
    size = f"{run['parameters'] / 1e6:.0f} million parameters"
    speech = f"{settings['batch']} utterances of {settings['seconds']:g} s"
    place = settings["machine"] + (f", threads: {settings['threads']}" if settings["device"] == "cpu" else "")
    updates = f"{max(len(row['runs']) for row in rows)} x {settings['updates']} updates"
    return [
        f"## {first['model']}, {size}, {speech}",
        "",
        f"{place}; {updates} of each.",
        "",
        *("| " + " | ".join(line) + " |" for line in lines),
        "",
        f"    {where['command']}",
        "",
        f"Commit {where['commit'][:12]}; {where['machine']};",
        ", ".join(f"{name} {number}" for name, number in where["versions"].items()) + ".",
        "",
    ]


def _seconds(row: Mapping[str, Any]) -> list[float]:
    return [seconds for run in row["runs"] for seconds in run["seconds"]]


def _megabytes(row: Mapping[str, Any]) -> list[float]:
    return [run["peak_bytes"] / 1e6 for run in row["runs"]]


def _spread(values: list[float], digits: int) -> str:
    median, low, high = (
        f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values))
    )
    return f"**{median}** ({low} to {high})"


def _write(out: Path, known: Mapping[str, Any]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(".part")
    part.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    part.replace(out.with_suffix(".json"))
    out.with_suffix(".md").write_text("\n".join(page(known)), encoding="utf-8")


if __name__ == "__main__":
    main()
