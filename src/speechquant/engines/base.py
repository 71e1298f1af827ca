"""Engines by name, and the one verb that turns a folder into a recogniser."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from speechquant.decoding import load_vocabulary
from speechquant.engines.manifest import MANIFEST_NAME, Manifest, missing_manifest
from speechquant.engines.options import EngineOptions
from speechquant.errors import EngineError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable

    from speechquant.decoding import BPEVocabulary, CTCVocabulary, Recognizer

    Opener = Callable[[Path, Manifest, CTCVocabulary | BPEVocabulary, EngineOptions], Recognizer]

__all__ = [
    "engine_names",
    "find_export",
    "find_exports",
    "import_engine",
    "is_export",
    "load_recognizer",
    "register",
]

_SUBFOLDER = "onnx"
# An engine is imported when it is asked for, so that nobody needs all of them.
_MODULES = {
    "onnxruntime": "speechquant.engines.onnxruntime",
    "openvino": "speechquant.engines.openvino",
    "tensorrt": "speechquant.engines.tensorrt",
}
_EXTRAS = {"openvino": "'speechquant[openvino]'"}
_OPENERS: dict[str, Opener] = {}


def register(name: str) -> Callable[[Opener], Opener]:
    """Make an engine available: a function (folder, manifest, vocabulary, options) -> recogniser."""

    def decorate(opener: Opener) -> Opener:
        _OPENERS[name] = opener
        return opener

    return decorate


def engine_names() -> tuple[str, ...]:
    """The names that `load_recognizer` knows."""
    return tuple(sorted({*_MODULES, *_OPENERS}))


def import_engine(name: str) -> None:
    """Import what runs an engine.

    Raises:
        EngineError: unknown engine.
        MissingExtraError: it is not installed.
    """
    if name not in engine_names():
        raise EngineError(f"unknown engine {name!r}; choose one of {', '.join(engine_names())}")
    if name in _OPENERS:
        return
    try:
        import_module(_MODULES[name])
    except ImportError as error:
        raise MissingExtraError(
            f"engine {name} is not installed ({error}); pip install {_EXTRAS.get(name, name)}"
        ) from error


def is_export(folder: str | Path) -> bool:
    """Whether a folder is an export by itself: engine files, or one folder of them per engine."""
    home = Path(folder)
    return any((home / name / MANIFEST_NAME).is_file() for name in ("", *engine_names()))


def find_export(folder: str | Path, engine: str) -> tuple[Path, Manifest]:
    """Where an engine's files lie: in the folder itself or in that of the engine, or in `onnx` below it.

    Raises:
        ArtifactError: there are no engine files at all, or their manifest is damaged.
        EngineError: there are only files of other engines.
    """
    found = find_exports(folder)
    for place, manifest in found.items():
        if manifest.dialect == engine:
            return place, manifest
    if not found:
        raise missing_manifest(folder)
    others = ", ".join(sorted({manifest.dialect for manifest in found.values()}))
    raise EngineError(
        f"{folder} was exported for {others}, not for {engine}; "
        f"run `speechquant export ARTIFACT --engine {engine}`"
    )


def find_exports(folder: str | Path) -> dict[Path, Manifest]:
    """All engine files that `find_export` could choose from, by the folder in which they lie.

    Raises:
        ArtifactError: a manifest is damaged.
    """
    home = Path(folder)
    names = ("", *engine_names())
    places = [*(home / name for name in names), *(home / _SUBFOLDER / name for name in names)]
    return {place: Manifest.load(place) for place in places if (place / MANIFEST_NAME).is_file()}


def load_recognizer(
    folder: str | Path,
    *,
    engine: str = "onnxruntime",
    threads: int | None = None,
    vocabulary: str | Path | None = None,
    options: EngineOptions | None = None,
) -> Recognizer:
    """Open an exported model.

    Args:
        folder: Where `engine.json` lies, or an artifact that has it in its `onnx` folder.
        engine: One of `engine_names()`.
        threads: Threads inside an operator; by default one per core.
        vocabulary: Folder with the model's vocabulary files; by default the artifact's.
        options: All settings of the engine, in place of `threads`.

    Raises:
        ArtifactError: a file is missing or damaged.
        EngineError: unknown engine, an export for another one, or the engine refuses a graph or a setting.
        MissingExtraError: the engine is not installed.
        ModelError: there is no vocabulary, or it cannot be read.
    """
    import_engine(engine)
    settings = options or EngineOptions(threads=threads)
    if settings.provider is not None and engine != "onnxruntime":
        raise EngineError(f"engine {engine} has no execution providers; leave the provider out")
    graphs, manifest = find_export(folder, engine)
    words = Path(vocabulary) if vocabulary is not None else _vocabulary_folder(graphs)
    return _OPENERS[engine](graphs, manifest, load_vocabulary(words), settings)


def _vocabulary_folder(graphs: Path) -> Path:
    """An artifact keeps the model's own files one or two levels above its graphs."""
    files = ("vocab.json", "tokenizer.json")
    places = (graphs, *graphs.resolve().parents[:2])
    return next((place for place in places if any((place / f).is_file() for f in files)), graphs)
