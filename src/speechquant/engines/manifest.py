"""`engine.json`: what lies in a folder of engine files, and how to run it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from speechquant.decoding import RuntimeSpec, read_json
from speechquant.errors import ArtifactError
from speechquant.storage import write_whole

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MANIFEST_NAME", "Coverage", "EngineFile", "Manifest", "OperatorRecord", "missing_manifest"]

MANIFEST_NAME = "engine.json"
_FORMAT = 1
_AGAIN = "export the model again"
_CHECKED = ConfigDict(strict=True, extra="forbid")

Count = Annotated[int, Field(ge=0)]


def _plain_name(name: str) -> str:
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(f"{name!r} is not a plain file name")
    return name


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many of a model's weight-bearing operators an engine runs in 8-bit integers.

    `fallbacks` are the dotted paths of those that run in float; `broken` those among them for which the scale
    table asks for 8 bits, so that anything in it is a defect of the export. Operators with 4-bit weights compute
    in float too but are counted apart: `weights_4bit` is the number of those whose weight the engine keeps in 4
    bits, `expanded` are those whose 4-bit weight it makes float when it loads the file.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _CHECKED

    int8: Count
    total: Count
    fallbacks: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    weights_4bit: Count = 0
    expanded: tuple[str, ...] = ()

    @property
    def small(self) -> int:
        """How many operators have small weights in the file: 8-bit products, or 4 bits in any form."""
        return self.int8 + self.weights_4bit + len(self.expanded)


@dataclass(frozen=True, slots=True)
class EngineFile:
    """One graph of a model: its part ("encode", "step", ...), its file in the folder, size and SHA-256."""

    __pydantic_config__: ClassVar[ConfigDict] = _CHECKED

    part: str
    name: Annotated[str, AfterValidator(_plain_name)]
    size: Count
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True)
class OperatorRecord:
    """One multiplication of a graph and the operators of the model that it computes.

    `node` is its name in the file of `part`; `int8` says that the scale table asks for 8-bit integers,
    `weights_4bit` that the file has the weight in 4 bits.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _CHECKED

    part: str
    modules: tuple[str, ...]
    node: str
    int8: bool
    weights_4bit: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a folder of engine files holds."""

    __pydantic_config__: ClassVar[ConfigDict] = _CHECKED

    dialect: str
    runtime: RuntimeSpec
    files: tuple[EngineFile, ...]
    operators: tuple[OperatorRecord, ...]
    coverage: Coverage | None = None

    @property
    def signature(self) -> str:
        """SHA-256 of everything that decides the output: the graphs and how they are fed."""
        digest = hashlib.sha256(json.dumps(self.runtime.to_dict(), sort_keys=True).encode())
        for file in self.files:
            digest.update(f"{self.dialect}|{file.part}|{file.sha256}|".encode())
        return digest.hexdigest()

    def path(self, folder: Path, part: str) -> Path:
        """The file of a part.

        Raises:
            ArtifactError: the manifest does not list it, or it is not there.
        """
        name = next((file.name for file in self.files if file.part == part), None)
        if name is None:
            raise ArtifactError(f"{folder / MANIFEST_NAME} lists no {part!r} graph; export the model again")
        path = folder / name
        if not path.is_file():
            raise ArtifactError(f"{path} is missing, {MANIFEST_NAME} lists it; export the model again")
        return path

    def with_coverage(self, coverage: Coverage) -> Manifest:
        """This manifest with what was read back from the engine."""
        return replace(self, coverage=coverage)

    def save(self, folder: Path) -> Path:
        """Write `engine.json`.

        Raises:
            StorageError: the folder cannot be written.
        """
        path = folder / MANIFEST_NAME
        content = {"format": _FORMAT} | asdict(self) | {"runtime": self.runtime.to_dict()}
        write_whole(path, json.dumps(content, indent=1) + "\n")
        return path

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read `engine.json`.

        Raises:
            ArtifactError: it is missing, damaged, or of another version.
        """
        path = folder / MANIFEST_NAME
        if not path.exists():
            raise missing_manifest(folder)
        content = read_json(path, fault=ArtifactError, advice=_AGAIN)
        version = content.pop("format", None)
        if version != _FORMAT:
            raise ArtifactError(f"{path} has format {version!r}, this version reads {_FORMAT}; {_AGAIN}")
        try:
            # Checked as JSON, which knows lists but no tuples.
            return TypeAdapter(cls).validate_json(json.dumps(content))
        except ValidationError as error:
            detail = error.errors(include_url=False, include_input=False)[0]
            where = " at " + ".".join(str(part) for part in detail["loc"]) if detail["loc"] else ""
            message = " ".join(detail["msg"].split())
            raise ArtifactError(f"{path} is damaged{where} ({message}); {_AGAIN}") from error


def missing_manifest(folder: str | Path) -> ArtifactError:
    """The error for an artifact, or a folder of engine files, that is not complete."""
    return ArtifactError(
        f"{folder} has no {MANIFEST_NAME}; fetch the artifact again, or run `speechquant export` on it"
    )
