"""What a model folder says about the waveform its network expects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from speechquant.decoding import read_json
from speechquant.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Preprocessor", "read_preprocessor"]


@dataclass(frozen=True, slots=True)
class Preprocessor:
    """Sampling rate in Hz, and whether every utterance is brought to zero mean and unit variance."""

    sampling_rate: int
    normalize: bool


def read_preprocessor(folder: Path) -> Preprocessor:
    """Read `preprocessor_config.json`, or the same section of `processor_config.json`.

    Raises:
        ModelError: neither file exists, or the sampling rate is not a positive integer.
    """
    settings = _settings(folder)
    rate = settings.get("sampling_rate", 16_000)
    if not isinstance(rate, int) or rate <= 0:
        raise ModelError(
            f"{folder}: the preprocessor's sampling_rate must be a positive integer, not {rate!r}"
        )
    # transformers' Wav2Vec2FeatureExtractor normalises unless told otherwise.
    return Preprocessor(rate, normalize=bool(settings.get("do_normalize", True)))


def _settings(folder: Path) -> dict[str, Any]:
    plain, nested = folder / "preprocessor_config.json", folder / "processor_config.json"
    if plain.is_file():
        return read_json(plain)
    section = read_json(nested).get("feature_extractor") if nested.is_file() else None
    if isinstance(section, dict):
        return section
    raise ModelError(f"{folder} has no preprocessor_config.json; copy the one the model was published with")
