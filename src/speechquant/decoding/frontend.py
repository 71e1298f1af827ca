"""What a recogniser does to a waveform before the network sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from speechquant.errors import AudioError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["prepare_wave"]

_VARIANCE_FLOOR = 1e-7


def prepare_wave(wave: NDArray[np.float32], *, normalize: bool, minimum: int) -> NDArray[np.float32]:
    """The samples that a network gets, float32.

    Args:
        wave: mono samples, shape (time,).
        normalize: zero mean and unit variance over the utterance, with the variance floor of transformers'
            `Wav2Vec2FeatureExtractor`.
        minimum: receptive field of the network's convolutions in samples. A shorter waveform would give no
            frame at all, so zeros are appended up to it.

    Returns:
        Samples of shape (max(time, minimum),).

    Raises:
        AudioError: the waveform is empty, not mono, or holds NaN or infinity.
    """
    if wave.ndim != 1 or wave.size == 0:
        raise AudioError(f"a waveform must have shape (time,) and at least one sample, not {wave.shape}")
    samples = np.asarray(wave, dtype=np.float32)
    if not np.isfinite(samples).all():
        raise AudioError("a waveform holds NaN or infinite samples; decode the audio again")
    if normalize:
        samples = (samples - samples.mean()) / np.sqrt(samples.var() + np.float32(_VARIANCE_FLOOR))
    if samples.size < minimum:
        samples = np.pad(samples, (0, minimum - samples.size))
    return np.ascontiguousarray(samples, dtype=np.float32)
