"""Max calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from speechquant.numerics.calibrators.base import Calibrator, register
from speechquant.numerics.spec import QuantSpec

if TYPE_CHECKING:
    from speechquant.numerics.histogram import Histogram

__all__ = ["Max"]


@register("max")
@dataclass(frozen=True, slots=True)
class Max(Calibrator):
    """The range ends at the exact largest |x| (StableQuant section II-B), not at the centre of its bin."""

    def scale(self, histogram: Histogram, bits: int) -> float:
        """Maximum / (2^(bits-1) - 1)."""
        return histogram.maximum / QuantSpec(bits).qmax
