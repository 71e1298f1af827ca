"""Read back from an engine which operators it really runs in 8-bit integers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechquant.engines.base import import_engine
from speechquant.engines.manifest import Coverage, Manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Reader = Callable[[Path, Sequence[str]], set[str]]

__all__ = ["read_coverage", "register_reader"]

_READERS: dict[str, Reader] = {}


def register_reader(dialect: str) -> Callable[[Reader], Reader]:
    """Let an engine be read: a function (graph, names of nodes) -> those that multiply 8-bit integers."""

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
    integer = {}
    for file in manifest.files:
        nodes = [record.node for record in manifest.operators if record.part == file.part]
        integer[file.part] = reader(manifest.path(folder, file.part), nodes)
    fast: list[str] = []
    slow: dict[str, bool] = {}
    for record in manifest.operators:
        if record.node in integer.get(record.part, ()):
            fast += record.modules
        else:
            slow |= dict.fromkeys(record.modules, record.int8)
    total = sum(len(record.modules) for record in manifest.operators)
    return Coverage(len(fast), total, tuple(slow), tuple(name for name, asked in slow.items() if asked))
