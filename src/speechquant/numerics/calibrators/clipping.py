"""Percentile clipping of a histogram (StableQuant Algorithm 2, line 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fractions import Fraction

    from speechquant.numerics.histogram import Histogram

__all__ = ["kept_bins"]


def kept_bins(histogram: Histogram, kept_percent: Fraction) -> int:
    """The smallest number of bins, from zero upwards, that hold at least `kept_percent` of all values.

    100 % ends at the last bin that is not empty. The percentage is exact, so that the cut does not depend on
    how 100 - 0.2 is rounded.
    """
    cumulated = np.cumsum(histogram.counts)
    wanted = -(-int(cumulated[-1]) * kept_percent.numerator // (100 * kept_percent.denominator))
    return int(np.searchsorted(cumulated, max(wanted, 1), side="left")) + 1
