"""Samples that no recording has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from speechquant.errors import AudioError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LARGEST_SAMPLE", "check_samples"]

LARGEST_SAMPLE = 2.0**31
"""Full scale is 1, and up to this in files that hold integers as floats. Powers of far larger samples overflow."""


def check_samples(samples: NDArray[np.float32], name: str, sampling_rate: int, *, start: int = 0) -> None:
    """Raise if a sample is NaN, infinite, or larger than `LARGEST_SAMPLE`.

    Args:
        samples: shape (time,) or (time, channels).
        name: what the message calls the recording.
        sampling_rate: in Hz.
        start: place of the first of them in the recording.

    Raises:
        AudioError: names the first such sample and its second.
    """
    # A comparison with NaN is false.
    usable = np.abs(samples) <= LARGEST_SAMPLE
    if usable.all():
        return
    first = int(np.argmin(usable if usable.ndim == 1 else usable.all(axis=1)))
    second = (start + first) / sampling_rate
    found = np.ravel(samples[first])
    if not np.isfinite(found).all():
        raise AudioError(f"{name}: contains a NaN or infinite sample at {second:.3f} s")
    raise AudioError(
        f"{name}: contains a sample of {np.abs(found).max():.3g} at {second:.3f} s, where full scale is 1; copy or "
        "record it again"
    )
