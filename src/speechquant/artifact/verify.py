"""Is an artifact complete, unaltered, and consistent with itself?"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from speechquant.artifact.load import load_artifact
from speechquant.artifact.manifest import MANIFEST, inside
from speechquant.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

    from speechquant.artifact.load import Artifact
    from speechquant.artifact.manifest import SiteRecord
    from speechquant.artifact.weights import Tensors
    from speechquant.engines.manifest import Manifest as EngineManifest

__all__ = ["Check", "Verification", "verify_artifact"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: how many items, and one line per item that is wrong."""

    name: str
    items: int
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing was wrong."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class Verification:
    """The outcome of all checks."""

    folder: Path
    checks: tuple[Check, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """Everything that is wrong, one line each."""
        return tuple(problem for check in self.checks for problem in check.problems)


def verify_artifact(
    folder: str | Path, *, on_check: Callable[[int, int, str], None] | None = None
) -> Verification:
    """Check hashes, missing and extra files, tensors, scales, and the engine's files.

    Hidden files at the top of the folder (`.gitattributes`, download caches) are ignored.

    Args:
        folder: the artifact.
        on_check: called before each check with the checks done, their number, and the name of the next.

    Raises:
        ArtifactError: there is no artifact, or its `quantization.json` cannot be understood; without that
            nothing else can be judged.
    """
    artifact = load_artifact(folder)
    done: list[Check] = []
    for name, check in _CHECKS.items():
        if on_check is not None:
            on_check(len(done), len(_CHECKS), name)
        problems: list[str] = []
        items = 0
        try:
            for found in check(artifact):
                items += 1
                if found:
                    problems.append(found)
        except ArtifactError as error:
            problems.append(str(error))
        done.append(Check(name, items, tuple(problems)))
    return Verification(artifact.folder, tuple(done))


_Findings = Iterator[str | None]


def _hashes(artifact: Artifact) -> _Findings:
    for name, record in artifact.info.files.items():
        path = inside(artifact.folder, name)
        if not path.is_file():
            yield f"{name}: missing"
            continue
        try:
            size = path.stat().st_size
            if size != record.bytes:
                yield f"{name}: has {size} bytes instead of {record.bytes}"
                continue
            with path.open("rb") as file:
                same = hashlib.file_digest(file, "sha256").hexdigest() == record.sha256
            yield None if same else f"{name}: altered (its SHA-256 differs)"
        except OSError as error:
            yield f"{name}: cannot be read: {error.strerror or error}"


def _extra(artifact: Artifact) -> _Findings:
    known = {*artifact.info.files, MANIFEST}
    for path in sorted(artifact.folder.rglob("*")):
        name = path.relative_to(artifact.folder).as_posix()
        if not name.startswith(".") and not path.is_dir():
            yield None if name in known else f"{name}: does not belong to the artifact"


def _tensors(artifact: Artifact) -> _Findings:
    tensors = artifact.tensors()
    wanted = {record.tensor: record for record in artifact.info.sites if record.tensor is not None}
    for name in sorted(wanted.keys() | tensors.packed.keys()):
        record, how = wanted.get(name), tensors.packed.get(name)
        if record is None or how is None:
            where = MANIFEST if record is None else "model.safetensors"
            yield f"{name}: not a quantized weight in {where}"
        elif record.bits != how.bits:
            yield f"{name}: {how.bits} bits in model.safetensors, {record.bits} in {MANIFEST}"
        elif record.group_size != how.group_size:
            yield f"{name}: groups of {how.group_size} in model.safetensors, {record.group_size} in {MANIFEST}"
        else:
            yield _integers(tensors, name, record)
    for name in tensors.stored:
        if name not in tensors.packed:
            array = tensors.raw(name)
            finite = array.dtype.kind != "f" or bool(np.isfinite(array).all())
            yield None if finite else f"{name}: holds NaN or infinite values"


def _integers(tensors: Tensors, name: str, record: SiteRecord) -> str | None:
    how, spec = tensors.packed[name], record.spec
    try:
        values = tensors.integers(name)
    except ArtifactError as error:
        return str(error)
    if values.size and (values.min() < spec.qmin or values.max() > spec.qmax):
        return (
            f"{name}: integers from {values.min()} to {values.max()} are outside {spec.qmin} to {spec.qmax}"
        )
    scale = tensors.raw(record.scale_tensor or "")
    expected = () if record.granularity == "tensor" else how.shape[:1]
    if how.group_size is not None:
        expected = (*expected, -(-math.prod(how.shape[1:]) // how.group_size))
    if scale.shape != expected:
        return f"{name}: scales of shape {scale.shape} instead of {expected}"
    return None


def _scales(artifact: Artifact) -> _Findings:
    table = artifact.scale_table()
    for entry in table:
        good = bool(np.isfinite(entry.scale).all() and (entry.scale > 0).all())
        yield None if good else f"{entry.site.name}: a scale is not a positive finite number"
    same = table.signature == artifact.info.signatures.scale_table
    yield None if same else "scale table: its signature differs from the one recorded"


def _engine(artifact: Artifact) -> _Findings:
    # The engine comes with ONNX Runtime, which the other checks do not need.
    from speechquant.engines.manifest import MANIFEST_NAME, Manifest

    paths = [PurePosixPath(name) for name in artifact.info.files]
    described: set[str] = set()
    for place in sorted({"onnx", *(path.parent.as_posix() for path in paths if path.name == MANIFEST_NAME)}):
        engine = Manifest.load(inside(artifact.folder, place))
        described |= {f"{place}/{file.name}" for file in engine.files}
        yield from _exported(artifact, place, engine)
    for path in paths:
        if path.suffix == ".onnx" and path.as_posix() not in described:
            yield f"{path}: not named in {MANIFEST_NAME}"


def _exported(artifact: Artifact, place: str, engine: EngineManifest) -> _Findings:
    """One engine's files, in the folder `place` of the artifact."""
    known = {record.module for record in artifact.info.sites}
    for file in engine.files:
        name = f"{place}/{file.name}"
        path, record = inside(artifact.folder, name), artifact.info.files.get(name)
        if record is None or not path.is_file():
            yield f"{name}: named in engine.json but missing"
        else:
            same = (record.sha256, record.bytes) == (file.sha256, file.size)
            yield None if same else f"{name}: engine.json describes another file"
    for operator in engine.operators:
        missing = [module for module in operator.modules if operator.int8 and module not in known]
        yield f"{missing[0]}: runs in int8 without a scale in {MANIFEST}" if missing else None
    if not engine.files:
        yield f"{place}: no engine files; export the artifact again"


_CHECKS: dict[str, Callable[[Artifact], _Findings]] = {
    "files are unaltered": _hashes,
    "no extra files": _extra,
    "weights fit their bits and shapes": _tensors,
    "scales are finite and positive": _scales,
    "engine files are there": _engine,
}
