r"""Size, speed, memory and coverage of our engine files against everything a user could pick instead, in one run.

    python benchmarks/engines.py --artifact demo=build/demo --artifact demo:hubert-mini=build/hubert-mini \\
        --work build/engines --fidelity docs/results/fidelity.json --out docs/results/engines

Systems take turns (`speechquant.engines.take_turns`); memory, load time and first call are those of a new process each.
Files are made once and kept in `--work`, as is every finished measurement, which `--resume` does not repeat.
"""

from __future__ import annotations

import argparse
import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines_page import page
from fidelity import Parity
from forced import logits_of
from goals import CONTENDERS, joined
from harness import provenance
from peer_files import Case, applicable, artifacts_of, folders, made, make_all
from peers import SYSTEMS, opener

from speechquant.engines import take_turns
from speechquant.jobs.bench.audio import joined_speech
from speechquant.jobs.bench.footprint import measure_footprint
from speechquant.jobs.bench.realtime import RealTime
from speechquant.jobs.sources import resolve_corpus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from peers import System

    from speechquant.decoding import Recognizer, Transcript
    from speechquant.jobs.bench import Audio

__all__ = ["Notebook", "heats", "main", "plan"]

MODELS = ("wav2vec2-base", "hubert-large", "demo:hubert-mini", "demo")
LENGTHS = (1.0, 5.0, 10.0, 20.0, 30.0)
CHECK_SECONDS = 10.0
REFERENCE = "torch-f32"
WARMUP = 2


