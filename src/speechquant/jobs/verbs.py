"""The verbs of the Python interface: the same jobs as the commands, with plain arguments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechquant.jobs.recipe import load_recipe
from speechquant.jobs.sources import shipped_recipe
from speechquant.jobs.targets import open_target
from speechquant.jobs.transcribe import transcribe_one

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from speechquant.decoding import LongTranscript
    from speechquant.engines import Precision
    from speechquant.jobs.comparison import CompareResult
    from speechquant.jobs.learning import LearnOutcome
    from speechquant.jobs.progress import Progress
    from speechquant.jobs.quantization import Outcome
    from speechquant.jobs.targets import Target

__all__ = ["Model", "compare", "learn", "load", "quantize"]


class Model:
    """An opened artifact or float model that transcribes speech."""

    def __init__(self, target: Target) -> None:
        self._target = target

    @property
    def sampling_rate(self) -> int:
        """Of samples given to `transcribe`, in Hz."""
        return self._target.recognizer.sampling_rate

    def transcribe(self, audio: str | Path | NDArray[np.float32]) -> LongTranscript:
        """Transcribe a file of any length and format, or mono samples of shape (time,) at `sampling_rate`.

        Raises:
            AudioError: the audio is missing, damaged, too short or silent.
        """
        return transcribe_one(self._target, Path(audio) if isinstance(audio, str) else audio)


def load(
    path: str | Path,
    *,
    engine: str = "onnxruntime",
    threads: int | None = None,
    precision: Precision | None = None,
    cache: Path | None = None,
    provider: str | None = None,
) -> Model:
    """Open an artifact, an export, or a float model (folder, hub id, `demo`) with the extra `quantize`.

    Args:
        path: what to open.
        engine: runs artifacts and exports.
        threads: CPU threads; the engine's choice by default.
        precision: of what the engine does not compute in 8-bit integers; its choice by default.
        cache: folder for models that an engine has compiled.
        provider: what ONNX Runtime computes with, `cpu` by default.

    Raises:
        ArtifactError, ModelError, EngineError: it cannot be opened.
        MissingExtraError: a float model without PyTorch.
    """
    return Model(
        open_target(path, engine=engine, threads=threads, precision=precision, cache=cache, provider=provider)
    )


def quantize(
    model: str | Path | None = None,
    output: str | Path | None = None,
    *,
    recipe: str | Path | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Outcome:
    """Quantize a model and prove its word error rate; see `Recipe` for the settings.

    Args:
        model: model folder, hub id, `demo` or `demo:hubert-mini`.
        output: folder of the artifact.
        recipe: a YAML file of settings, which the arguments override.
        progress: hears how far the job is.
        settings: fields of `Recipe`, such as `calibration`, `dev`, `test`, `bits`, `method`.

    Raises:
        RecipeError: a setting is unknown, missing or out of range.
        SpeechquantError: the model or the speech is unusable, or the output cannot be written.
    """
    from speechquant.jobs.quantization import quantize as job

    name = None if model is None else str(model)
    path = Path(recipe) if recipe is not None else shipped_recipe(name or "")
    return job(load_recipe(path, model=name, output=output, **settings), progress=progress)


def learn(
    model: str | Path | None = None,
    output: str | Path | None = None,
    *,
    recipe: str | Path | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> LearnOutcome | None:
    """Train a model with its quantizers, or make its weights small to a budget; see `LearnRecipe` for the settings.

    Args:
        model: model folder, hub id, `demo` or `demo:hubert-mini`.
        output: folder of the artifact, or of the float model with `method="float"`.
        recipe: a YAML file of settings, which the arguments override.
        progress: hears how far the job is.
        settings: fields of `LearnRecipe`, such as `train`, `dev`, `test`, `method`, `bits`, `average_bits`.

    Returns:
        None in all processes but the first, where several share the work.

    Raises:
        RecipeError: a setting is unknown, missing or out of range.
        SpeechquantError: the model or the speech is unusable, or the output cannot be written.
    """
    from speechquant.jobs.learn_recipe import load_learn_recipe
    from speechquant.jobs.learning import learn as job

    name = None if model is None else str(model)
    path = None if recipe is None else Path(recipe)
    return job(load_learn_recipe(path, model=name, output=output, **settings), progress=progress)


def compare(
    model: str | Path | None = None,
    output: str | Path | None = None,
    *,
    recipe: str | Path | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> CompareResult:
    """Compare quantization methods on one model; see `CompareRecipe` for the settings.

    Args:
        model: model folder, hub id, `demo` or `demo:hubert-mini`.
        output: folder of the tables and figures.
        recipe: `table1`, `table2`, `table3`, `figures`, or a YAML file; the arguments override it.
        progress: hears how far the job is.
        settings: fields of `CompareRecipe`, such as `calibration`, `dev`, `test`, `methods`, `bits`.

    Raises:
        CompareInterrupted: Ctrl-C; it has the rows that were finished, which were written.
        RecipeError: a setting is unknown, missing or out of range.
        SpeechquantError: the model or the speech is unusable, or the output cannot be written.
    """
    from speechquant.jobs.compare_recipe import load_compare_recipe
    from speechquant.jobs.comparison import compare as job

    name = None if model is None else str(model)
    return job(load_compare_recipe(recipe, model=name, output=output, **settings), progress=progress)
