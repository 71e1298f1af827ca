"""The mean squared error of every candidate scale of a histogram (StableQuant Algorithm 2, lines 3 to 12).

In units of the bin width the centres are (2j + 1) / 2 and the candidate scales (2i + 1) / (2 qmax). The error
of centre j under candidate i is therefore ((2j + 1) qmax - q (2i + 1)) / (2 qmax) with q the nearest integer
to (2j + 1) qmax / (2i + 1), at most qmax: an integer over a constant, whatever the histogram. Two things
follow. All sites share one matrix of squared errors and are solved by one product with it. And no quotient
lies half-way between two levels (2 (2j + 1) qmax is even, (2n + 1)(2i + 1) is odd), so the rule for ties is
irrelevant and floating point finds the same level as exact arithmetic.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from speechquant.numerics.calibrators.clipping import kept_bins
from speechquant.numerics.spec import QuantSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from speechquant.numerics.histogram import Histogram

__all__ = ["best_scales", "clipped_bins"]

_CHUNK = 32


def clipped_bins(histogram: Histogram, cutoff: float) -> int:
    """B of Algorithm 2: how many bins are left when `cutoff` percent of the values are cut off at the top."""
    return kept_bins(histogram, 100 - Fraction(repr(float(cutoff))))


def best_scales(
    histograms: Sequence[Histogram], bits: int, *, cutoff: float, start_bin: int, fold: bool
) -> list[float]:
    """The candidate scale with the smallest error for each histogram, the smallest such scale in a tie.

    Args:
        histograms: One per site.
        bits: 2 to 16.
        cutoff: Percent of the values cut off at the top before the search.
        start_bin: First candidate, counted from 1; the last bin that is left is always a candidate.
        fold: Count the values cut off in the last bin that is left instead of dropping them.
    """
    if not histograms:
        return []
    ends = np.array([clipped_bins(histogram, cutoff) for histogram in histograms])
    order = np.argsort(-ends, kind="stable")
    masses = _masses([histograms[site] for site in order], ends[order], fold=fold)
    errors = _errors(masses, ends[order], start_bin, QuantSpec(bits).qmax)
    best = np.empty(len(histograms), np.int64)
    best[order] = np.argmin(errors, axis=1)
    widths = np.array([histogram.width for histogram in histograms])
    scales: list[float] = ((best + 0.5) * widths / QuantSpec(bits).qmax).tolist()
    return scales


def _masses(histograms: Sequence[Histogram], ends: NDArray[np.int64], *, fold: bool) -> NDArray[np.float64]:
    """The clipped counts of every site, shape (sites, largest number of bins left)."""
    masses = np.zeros((len(histograms), int(ends.max())))
    for row, histogram, end in zip(masses, histograms, ends, strict=True):
        row[:end] = histogram.counts[:end]
        if fold:
            row[end - 1] += histogram.counts[end:].sum()
    return masses


def _errors(
    masses: NDArray[np.float64], ends: NDArray[np.int64], start_bin: int, qmax: int
) -> NDArray[np.float64]:
    """Errors in units of (width / (2 qmax))^2, shape (sites, bins); infinite where bin i is no candidate.

    `ends` descends: the sites with a candidate in a chunk of bins are always the first rows.
    """
    errors = np.full(masses.shape, np.inf)
    first = min(start_bin, int(ends.min())) - 1
    for start in range(first, masses.shape[1], _CHUNK):
        candidates = np.arange(start, min(start + _CHUNK, masses.shape[1]))
        sites = int(np.count_nonzero(ends > start))
        squares = _squared_errors(candidates, int(ends[0]), qmax)
        errors[:sites, candidates] = masses[:sites] @ squares.T
    bins = np.arange(masses.shape[1])
    allowed = (bins < ends[:, None]) & (bins >= np.minimum(start_bin, ends)[:, None] - 1)
    return np.where(allowed, errors, np.inf)


def _squared_errors(candidates: NDArray[np.int64], bins: int, qmax: int) -> NDArray[np.float64]:
    """Integers ((2j + 1) qmax - q (2i + 1))^2 for candidates i and bins j, shape (candidates, bins)."""
    steps = (2.0 * candidates + 1)[:, None]
    centers = 2.0 * np.arange(bins) + 1
    levels = centers * (qmax / steps)
    np.rint(levels, out=levels)
    np.minimum(levels, qmax, out=levels)
    levels *= steps
    levels -= centers * qmax
    levels *= levels
    return levels