class Notebook:
    """What was measured of one model, written after every figure.

    `content` is kept only for the same files under the same settings, and only with `resume`.
    """

    def __init__(self, path: Path, about: Mapping[str, Any], *, resume: bool) -> None:
        self.path = path
        fresh: dict[str, Any] = {"about": dict(about), "checks": {}, "footprints": {}, "latency": {}}
        known = json.loads(path.read_text(encoding="utf-8")) if resume and path.is_file() else fresh
        # Through JSON, so that tuples and lists do not differ.
        self.content = known if known["about"] == json.loads(json.dumps(fresh["about"])) else fresh

    def has(self, kind: str, key: str) -> bool:
        """Whether a figure is there."""
        return key in self.content.get(kind, {})

    def add(self, kind: str, key: str, groups: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep figures by group and system, beside those of systems measured before."""
        known = self.content.get(kind, {}).get(key, {})
        self.put(kind, key, {name: {**known.get(name, {}), **new} for name, new in groups.items()})

    def put(self, kind: str, key: str, value: Any) -> None:
        """Keep a figure, and the file whole whatever happens while it is written."""
        self.content.setdefault(kind, {})[key] = value
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.content, indent=1), encoding="utf-8")
        part.replace(self.path)


def heats(keys: Sequence[str]) -> list[list[str]]:
    """Who races whom: the systems that goals compare, then the others; all at once take more memory than many have."""
    first = [key for key in keys if key in CONTENDERS]
    return [heat for heat in (first, [key for key in keys if key not in CONTENDERS]) if heat]


class Encoder:
    """A sequence-to-sequence recogniser of which only the encoder runs."""

    def __init__(self, recognizer: Any) -> None:
        self._recognizer = recognizer

    def recognize(self, waves: Sequence[NDArray[np.float32]]) -> list[Transcript]:
        """Encode and forget."""
        self._recognizer.encode(waves)
        return []


class Race:
    """All systems on one model."""

    def __init__(self, case: Case, systems: Sequence[System], options: argparse.Namespace) -> None:
        self.case, self.options = case, options
        self.files = make_all(case, [system.files for system in systems], _say)
        usable = [system for system in systems if not self.files[system.files].error]
        about = {
            "threads": options.threads,
            "repeats": options.repeats,
            "files": {s.key: [self.files[s.files].bytes, self.files[s.files].seconds] for s in usable},
        }
        self.notes = Notebook(case.home / "measured.json", about, resume=options.resume)
        self.systems = {system.key: system for system in usable}
        self._open: dict[str, Recognizer] = {}

    def opener(self, key: str) -> Any:
        """A function that opens a system anywhere."""
        system = self.systems[key]
        return opener(system, self.case.folder(system.files), self.case.model, self.options.threads)

    def measure(self, audio: Audio) -> None:
        """Everything that is not known yet; memory first, while this process holds no system."""
        self._footprints(audio)
        working = [
            key for key in self.systems if "error" not in self.notes.content["footprints"].get(key, {})
        ]
        for heat in heats(working):
            self._race(heat, audio)

    def _race(self, heat: Sequence[str], audio: Audio) -> None:
        """One heat: its systems are in memory together and take turns."""
        wanted = [
            one for one in self.options.seconds if not self._known("latency", f"{one:g}", "turns", heat)
        ]
        unheard = self._wants_realtime and not self._known("realtime", self.options.realtime, "factor", heat)
        unchecked = set(heat) - set(self.notes.content["checks"])
        if not wanted and not unheard and not unchecked:
            return
        expected = self._expected(audio.first(CHECK_SECONDS)) if unchecked else None
        for key in heat:
            _say(f"{self.case.name}: open {key}")
            self._open[key] = self.opener(key)()
        if expected is not None:
            self._check(audio.first(CHECK_SECONDS), *expected)
        for seconds in wanted:
            self._latency(audio.first(seconds), f"{seconds:g}")
        if unheard:
            self._realtime()
        self._open = {}

    def _footprints(self, audio: Audio) -> None:
        for key in self.systems:
            if self.notes.has("footprints", key):
                continue
            _say(f"{self.case.name}: memory of {key}")
            try:
                found = measure_footprint(
                    key,
                    self.opener(key),
                    audio.first(CHECK_SECONDS),
                    rate=self.case.manifest.runtime.sampling_rate,
                )
            except Exception as error:  # noqa: BLE001 - a file that its own engine refuses is a result
                self.notes.put("footprints", key, {"error": _line(error)})
            else:
                kept = {n: getattr(found, n) for n in ("load_s", "first_ms", "loaded_bytes", "peak_bytes")}
                self.notes.put("footprints", key, kept)

    def _expected(self, wave: NDArray[np.float32]) -> tuple[tuple[int, ...], NDArray[np.float32]]:
        """The tokens and logits of float32, of which nothing else stays in memory."""
        reference: Any = self.opener(REFERENCE)()
        tokens = () if self._ctc else reference.recognize([wave])[0].tokens
        return tokens, logits_of(reference, wave, tokens)

    def _check(
        self, wave: NDArray[np.float32], tokens: tuple[int, ...], expected: NDArray[np.float32]
    ) -> None:
        """That every system computes what float computes: logits on the same wave, with the same tokens."""
        for key, recognizer in self._open.items():
            parity = Parity()
            parity.add(expected, logits_of(recognizer, wave, tokens))  # type: ignore[arg-type]
            figures = {"sqnr_db": parity.sqnr, "agreement": parity.agreement, "suspect": parity.suspect}
            self.notes.put("checks", key, figures)

    def _latency(self, wave: NDArray[np.float32], seconds: str) -> None:
        _say(f"{self.case.name}: latency at {seconds} s")
        tokens = {}
        if not self._ctc:
            encoders = {key: Encoder(recognizer) for key, recognizer in self._open.items()}
            found = _turns(encoders, wave, self.options.repeats)
            self.notes.add("encoder", seconds, {"turns": found, "tokens": {}})
            tokens = {key: len(one.recognize([wave])[0].tokens) for key, one in self._open.items()}
        turns = _turns(self._open, wave, self.options.repeats)
        self.notes.add("latency", seconds, {"turns": turns, "tokens": tokens})

    def _realtime(self) -> None:
        corpus = resolve_corpus(self.options.realtime)
        run = RealTime(corpus.name)
        run.run(self._open, corpus, lambda *_: None)
        self.notes.add("realtime", self.options.realtime, {"factor": run.factor})

    @property
    def _wants_realtime(self) -> bool:
        return bool(self.options.realtime) and self.case.trained

    def _known(self, kind: str, key: str, group: str, heat: Sequence[str]) -> bool:
        return set(heat) <= set(self.notes.content.get(kind, {}).get(key, {}).get(group, {}))

    @property
    def _ctc(self) -> bool:
        return self.case.manifest.runtime.task == "ctc"


def _turns(systems: Mapping[str, Any], wave: NDArray[np.float32], repeats: int) -> dict[str, list[float]]:
    """Milliseconds of every turn that counts, by system."""
    counted = list(islice(take_turns(systems, [wave]), WARMUP + repeats))[WARMUP:]
    return {key: [turn[key] for turn in counted] for key in systems}


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"[:200]


def _say(text: str) -> None:
    print(text, flush=True)


def plan(
    measured: Mapping[str, Any], case: Case, systems: Sequence[System], lost: Sequence[Any]
) -> dict[str, Any]:
    """Everything that the page needs of one model: its systems, what was measured, and what it costs in words."""
    rows = []
    for system in systems:
        files = made(case, system.files)
        if files is None:
            continue
        footprint = measured["footprints"].get(system.key, {})
        rows.append(
            {
                "system": system.key,
                "label": system.label,
                "ours": system.ours,
                "error": files.error or footprint.get("error", ""),
                "bytes": files.bytes,
                "coverage": [files.coverage.int8, files.coverage.total, list(files.coverage.fallbacks)],
                "footprint": footprint,
                "check": measured["checks"].get(system.key),
            }
        )
    return {
        "model": case.name,
        "systems": rows,
        "latency": measured["latency"],
        "encoder": measured.get("encoder", {}),
        "realtime": measured.get("realtime", {}),
        "fidelity": joined(lost, case.name, task=case.manifest.runtime.task),
    }


def main() -> None:
    """Measure every model and write the tables after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--systems", nargs="+", default=[system.key for system in SYSTEMS])
    parser.add_argument("--seconds", nargs="+", type=float, default=LENGTHS)
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--artifact", action="append", default=[], help="MODEL=FOLDER, MODEL@w4=FOLDER: ours")
    parser.add_argument("--realtime", default="demo:dev-small", help="speech for the real-time factor, or ''")
    parser.add_argument("--fidelity", type=Path, help="what benchmarks/fidelity.py wrote")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--resume", action="store_true", help="keep finished measurements")
    options = parser.parse_args()
    artifacts = folders(options.artifact)
    systems = [system for system in SYSTEMS if system.key in {*options.systems, REFERENCE}]
    lost = json.loads(options.fidelity.read_text(encoding="utf-8"))["rows"] if options.fidelity else []
    speech = joined_speech(resolve_corpus("demo:dev"), max(*options.seconds, CHECK_SECONDS))
    found = []
    for name in options.models:
        case = Case(name, options.work, artifacts_of(name, artifacts))
        mine = applicable(case, systems)
        race = Race(case, mine, options)
        race.measure(speech)
        found.append(plan(race.notes.content, case, mine, lost))
        where = provenance(__doc__ or "") | {"threads": options.threads, "repeats": options.repeats}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**where, "models": found}, indent=1) + "\n"
        options.out.with_suffix(".json").write_text(text, encoding="utf-8")
        options.out.with_suffix(".md").write_text("\n".join(page(found, where)), encoding="utf-8")


if __name__ == "__main__":
    main()
