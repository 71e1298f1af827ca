"""Engines by name, and the one verb that turns a folder into a recogniser."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from speechquant.decoding import load_vocabulary
from speechquant.engines.manifest import MANIFEST_NAME, Manifest
from speechquant.errors import EngineError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable

    from speechquant.decoding import BPEVocabulary, CTCVocabulary, Recognizer

    Opener = Callable[[Path, Manifest, CTCVocabulary | BPEVocabulary, int | None], Recognizer]

__all__ = ["engine_names", "load_recognizer", "register"]

_SUBFOLDER = "onnx"
# An engine is imported when it is asked for, so that nobody needs all of them.
_MODULES = {"onnxruntime": "speechquant.engines.onnxruntime"}
_OPENERS: dict[str, Opener] = {}


def register(name: str) -> Callable[[Opener], Opener]:
    """Make an engine available: a function (folder, manifest, vocabulary, threads) -> recogniser."""

    def decorate(opener: Opener) -> Opener:
        _OPENERS[name] = opener
        return opener

    return decorate


def engine_names() -> tuple[str, ...]:
    """The names that `load_recognizer` knows."""
    return tuple(sorted({*_MODULES, *_OPENERS}))


def load_recognizer(
    folder: str | Path,
    *,
    engine: str = "onnxruntime",
    threads: int | None = None,
    vocabulary: str | Path | None = None,
) -> Recognizer:
    """Open an exported model.

    Args:
        folder: Where `engine.json` lies, or an artifact that has it in its `onnx` folder.
        engine: One of `engine_names()`.
        threads: Threads inside an operator; by default one per core.
        vocabulary: Folder with the model's vocabulary files; by default the artifact's.

    Raises:
        ArtifactError: a file is missing or damaged.
        EngineError: unknown engine, an export for another one, or the engine refuses a graph.
        MissingExtraError: the engine is not installed.
        ModelError: there is no vocabulary, or it cannot be read.
    """
    if engine not in engine_names():
        raise EngineError(f"unknown engine {engine!r}; choose one of {', '.join(engine_names())}")
    if engine not in _OPENERS:
        try:
            import_module(_MODULES[engine])
        except ImportError as error:
            raise MissingExtraError(
                f"engine {engine} is not installed ({error}); pip install {engine}"
            ) from error
    home = Path(folder)
    graphs = (
        home if (home / MANIFEST_NAME).is_file() or not (home / _SUBFOLDER).is_dir() else home / _SUBFOLDER
    )
    manifest = Manifest.load(graphs)
    if manifest.dialect != engine:
        raise EngineError(f"{graphs} was exported for {manifest.dialect}, not for {engine}; export it again")
    words = Path(vocabulary) if vocabulary is not None else _vocabulary_folder(graphs)
    return _OPENERS[engine](graphs, manifest, load_vocabulary(words), threads)


def _vocabulary_folder(graphs: Path) -> Path:
    """An artifact keeps the model's own files one level above its graphs."""
    files = ("vocab.json", "tokenizer.json")
    return next(
        (place for place in (graphs, graphs.parent) if any((place / f).is_file() for f in files)), graphs
    )
