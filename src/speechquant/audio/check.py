"""Refuse samples in which nothing could be recognised, and bring the others to unit variance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from speechquant.audio.load import SAMPLING_RATE
from speechquant.audio.samples import check_samples
from speechquant.errors import AudioError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["check_length", "check_speech", "normalise"]

_DECIMALS = range(3, 10)


def check_speech(
    samples: NDArray[np.float32],
    name: str,
    *,
    minimum_seconds: float = 0.1,
    maximum_seconds: float | None = None,
    sampling_rate: int = SAMPLING_RATE,
) -> None:
    """Raise if a waveform cannot hold speech.

    Args:
        samples: shape (time,).
        name: what messages call the waveform.
        minimum_seconds: shortest length accepted; models need at least one frame of their encoder.
        maximum_seconds: longest length accepted, None for any.
        sampling_rate: of `samples`, in Hz.

    Raises:
        AudioError: not of shape (time,), no samples, too short, too long, all zero, or with a sample that is
            NaN, infinite or beyond `LARGEST_SAMPLE`.
    """
    if samples.ndim != 1:
        raise AudioError(f"{name}: expected mono samples of shape (time,), got shape {samples.shape}")
    if samples.size == 0:
        raise AudioError(f"{name}: contains no samples (0 seconds)")
    check_length(samples.size / sampling_rate, name, minimum=minimum_seconds, maximum=maximum_seconds)
    check_samples(samples, name, sampling_rate)
    if not samples.any():
        raise AudioError(f"{name}: is silent (all samples are zero)")


def check_length(seconds: float, name: str, *, minimum: float, maximum: float | None = None) -> None:
    """Raise if audio is too short or too long.

    Raises:
        AudioError: says how long it is, with as many decimals as tell it from the limit.
    """
    if seconds < minimum:
        raise AudioError(
            f"{name}: {_apart(seconds, minimum)} seconds is too short; at least {minimum:g} are needed"
        )
    if maximum is not None and seconds > maximum:
        raise AudioError(
            f"{name}: {_apart(seconds, maximum)} seconds is longer than {maximum:g}; cut it into shorter pieces"
        )


def _apart(seconds: float, limit: float) -> str:
    texts = (f"{seconds:.{decimals}f}" for decimals in _DECIMALS)
    return next((text for text in texts if float(text) != limit), str(seconds))


def normalise(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Zero mean and unit variance: (x - mean) / sqrt(var + 1e-7), shape (time,).

    Source: `Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm` of transformers, which models with
    `do_normalize` were trained behind. Deviation: the moments are accumulated in float64, so that their error
    does not grow with the length of the file.
    """
    wide = samples.astype(np.float64)
    unit: NDArray[np.float64] = (wide - wide.mean()) / np.sqrt(wide.var() + 1e-7)
    return unit.astype(np.float32)
