"""Read back from an engine which operators it runs in 8-bit integers, and which hold weights in 4 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from speechquant.engines.base import import_engine
from speechquant.engines.manifest import Coverage, Manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Reader = Callable[[Path, Sequence[str]], "Reading"]

__all__ = ["Reading", "read_coverage", "register_reader"]

_READERS: dict[str, Reader] = {}


@dataclass(frozen=True, slots=True)
class Reading:
    """Names of nodes: those that multiply 8-bit integers, and those whose weight an engine keeps in 4 bits."""

    int8: frozenset[str]
    weights_4bit: frozenset[str] = frozenset()


def register_reader(dialect: str) -> Callable[[Reader], Reader]:
    """Let an engine be read: a function (graph, names of nodes) -> what became of them."""

    def decorate(reader: Reader) -> Reader:
        _READERS[dialect] = reader
        return reader

    return decorate


def read_coverage(folder: Path, manifest: Manifest | None = None) -> Coverage:
    """Let the engine load every graph of a folder and look at what became of the operators.

    Args:
        folder: Where the graphs lie.
        manifest: What they are; read from the folder by default.

    Returns:
        Counts over the operators of the model, also where several of them are one node of the graph.

    Raises:
        MissingExtraError: the engine is not installed, or what reads its graphs.
        ArtifactError, EngineError: a file is missing, or the engine refuses it.
    """
    manifest = manifest or Manifest.load(folder)
    import_engine(manifest.dialect)
    reader = _READERS[manifest.dialect]
    readings = {}
    for file in manifest.files:
        nodes = [record.node for record in manifest.operators if record.part == file.part]
        readings[file.part] = reader(manifest.path(folder, file.part), nodes)
    int8: list[str] = []
    small: list[str] = []
    expanded: list[str] = []
    slow: dict[str, bool] = {}
    for record in manifest.operators:
        reading = readings.get(record.part, Reading(frozenset()))
        if record.node in reading.int8:
            int8 += record.modules
        elif record.node in reading.weights_4bit:
            small += record.modules
        elif record.weights_4bit:
            expanded += record.modules
        else:
            slow |= dict.fromkeys(record.modules, record.int8)
    total = sum(len(record.modules) for record in manifest.operators)
    broken = tuple(name for name, asked in slow.items() if asked)
    return Coverage(len(int8), total, tuple(slow), broken, len(small), tuple(expanded))
