"""Models and speech for the demo and the benchmarks of speechquant: files only, no dependencies."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

__all__ = ["CorpusName", "ModelName", "corpus", "model", "models"]

ModelName = Literal["moonshine-tiny", "hubert-mini-ctc"]
CorpusName = Literal["calibration", "dev", "dev-small", "test"]

_HERE = Path(__file__).resolve().parent


def models() -> dict[str, Path]:
    """The folder of every model by name, in the Hugging Face layout with a model card."""
    return {name: _HERE / "models" / name for name in get_args(ModelName)}


def model(name: ModelName) -> Path:
    """The folder of one model.

    Raises:
        ValueError: There is no model of that name.
    """
    if name not in get_args(ModelName):
        raise ValueError(f"no demo model {name!r}; choose one of {', '.join(get_args(ModelName))}")
    return _HERE / "models" / name


def corpus(name: CorpusName) -> Path:
    """The JSONL manifest of one corpus; its audio paths are relative to the folder of the manifest.

    The speakers of calibration, dev and test are disjoint. `dev-small` is a subset of `dev`.

    Raises:
        ValueError: There is no corpus of that name.
    """
    if name not in get_args(CorpusName):
        raise ValueError(f"no demo corpus {name!r}; choose one of {', '.join(get_args(CorpusName))}")
    return _HERE / "data" / f"{name}.jsonl"
