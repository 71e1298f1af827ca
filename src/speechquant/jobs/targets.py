"""Open what the user names as something that transcribes: an artifact, or a float model through torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from speechquant.artifact import is_artifact, load_artifact
from speechquant.decoding import CTCFrames, CTCVocabulary, load_vocabulary
from speechquant.engines import EngineOptions, find_export, is_export, load_recognizer
from speechquant.errors import ArtifactError, MissingExtraError, RecipeError
from speechquant.jobs.sources import resolve_model

if TYPE_CHECKING:
    from speechquant.decoding import Recognizer, RuntimeSpec, Vocabulary
    from speechquant.engines import Precision

__all__ = ["Target", "TargetKind", "choose_normalizer", "open_target"]

TargetKind = Literal["artifact", "float model"]


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """Something that transcribes. `ctc` says how frames become words and is None for other models."""

    name: str
    kind: TargetKind
    recognizer: Recognizer
    runtime: RuntimeSpec
    ctc: CTCFrames | None
    normalizer: str


def open_target(
    name: str | Path,
    *,
    engine: str = "onnxruntime",
    threads: int | None = None,
    precision: Precision | None = None,
    cache: Path | None = None,
    provider: str | None = None,
) -> Target:
    """Open an artifact or an export on an engine, or a float model in torch.

    Args:
        name: a folder of an artifact, an export or a model, a hub id, `demo` or `demo:hubert-mini`.
        engine: runs artifacts and exports.
        threads: CPU threads; the engine's choice by default.
        precision: of what the engine does not compute in 8-bit integers; its choice by default.
        cache: folder for models that an engine has compiled.
        provider: what ONNX Runtime computes with, `cpu` by default.

    Raises:
        ArtifactError, ModelError, EngineError: it cannot be opened.
        MissingExtraError: a float model without the extra `quantize`.
    """
    if threads is not None and threads < 1:
        raise RecipeError(f"{threads} threads are not possible; give 1 or more")
    folder = Path(name)
    if is_artifact(folder) or is_export(folder):
        return _exported(folder, str(name), engine, EngineOptions(threads, precision, cache, provider))
    if not str(name).strip() or (folder.is_file() and not folder.is_dir()):
        raise ArtifactError(f"{name}: is neither an artifact nor a model folder; give the folder itself")
    if provider is not None:
        raise RecipeError(f"{name} runs in PyTorch, which has no execution providers; leave the provider out")
    return _float_model(str(name), threads)


def choose_normalizer(targets: list[Target], wanted: str | None) -> str:
    """The text normaliser for all targets: the one asked for, or the one that they agree on.

    Raises:
        RecipeError: the targets need different ones and none was asked for.
    """
    if wanted is not None:
        return wanted
    found = {target.normalizer for target in targets}
    if len(found) > 1:
        raise RecipeError(
            f"the models use different text normalisers ({', '.join(sorted(found))}); choose one with "
            "--normalizer"
        )
    return found.pop()


def _exported(folder: Path, name: str, engine: str, options: EngineOptions) -> Target:
    recorded = load_artifact(folder).metrics.get("normalizer") if is_artifact(folder) else None
    recognizer = load_recognizer(folder, engine=engine, options=options)
    _, manifest = find_export(folder, engine)
    runtime = manifest.runtime
    normalizer = recorded if isinstance(recorded, str) else _normalizer(runtime)
    ctc = _frames(runtime, load_vocabulary(folder))
    return Target(name, "artifact", recognizer, runtime, ctc, normalizer)


def _float_model(name: str, threads: int | None) -> Target:
    try:
        import torch

        from speechquant.models import load_model
    except ImportError as error:
        raise MissingExtraError(
            f"{name} is not an artifact, and float models need PyTorch: pip install 'speechquant[quantize]'"
        ) from error
    if threads is not None:
        torch.set_num_threads(threads)
    model: Any = load_model(resolve_model(name))
    ctc = _frames(model.runtime, model.vocabulary)
    return Target(name, "float model", model.recognizer(), model.runtime, ctc, _normalizer(model.runtime))


def _frames(runtime: RuntimeSpec, vocabulary: Vocabulary) -> CTCFrames | None:
    if runtime.task != "ctc":
        return None
    delimiter = vocabulary.delimiter if isinstance(vocabulary, CTCVocabulary) else None
    return CTCFrames(vocabulary, runtime.blank, delimiter, runtime.frame_seconds)


def _normalizer(runtime: RuntimeSpec) -> str:
    return "whisper-english" if runtime.writes_punctuation else "upper"
