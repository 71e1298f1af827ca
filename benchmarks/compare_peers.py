r"""Quantization tools side by side on one model: words lost on dev and test, size, time to make, speed.

    speechquant quantize demo -o build/demo
    python benchmarks/compare_peers.py demo --artifact build/demo --work build/engines \\
        --out docs/results/peers-moonshine

Further artifacts, of another method for example, are rows of their own: `--row adaround=build/demo-adaround`. Files and
transcripts are kept in `--work`, which `engines.py` and `fidelity.py` share: a run that is killed goes on where it was.
`--latency` adds a column and wants a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compare_peers_page import page
from harness import provenance
from peer_files import Case, folders, make_all
from peers import find, opener

from speechquant.artifact import load_artifact
from speechquant.engines import Coverage, find_export, take_turns
from speechquant.evaluation import EvaluationStore, Evaluator
from speechquant.jobs.bench.audio import joined_speech
from speechquant.jobs.sources import resolve_corpus
from speechquant.jobs.targets import open_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from speechquant.data import Corpus
    from speechquant.decoding import Recognizer
    from speechquant.evaluation import Evaluation

__all__ = ["Entry", "Judge", "main"]

FLOAT, OURS = "torch-f32", "ort-int8"
SYSTEMS = (
    FLOAT,
    OURS,
    "ov-int8-f32",
    "ov-int8-bf16",
    "ort-f32",
    "ov-f32",
    "ov-bf16",
    "ort-dynamic",
    "ort-dynamic-best",
    "ort-static-s8s8",
    "ort-static-u8s8",
    "ort-static-percentile",
    "nncf-f32",
    "nncf-bf16",
    "nncf-transformer-f32",
    "nncf-transformer-bf16",
    "nncf-control-f32",
    "nncf-control-bf16",
)
LATENCY_SECONDS, WARMUP, TURNS = 10.0, 2, 11


@dataclass(frozen=True, slots=True)
class Entry:
    """One row before it is judged; `seconds` is what its maker took, None where nothing was quantized."""

    key: str
    label: str
    open: Callable[[], Recognizer]
    bytes: int
    coverage: Coverage
    seconds: float | None
    ours: bool = False
    error: str = ""


class Judge:
    """Scores rows on dev and test, and tests them against the float model and against ours on ONNX Runtime."""

    def __init__(
        self, evaluator: Evaluator, speech: Mapping[str, Corpus], tell: Callable[[str], None]
    ) -> None:
        self.evaluator, self.speech, self.tell = evaluator, speech, tell
        self._found: dict[str, dict[str, Evaluation]] = {}

    def row(self, entry: Entry) -> dict[str, Any]:
        """All that is known of one row, ready for JSON. The first two rows are the references."""
        line = {
            "system": entry.key,
            "label": entry.label,
            "ours": entry.ours,
            "error": entry.error,
            "bytes": entry.bytes,
            "coverage": [entry.coverage.int8, entry.coverage.total, list(entry.coverage.fallbacks)],
            "seconds": entry.seconds,
        }
        if entry.error:
            return line
        try:
            recognizer = entry.open()
            found = {name: self._evaluate(entry, recognizer, name) for name in self.speech}
        except Exception as error:  # noqa: BLE001 - a file that its own engine refuses is a result
            reason = (str(error).strip().splitlines() or [""])[0]
            return line | {"error": f"{type(error).__name__}: {reason}"[:200]}
        self._found[entry.key] = found
        return line | {"signature": recognizer.signature} | {n: self._figures(entry, n) for n in found}

    def _evaluate(self, entry: Entry, recognizer: Recognizer, name: str) -> Evaluation:
        self.tell(f"{entry.key}: {name}")
        return self.evaluator.evaluate(recognizer, self.speech[name])

    def _figures(self, entry: Entry, name: str) -> dict[str, Any]:
        mine = self._found[entry.key][name]
        tests = {}
        for reference in (FLOAT, OURS):
            other = self._found.get(reference, {}).get(name)
            if other is not None and entry.key not in {reference, FLOAT}:
                test = other.compare(mine)
                tests[reference] = {"p_value": test.p_value, "z": test.z, "segments": test.segments}
        return mine.figures() | {"capped": mine.capped, "against": tests}


def entries(case: Case, rows: Mapping[str, Path], keys: Sequence[str], threads: int) -> Iterator[Entry]:
    """The systems, made where they are missing, and artifacts that were brought along behind ours."""
    systems = [find(key) for key in keys]
    files = make_all(case, [system.files for system in systems], _say)
    searched = _seconds(case.artifacts["int8"])
    for system in systems:
        made = files[system.files]
        quantized = system.kind in {"int8", "int4"}
        spent = made.seconds + (searched if system.ours else 0.0)
        yield Entry(
            system.key,
            system.label,
            opener(system, case.folder(system.files), case.model, threads),
            made.bytes,
            made.coverage,
            spent if quantized else None,
            system.ours,
            made.error,
        )
    for name, folder in rows.items():
        coverage = load_artifact(folder).metrics["coverage"]
        yield Entry(
            name,
            f"speechquant {name}, ONNX Runtime",
            partial(_artifact, folder, threads),
            sum(file.size for file in find_export(folder, "onnxruntime")[1].files),
            Coverage(coverage["int8"], coverage["total"], tuple(coverage["fallbacks"])),
            _seconds(folder),
            ours=True,
        )


def _artifact(folder: Path, threads: int) -> Recognizer:
    return open_target(folder, threads=threads).recognizer


def _seconds(artifact: Path) -> float:
    """What `quantize` took until the artifact was there; its final evaluation is not among it."""
    spent = load_artifact(artifact).metrics["seconds"]
    return float(sum(seconds for step, seconds in spent.items() if step != "evaluate"))


def latency(
    found: Sequence[Entry],
    rows: Sequence[Mapping[str, Any]],
    store: EvaluationStore,
    dev: Corpus,
    threads: int,
) -> dict[str, list[float]]:
    """Milliseconds of every turn that counts, by system; measured once for the same files."""
    working = {row["system"]: row["signature"] for row in rows if not row["error"]}
    key = hashlib.sha256(json.dumps([working, threads, LATENCY_SECONDS, TURNS]).encode()).hexdigest()
    known: dict[str, list[float]] | None = store.get("turns", key)
    if known is None:
        _say(f"latency of {len(working)} systems")
        wave = joined_speech(dev, LATENCY_SECONDS).first(LATENCY_SECONDS)
        opened = {entry.key: entry.open() for entry in found if entry.key in working}
        turns = list(islice(take_turns(opened, [wave]), WARMUP + TURNS))[WARMUP:]
        known = {name: [turn[name] for turn in turns] for name in opened}
        store.put("turns", key, known)
    return known


def _say(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    """Make and score what is missing, and write the table after every row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="demo", help="demo or demo:hubert-mini")
    parser.add_argument("--artifact", type=Path, required=True, help="what `quantize` made of it")
    parser.add_argument(
        "--row", action="append", default=[], help="NAME=FOLDER: another artifact of the model"
    )
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=SYSTEMS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--latency", action="store_true", help=f"at {LATENCY_SECONDS:g} s, systems in turns")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    case = Case(options.model, options.work, {"int8": options.artifact})
    keys = [key for key in SYSTEMS if key in {*options.systems, FLOAT, OURS}]
    found = list(entries(case, folders(options.row), keys, options.threads))
    speech = {name: resolve_corpus(f"demo:{name}", require_text=True) for name in ("dev", "test")}
    normalizer = "whisper-english" if case.manifest.runtime.writes_punctuation else "upper"
    with EvaluationStore(options.work / "fidelity.sqlite") as store:
        judge = Judge(Evaluator(normalizer, store), speech, _say)
        result = {**provenance(__doc__ or ""), "model": case.name, "normalizer": normalizer, "rows": []}
        for entry in found:
            result["rows"].append(judge.row(entry))
            write(options.out, result)
        if options.latency:
            result["turns"] = latency(found, result["rows"], store, speech["dev"], options.threads)
            result |= {"threads": options.threads, "latency_seconds": LATENCY_SECONDS}
            write(options.out, result)


def write(out: Path, result: Mapping[str, Any]) -> None:
    """JSON and table."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    out.with_suffix(".md").write_text("\n".join(page(result)), encoding="utf-8")


if __name__ == "__main__":
    main()
