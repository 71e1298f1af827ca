"""Make the files of every system from one float model and one set of calibration recordings.

    python benchmarks/peer_files.py demo:hubert-mini nncf --work build/engines

Each kind of files is made once, in a process of its own, and kept in `<work>/<model>/<files>` with `files.json` beside
the graphs: bytes, coverage as read back, seconds, or the reason why the tool failed. To have some made anew, after a
change of the exporter for example, delete their folders; peers start from `ort-f32` and `ov-f32`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from speechquant.data import iter_loaded
from speechquant.decoding import prepare_wave
from speechquant.engines import Coverage, EngineFile, Manifest, load_recognizer
from speechquant.jobs.sources import resolve_corpus, resolve_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray
    from peers import System

    Maker = Callable[["Case", Path], Coverage]

__all__ = [
    "FLOAT_EXPORTS",
    "Case",
    "Made",
    "applicable",
    "artifacts_of",
    "describe",
    "folders",
    "made",
    "make_all",
    "maker",
]

STEPS = 300
FLOAT_EXPORTS = ("ort-f32", "ov-f32")
_MAKERS: dict[str, Maker] = {}
_RECORD = "files.json"


def maker(*names: str) -> Callable[[Maker], Maker]:
    """Register what makes these files: a function (case, empty folder) -> coverage as read back."""

    def decorate(function: Maker) -> Maker:
        _MAKERS.update(dict.fromkeys(names, function))
        return function

    return decorate


@dataclass(frozen=True, slots=True)
class Made:
    """What became of one kind of files; `error` is the tool's own reason in one line."""

    files: str
    bytes: int = 0
    coverage: Coverage = field(default_factory=lambda: Coverage(0, 0))
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class Case:
    """A model to compare systems on: `demo`, `demo:hubert-mini` or an architecture with random weights.

    `artifacts` are what the product made of a trained model, the source of our scales, by kind: `int8` and `w4`.
    """

    name: str
    work: Path
    artifacts: Mapping[str, Path] = field(default_factory=dict)

    @property
    def trained(self) -> bool:
        """Whether it understands speech."""
        return self.name.startswith("demo")

    @property
    def home(self) -> Path:
        """Where everything about the model is kept."""
        return self.work / self.name.replace(":", "-")

    @property
    def model(self) -> Path:
        """The float model's folder."""
        return Path(resolve_model(self.name)) if self.trained else self.home / "model"

    def folder(self, files: str) -> Path:
        """Where these files lie."""
        return self.home / files

    @cached_property
    def manifest(self) -> Manifest:
        """Of the float export."""
        return Manifest.load(self.folder("ort-f32"))

    @cached_property
    def calibration(self) -> list[NDArray[np.float32]]:
        """What everything is calibrated on: the calibration set, or noise where the weights are random."""
        if not self.trained:
            noise = np.random.default_rng(0).normal(0, 0.1, (2, 160_000)).astype(np.float32)
            return list(noise)
        loaded = iter_loaded(resolve_corpus("demo:calibration"), strict=True, on_skip=print)
        return [samples for _, samples in loaded]

    def prepared(self, wave: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """The input of the graph that takes a wave."""
        runtime = self.manifest.runtime
        ready = prepare_wave(wave, normalize=runtime.normalize, minimum=runtime.minimum_samples)
        return {"wave": ready[None]}

    def inputs(self, part: str, waves: Sequence[NDArray[np.float32]]) -> list[dict[str, NDArray[Any]]]:
        """What a graph sees while the float model recognises waves; of decoder steps `STEPS` at equal distances."""
        if part != "step":
            return [self.prepared(wave) for wave in waves]
        from forced import record_steps

        recognizer = load_recognizer(self.folder("ort-f32"), vocabulary=self.model, threads=1)
        steps = record_steps(recognizer, waves)
        return [steps[i] for i in np.linspace(0, len(steps) - 1, min(STEPS, len(steps))).astype(int)]

    def add_manifest(
        self, folder: Path, dialect: str, files: Mapping[str, str], source: Manifest | None = None
    ) -> Manifest:
        """Write `engine.json` for graphs by part that another tool made of a float export (`source`)."""
        described = tuple(describe(part, folder / name) for part, name in files.items())
        manifest = replace(source or self.manifest, dialect=dialect, files=described, coverage=None)
        manifest.save(folder)
        return manifest


def folders(pairs: Iterable[str]) -> dict[str, Path]:
    """`NAME=FOLDER` by name."""
    return {name: Path(folder) for name, _, folder in (pair.rpartition("=") for pair in pairs)}


def artifacts_of(model: str, named: Mapping[str, Path]) -> dict[str, Path]:
    """The artifacts of a model by kind, among those named `MODEL` (int8) and `MODEL@w4`."""
    found = {"int8": named.get(model), "w4": named.get(f"{model}@w4")}
    return {kind: folder for kind, folder in found.items() if folder is not None}


def applicable(case: Case, systems: Sequence[System]) -> list[System]:
    """The systems that a model can have.

    4-bit weights of a trained one come from an artifact of their own; accuracy can be controlled only where there is
    some.
    """
    small = not case.trained or "w4" in case.artifacts
    found = [system for system in systems if small or not (system.ours and system.kind == "int4")]
    return [system for system in found if case.trained or system.files != "nncf-control"]


def describe(part: str, path: Path) -> EngineFile:
    """A graph and, in an OpenVINO IR, its weights."""
    digest, size = hashlib.sha256(), 0
    for one in sorted(path.parent.glob(f"{path.stem}.*")):
        digest.update(one.read_bytes())
        size += one.stat().st_size
    return EngineFile(part, path.name, size, digest.hexdigest())


def made(case: Case, files: str) -> Made | None:
    """What is known of files that were made, or could not be."""
    path = case.folder(files) / _RECORD
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    coverage = found.pop("coverage")
    return Made(
        **found, coverage=Coverage(**{k: tuple(v) if isinstance(v, list) else v for k, v in coverage.items()})
    )


def make_all(case: Case, wanted: Sequence[str], tell: Callable[[str], None] = print) -> dict[str, Made]:
    """Make what is missing, the float exports first, each in a process of its own."""
    order = [*FLOAT_EXPORTS, *(name for name in wanted if name not in FLOAT_EXPORTS)]
    found = {}
    for files in order:
        if (known := made(case, files)) is None:
            tell(f"{case.name}: make {files}")
            known = _made_elsewhere(case, files)
        found[files] = known
        if files in FLOAT_EXPORTS and known.error:
            raise SystemExit(f"{case.name}: no float export, so nothing to compare: {known.error}")
    return found


def _made_elsewhere(case: Case, files: str) -> Made:
    command = [sys.executable, __file__, case.name, files, "--work", str(case.work)]
    for kind, artifact in case.artifacts.items():
        command += ["--artifact", f"{kind}={artifact}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    known = made(case, files)
    if known is None:
        # Killed, for its memory for example: not recorded, so that another run tries again.
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Made(files, error=f"process ended with code {done.returncode}: {last}"[:200])
    return known


def _make(case: Case, files: str) -> Made:
    target = case.folder(files)
    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    start = time.perf_counter()
    try:
        coverage = _MAKERS[files](case, part)
    except Exception as error:
        shutil.rmtree(part)
        part.mkdir()
        reason = (str(error).strip().splitlines() or [""])[0]
        result = Made(files, error=f"{type(error).__name__}: {reason}"[:200])
        logging.getLogger(__name__).exception("%s", files)
    else:
        size = sum(one.stat().st_size for one in part.iterdir() if one.suffix != ".json")
        result = Made(files, size, coverage, time.perf_counter() - start)
    content = {name: getattr(result, name) for name in ("files", "bytes", "seconds", "error")}
    content["coverage"] = asdict(result.coverage)
    (part / _RECORD).write_text(json.dumps(content, indent=1), encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    part.rename(target)
    return result


def main() -> None:
    """Make one kind of files."""
    import peer_makers  # noqa: F401 - registers

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("files", choices=sorted(_MAKERS))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--artifact", action="append", default=[], help="int8=FOLDER or w4=FOLDER")
    options = parser.parse_args()
    case = Case(options.model, options.work, folders(options.artifact))
    result = _make(case, options.files)
    print(
        result.error
        or f"{result.bytes / 1e6:.1f} MB, {result.coverage.int8} of {result.coverage.total} in int8"
    )


if __name__ == "__main__":
    # Makers import this file by its name and must find the same registry.
    sys.modules["peer_files"] = sys.modules["__main__"]
    main()
