"""MSE calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from speechquant.errors import RecipeError
from speechquant.numerics.calibrators.base import Calibrator, register
from speechquant.numerics.calibrators.mse_grid import best_scales

if TYPE_CHECKING:
    from collections.abc import Sequence

    from speechquant.numerics.histogram import Histogram

__all__ = ["Mse"]


@register("mse")
@dataclass(frozen=True, slots=True)
class Mse(Calibrator):
    """The scale with the least squared error over the whole histogram: StableQuant with cut-off 0."""

    start_bin: int = 1
    """First candidate bin, counted from 1. NVIDIA's `start_bin=128` counts from 0: it is 129 here."""

    def __post_init__(self) -> None:
        if self.start_bin < 1:
            raise RecipeError(f"start_bin {self.start_bin} is out of range; the first bin is 1")

    def scale(self, histogram: Histogram, bits: int) -> float:
        """One site."""
        return self.scales([histogram], bits)[0]

    def scales(self, histograms: Sequence[Histogram], bits: int) -> list[float]:
        """All sites by one shared error matrix."""
        return best_scales(histograms, bits, cutoff=0.0, start_bin=self.start_bin, fold=False)
