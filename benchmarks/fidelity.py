r"""What every system loses of the trained built-in models: logits, tokens and words against float32.

    speechquant quantize demo -o build/demo && speechquant quantize demo:hubert-mini -o build/hubert-mini
    python benchmarks/fidelity.py --artifact demo=build/demo --artifact demo:hubert-mini=build/hubert-mini \\
        --work build/engines --out docs/results/fidelity

Transcripts and logit figures are kept in `<work>/fidelity.sqlite` under the signature of the files: a run that is
killed goes on where it was, and one with other files measures only those anew.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from forced import logits_of
from harness import cell, provenance
from peer_files import Case, applicable, artifacts_of, folders, made, make_all
from peers import SYSTEMS, System, find, open_system

from speechquant.data import iter_loaded
from speechquant.evaluation import Evaluation, EvaluationStore, Evaluator
from speechquant.jobs.sources import resolve_corpus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray
    from peer_files import Made

    from speechquant.data import Corpus

MODELS = ("demo:hubert-mini", "demo")
REFERENCE = "torch-f32"
LOGIT_SECONDS = 300.0
_LEGEND = """SQNR: energy of the float logits against that of the difference. Same: frames (CTC), or tokens, with
the arg-max of float; for that a decoder is fed the float model's tokens (teacher forcing), so that every step has the
same input. Both on {minutes} minutes. WER on {corpus}, S/D/I words; p: MAPSSWE against PyTorch float32, two-sided;
\\*: p < 0.05. Peers have the same float model and the same calibration recordings; OpenVINO runs theirs, and the float
model, with its own default settings."""


@dataclass(slots=True)
class Parity:
    """Sums over utterances: energy of the reference's logits, of the difference, and rows with the same arg-max.

    Rows are frames (CTC) or tokens under teacher forcing (`forced.logits_of`).
    """

    signal: float = 0.0
    noise: float = 0.0
    same: int = 0
    rows: int = 0
    utterances: int = field(default=0)

    def add(self, reference: NDArray[np.float32], found: NDArray[np.float32]) -> None:
        """One utterance; both of shape (rows, vocabulary)."""
        if reference.shape != found.shape:
            raise ValueError(f"logits of shape {found.shape} against {reference.shape}")
        difference = found.astype(np.float64) - reference
        self.signal += float(np.square(reference, dtype=np.float64).sum())
        self.noise += float(np.square(difference).sum())
        self.same += int((reference.argmax(axis=-1) == found.argmax(axis=-1)).sum())
        self.rows += len(reference)
        self.utterances += 1

    @property
    def sqnr(self) -> float | None:
        """Signal to quantization noise in dB; None where nothing differs, or a logit is not finite."""
        if not self.noise or not np.isfinite(self.noise):
            return None
        return float(10 * np.log10(self.signal / self.noise))

    @property
    def suspect(self) -> bool:
        """Whether this is not the same computation: as much difference as signal, or numbers that are none."""
        return not self.noise < self.signal

    @property
    def agreement(self) -> float:
        """Rows with the reference's arg-max, in percent."""
        return 100 * self.same / max(1, self.rows)


class Trial:
    """All systems on one model."""

    def __init__(self, case: Case, corpus: Corpus, store: EvaluationStore, threads: int) -> None:
        self.case, self.corpus, self.store, self.threads = case, corpus, store, threads
        self._opened: tuple[str, Any] | None = None
        self._logits: list[tuple[Any, tuple[int, ...], Any]] = []
        task_writes = self.case.manifest.runtime.writes_punctuation
        self.evaluator = Evaluator("whisper-english" if task_writes else "upper", store)
        first = find(REFERENCE)
        self.reference = self.evaluator.evaluate(self.open(first), corpus, _progress(case, first))

    def open(self, system: System) -> Any:
        """A recogniser; only one is kept in memory."""
        if self._opened is None or self._opened[0] != system.key:
            folder = str(self.case.folder(system.files))
            self._opened = system.key, open_system(system.key, folder, str(self.case.model), self.threads)
        return self._opened[1]

    def row(self, system: System, files: Made) -> dict[str, Any]:
        """One line of the table."""
        line = {"model": self.case.name, "system": system.key, "label": system.label, "error": files.error}
        if files.error:
            return line
        coverage = files.coverage
        line |= {"bytes": files.bytes, "coverage": [coverage.int8, coverage.total, list(coverage.fallbacks)]}
        try:
            recognizer = self.open(system)
            parity = self.parity(system, recognizer.signature)
            found = self.evaluator.evaluate(recognizer, self.corpus, _progress(self.case, system))
        except Exception as error:  # noqa: BLE001 - a file that its own engine refuses is a result
            reason = (str(error).strip().splitlines() or [""])[0]
            return line | {"error": f"{type(error).__name__}: {reason}"[:200]}
        return line | figures(found, self.reference, parity, self.case.manifest.runtime.task)

    def parity(self, system: System, signature: str) -> Parity:
        """Logits on the first minutes of the corpus against the reference's."""
        seen = f"{signature}|{self.reference.signature}|{self.corpus.signature}|{LOGIT_SECONDS}"
        key = hashlib.sha256(seen.encode()).hexdigest()
        if (known := self.store.get("parity", key)) is not None:
            return Parity(**known)
        if not self._logits:
            recognizer = self.open(find(REFERENCE))
            for wave, tokens in self._utterances():
                self._logits.append((wave, tokens, logits_of(recognizer, wave, tokens)))
        recognizer, parity = self.open(system), Parity()
        for wave, tokens, expected in self._logits:
            parity.add(expected, logits_of(recognizer, wave, tokens))
        self.store.put("parity", key, asdict(parity))
        return parity

    def _utterances(self) -> Iterable[tuple[Any, tuple[int, ...]]]:
        """Waves, and the tokens that the float model writes for them."""
        part = self.corpus.subset(seconds=LOGIT_SECONDS, seed=0)
        for utterance, wave in iter_loaded(part, strict=True, on_skip=print):
            yield wave, self.reference.transcripts[utterance.id].tokens


