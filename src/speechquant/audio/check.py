"""Refuse samples in which nothing could be recognised, and bring the others to unit variance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from speechquant.audio.load import SAMPLING_RATE
from speechquant.audio.samples import check_samples
from speechquant.errors import AudioError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["check_speech", "normalise"]


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
    seconds = samples.size / sampling_rate
    if seconds < minimum_seconds:
        raise AudioError(
            f"{name}: {seconds:.3f} seconds is too short; at least {minimum_seconds:g} are needed"
        )
    if maximum_seconds is not None and seconds > maximum_seconds:
        raise AudioError(
            f"{name}: {seconds:.1f} seconds is longer than {maximum_seconds:g}; cut it into shorter pieces"
        )
    check_samples(samples, name, sampling_rate)
    if not samples.any():
        raise AudioError(f"{name}: is silent (all samples are zero)")


def normalise(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Zero mean and unit variance: (x - mean) / sqrt(var + 1e-7), shape (time,).

    Source: `Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm` of transformers, which models with
    `do_normalize` were trained behind. Deviation: the moments are accumulated in float64, so that their error
    does not grow with the length of the file.
    """
    wide = samples.astype(np.float64)
    unit: NDArray[np.float64] = (wide - wide.mean()) / np.sqrt(wide.var() + 1e-7)
    return unit.astype(np.float32)
