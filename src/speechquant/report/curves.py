"""The error of every scale that a calibrator could have taken, thinned out for a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from speechquant.numerics import QuantSpec, threshold

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from speechquant.numerics import Histogram

__all__ = ["ErrorCurve", "error_curve", "mean_squared_errors"]

_POINTS = 96


@dataclass(frozen=True, slots=True, eq=False)
class ErrorCurve:
    """Mean squared error against the largest |x| that a scale can express; both arrays (candidates,).

    Attributes:
        thresholds: Candidates, ascending, in units of x.
        clipped: The error that the calibrator looks at: of what is left after the cut-off.
        whole: The error over all values, those above the cut-off too; the same as `clipped` without one.
    """

    thresholds: NDArray[np.float64]
    clipped: NDArray[np.float64]
    whole: NDArray[np.float64]


def error_curve(
    histogram: Histogram,
    bits: int,
    *,
    cutoff: float = 0.0,
    fold: bool = False,
    start_bin: int = 1,
    also: Iterable[float] = (),
) -> ErrorCurve | None:
    """The curve that StableQuant's Algorithm 2 takes the minimum of, at about a hundred of its candidates.

    Args:
        histogram: Of |x|.
        bits: 2 to 16.
        cutoff: Percent of the values cut off at the top before the search.
        fold: Count them in the last bin that is left instead of dropping them.
        start_bin: First candidate, counted from 1.
        also: Thresholds that must be among the candidates.

    Returns:
        None where nothing but zeros was counted.
    """
    if histogram.maximum == 0:
        return None
    counts, width = histogram.counts.astype(np.float64), histogram.width
    last, end = (
        round(threshold("stablequant", histogram, bits, cutoff=p, mse=False) / width + 0.5)
        for p in (0.0, cutoff)
    )
    masses = counts[:end].copy()
    if fold:
        masses[-1] += counts[end:].sum()
    first = min(start_bin, end)
    # Equal ratios show the steep left side, equal steps the long right one.
    spread = np.append(np.geomspace(first, last, _POINTS), np.linspace(first, last, _POINTS // 3))
    bins = np.unique(np.append(spread.round() - 0.5, [value / width for value in also if value > 0]))
    return ErrorCurve(
        bins * width,
        mean_squared_errors(masses, width, bits, bins),
        mean_squared_errors(counts[:last], width, bits, bins),
    )


def mean_squared_errors(
    masses: NDArray[np.float64], width: float, bits: int, thresholds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean squared error per counted value for each threshold.

    Args:
        masses: Counts of |x| by bin, (bins,).
        width: Of a bin, in units of x.
        bits: Of the quantizer; its levels reach to 2^(bits-1) - 1.
        thresholds: Largest values that can be expressed, in bins, (candidates,).
    """
    qmax = QuantSpec(bits).qmax
    centers = np.arange(len(masses)) + 0.5
    scales = np.asarray(thresholds, np.float64)[:, None] / qmax
    levels = np.minimum(np.rint(centers / scales), qmax)
    errors: NDArray[np.float64] = ((levels * scales - centers) ** 2) @ masses
    return errors * width**2 / max(float(masses.sum()), 1.0)
