"""StableQuant's scale calibration function S_c(p, m; D)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from speechquant.errors import RecipeError
from speechquant.numerics.calibrators.base import Calibrator, register
from speechquant.numerics.calibrators.mse_grid import best_scales, clipped_bins
from speechquant.numerics.spec import QuantSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from speechquant.numerics.histogram import Histogram

__all__ = ["StableQuant"]


@register("stablequant")
@dataclass(frozen=True, slots=True)
class StableQuant(Calibrator):
    """Percentile clipping, then the scale of least squared error (StableQuant Algorithm 2).

    Deviations: the histogram is of |x| and the percentile one-sided; levels are clamped to 2^(bits-1) - 1
    before line 8 multiplies them back, because otherwise the smallest candidate would always win; B counts
    the bins up to the last one that is not empty, so that at p = 0 c_B is next to the maximum although the
    range of the histogram ends at a power of two.
    """

    cutoff: float = 0.0
    """p in percent: 0.2 keeps 99.8 % of the values. The paper searches 0 to 0.5 in steps of 0.01."""
    mse: bool = True
    """m: search the least error, or take the end of the clipped histogram."""
    start_bin: int = 1
    """First candidate bin, counted from 1. NVIDIA's `start_bin=128` counts from 0: it is 129 here."""
    fold: bool = False
    """Count the values cut off in the last bin instead of dropping them (the paper drops them)."""

    def __post_init__(self) -> None:
        if not 0 <= self.cutoff < 100:  # noqa: PLR2004
            raise RecipeError(f"cutoff {self.cutoff} is out of range; choose from 0 to below 100 percent")
        if self.start_bin < 1:
            raise RecipeError(f"start_bin {self.start_bin} is out of range; the first bin is 1")

    def scale(self, histogram: Histogram, bits: int) -> float:
        """One site."""
        return self.scales([histogram], bits)[0]

    def scales(self, histograms: Sequence[Histogram], bits: int) -> list[float]:
        """All sites by one shared error matrix."""
        if self.mse:
            return best_scales(histograms, bits, cutoff=self.cutoff, start_bin=self.start_bin, fold=self.fold)
        qmax = QuantSpec(bits).qmax
        return [(clipped_bins(h, self.cutoff) - 0.5) * h.width / qmax for h in histograms]
