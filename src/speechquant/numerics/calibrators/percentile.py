"""Percentile calibration."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from speechquant.errors import RecipeError
from speechquant.numerics.calibrators.base import Calibrator, register
from speechquant.numerics.calibrators.clipping import kept_bins
from speechquant.numerics.spec import QuantSpec

if TYPE_CHECKING:
    from speechquant.numerics.histogram import Histogram

__all__ = ["Percentile"]


@register("percentile")
@dataclass(frozen=True, slots=True)
class Percentile(Calibrator):
    """The range ends at the centre of the bin that holds a percentile of |x| (Algorithm 2 with m = 0).

    NVIDIA's percentile calibrator takes the lower edge of the same bin.
    """

    percentile: float = 99.9
    """Percent of the values that are kept, above 0 and up to 100."""

    def __post_init__(self) -> None:
        if not 0 < self.percentile <= 100:  # noqa: PLR2004
            raise RecipeError(f"percentile {self.percentile} is out of range; choose above 0 and up to 100")

    def scale(self, histogram: Histogram, bits: int) -> float:
        """c_B / (2^(bits-1) - 1), c_B the centre of the last bin that is kept."""
        kept = kept_bins(histogram, Fraction(repr(float(self.percentile))))
        return (kept - 0.5) * histogram.width / QuantSpec(bits).qmax
