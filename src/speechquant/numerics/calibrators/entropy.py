"""Entropy calibration."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from speechquant.errors import RecipeError
from speechquant.numerics.calibrators.base import Calibrator, register
from speechquant.numerics.calibrators.clipping import kept_bins
from speechquant.numerics.spec import QuantSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from speechquant.numerics.histogram import Histogram

__all__ = ["Entropy"]

_CHUNK_ELEMENTS = 1 << 18


@register("entropy")
@dataclass(frozen=True, slots=True)
class Entropy(Calibrator):
    """The range whose quantized distribution has the least KL divergence from the original one.

    S. Migacz, "8-bit inference with TensorRT" (GTC 2017), as NVIDIA Model Optimizer computes it: candidate i
    keeps i bins, the values beyond are added to the last of them in the reference but not in the quantized
    distribution, each of 2^(bits-1) levels spreads its mass evenly over those of its bins that are not empty,
    bin 0 (zeros) is given the count of bin 1, and the largest range wins a tie.
    """

    start_bin: int = 128
    """Bins that the first candidate keeps."""
    stride: int = 1
    """Bins between candidates."""

    def __post_init__(self) -> None:
        if self.start_bin < 1 or self.stride < 1:
            raise RecipeError(f"start_bin {self.start_bin} and stride {self.stride} must be 1 or more")

    def scale(self, histogram: Histogram, bits: int) -> float:
        """Upper edge of the best candidate's last bin / (2^(bits-1) - 1)."""
        qmax = QuantSpec(bits).qmax
        bins = kept_bins(histogram, Fraction(100))
        counts = histogram.counts[:bins].astype(np.float64)
        if bins > 1:
            counts[0] = counts[1]
        candidates = np.arange(self.start_bin, bins + 1, self.stride)
        if not candidates.size or not counts.any():
            return bins * histogram.width / qmax
        divergences = _divergences(counts, candidates, qmax + 1)
        best = candidates[::-1][np.argmin(divergences[::-1])]
        return float(best) * histogram.width / qmax


def _divergences(counts: NDArray[np.float64], kept: NDArray[np.int64], levels: int) -> NDArray[np.float64]:
    """KL divergence times the total count for each number of bins kept, shape (candidates,).

    With reference r, quantized q and their totals R and Q: R KL = sum r log r - sum r log q + R log (Q / R).
    Prefix sums over the bins give the first sum; q is constant in a level: the second is a term per level.
    """
    total = counts.sum()
    inside = np.concatenate([[0.0], np.cumsum(counts)])[kept]
    last = counts[kept - 1]
    reference_last = last + (total - inside)
    self_terms = np.concatenate([[0.0], np.cumsum(_xlogy(counts, counts))])[kept - 1]
    cross = _cross_terms(counts, kept, levels, total - inside)
    with np.errstate(divide="ignore", invalid="ignore"):
        result = self_terms + _xlogy(reference_last, reference_last) - cross + total * np.log(inside / total)
    # A reference with mass where the quantized distribution has none diverges.
    return np.where(((last == 0) & (reference_last > 0)) | (inside == 0), np.inf, result)


def _cross_terms(
    counts: NDArray[np.float64], kept: NDArray[np.int64], levels: int, tails: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sum of r log q over the bins for each candidate, shape (candidates,)."""
    if levels >= kept[-1]:  # every bin is a level of its own
        return np.cumsum(_xlogy(counts, counts))[kept - 1] + _xlogy(tails, counts[kept - 1])
    mass = np.concatenate([[0.0], np.cumsum(counts)])
    filled = np.concatenate([[0], np.cumsum(counts > 0)])
    result = np.empty(len(kept))
    step = max(1, _CHUNK_ELEMENTS // levels)
    for start in range(0, len(kept), step):
        chunk = slice(start, start + step)
        used = np.minimum(levels, kept[chunk])[:, None]
        starts = -(-np.arange(levels + 1) * kept[chunk, None] // used)
        np.minimum(starts, kept[chunk, None], out=starts)
        masses = np.diff(mass[starts], axis=1)
        means = masses / np.maximum(np.diff(filled[starts], axis=1), 1)
        final = means[np.arange(len(used)), used[:, 0] - 1]
        result[chunk] = _xlogy(masses, means).sum(axis=1) + _xlogy(tails[chunk], final)
    return result


def _xlogy(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """The product x log(y), 0 where y is 0."""
    return x * np.log(np.where(y > 0, y, 1.0))