def figures(found: Evaluation, reference: Evaluation, parity: Parity, task: str) -> dict[str, Any]:
    """All that is known of one system, ready for JSON."""
    words = found.figures() | {"capped": found.capped}
    if found.signature != reference.signature:
        words["p_value"] = reference.compare(found).p_value
    unit = "frames" if task == "ctc" else "tokens"
    return {
        "sqnr_db": parity.sqnr,
        "agreement": parity.agreement,
        "unit": unit,
        "rows": parity.rows,
        "dev": words,
        "suspect": parity.suspect,
    }


def main() -> None:
    """Measure what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--systems", nargs="+", default=[system.key for system in SYSTEMS])
    parser.add_argument("--artifact", action="append", default=[], help="MODEL=FOLDER, MODEL@w4=FOLDER: ours")
    parser.add_argument("--dev", default="demo:dev")
    parser.add_argument(
        "--minutes", type=float, help="of it, chosen at random but always the same; default all"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    artifacts = folders(options.artifact)
    wanted = [system for system in SYSTEMS if system.key in {*options.systems, REFERENCE}]
    corpus = resolve_corpus(options.dev, require_text=True)
    if options.minutes is not None:
        corpus = corpus.subset(seconds=60 * options.minutes, seed=0)
    options.work.mkdir(parents=True, exist_ok=True)
    rows = []
    with EvaluationStore(options.work / "fidelity.sqlite") as store:
        for name in options.models:
            case = Case(name, options.work, artifacts_of(name, artifacts))
            mine = applicable(case, wanted)
            make_all(case, [system.files for system in mine], lambda text: print(text, flush=True))
            trial = Trial(case, corpus, store, options.threads)
            for system in mine:
                files = made(case, system.files)
                if files is None:
                    continue
                rows.append(trial.row(system, files))
                print(rows[-1]["system"], rows[-1].get("dev", rows[-1]["error"]), flush=True)
                write(options.out, rows, provenance(__doc__ or ""), corpus.name)


def _progress(case: Case, system: System) -> Any:
    def tell(done: int, total: int) -> None:
        print(f"\r{case.name} {system.key} {done}/{total}", end="" if done < total else "\n", flush=True)

    return tell


def write(out: Path, rows: list[dict[str, Any]], where: dict[str, Any], corpus: str) -> None:
    """JSON and table."""
    out.parent.mkdir(parents=True, exist_ok=True)
    content = {**where, "dev": corpus, "rows": rows}
    out.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    out.with_suffix(".md").write_text("\n".join(page(rows, where, corpus)), encoding="utf-8")


def page(rows: list[dict[str, Any]], where: Mapping[str, Any], corpus: str) -> list[str]:
    """The table as lines of Markdown."""
    text = [f"# {where['about']}", ""]
    text += [_LEGEND.format(minutes=f"{LOGIT_SECONDS / 60:g}", corpus=corpus), ""]
    for model in dict.fromkeys(row["model"] for row in rows):
        mine = [row for row in rows if row["model"] == model]
        words = next((row["dev"]["words"] for row in mine if "dev" in row), 0)
        text += [f"## {model} ({words:,} words)", ""]
        head = ["system", "MB", "in int8", "SQNR dB", "same %", "WER % (95 %), S/D/I, p"]
        table = [head, ["---"] * len(head), *(_cells(row) for row in mine)]
        text += ["| " + " | ".join(line) + " |" for line in table] + [""]
    text += [f"    {where['command']}", "", f"Commit {where['commit'][:12]}; {where['machine']};"]
    return [*text, ", ".join(f"{name} {number}" for name, number in where["versions"].items()) + ".", ""]


def _cells(row: Mapping[str, Any]) -> list[str]:
    if row["error"]:
        return [row["label"], "", "", "", "", row["error"].replace("|", "/")]
    sqnr = "" if row["sqnr_db"] is None else f"{row['sqnr_db']:.1f}"
    return [
        row["label"] + (" **(suspect)**" if row["suspect"] else ""),
        f"{row['bytes'] / 1e6:.1f}",
        f"{row['coverage'][0]} of {row['coverage'][1]}",
        sqnr,
        f"{row['agreement']:.2f}",
        cell(row["dev"]),
    ]


if __name__ == "__main__":
    main()
