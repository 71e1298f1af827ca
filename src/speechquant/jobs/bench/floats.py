"""Float models in PyTorch. Importable without it; needs it when a function is called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from speechquant.artifact import is_artifact, load_artifact
from speechquant.errors import MissingExtraError
from speechquant.jobs.sources import resolve_model

if TYPE_CHECKING:
    from speechquant.decoding import Recognizer
    from speechquant.models import SpeechModel

__all__ = ["load_float", "open_float"]


def load_float(source: str) -> SpeechModel:
    """A float model; of an artifact, the float32 model that its integer weights stand for.

    Raises:
        ArtifactError, ModelError: it cannot be loaded.
        MissingExtraError: PyTorch is not installed.
    """
    try:
        from speechquant.models import load_model
    except ImportError as error:
        raise MissingExtraError(
            "float models need PyTorch: pip install 'speechquant[quantize]', or give an artifact"
        ) from error
    if is_artifact(Path(source)):
        return load_model(source, tensors=load_artifact(source).tensors())
    return load_model(resolve_model(source))


def open_float(source: str, threads: int) -> Recognizer:
    """A recogniser in PyTorch, which has one number of threads for the whole process."""
    model = load_float(source)
    import torch

    torch.set_num_threads(threads)
    return model.recognizer()
