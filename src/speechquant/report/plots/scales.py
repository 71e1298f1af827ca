"""Axes: from values to pixels, and where the ticks go."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["LinearScale", "LogScale", "Scale", "SymLogScale", "fitting_scale"]

_LOG_FROM_RATIO = 8
_LOG_SPAN = 1e5


class Scale(Protocol):
    """Maps values to pixels between `start` and `end`; values outside are drawn at the border."""

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        ...

    def ticks(self) -> list[float]:
        """Round values to label."""
        ...


def _clamp(share: float) -> float:
    return min(max(share, 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class LinearScale:
    """Equal steps."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        span = (self.high - self.low) or 1.0
        return self.start + _clamp((value - self.low) / span) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Multiples of 1, 2 or 5 times a power of ten, about five of them."""
        span = self.high - self.low
        if span <= 0:
            return [self.low]
        raw = span / 5
        unit = 10.0 ** math.floor(math.log10(raw))
        step = next(m * unit for m in (1, 2, 5, 10) if m * unit >= raw * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(i * step, 12) for i in range(first, last + 1)]


@dataclass(frozen=True, slots=True)
class LogScale:
    """Equal ratios; zero and below are drawn at the lower border."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        if value <= 0:
            return self.start
        span = math.log(self.high / self.low) or 1.0
        return self.start + _clamp(math.log(value / self.low) / span) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """1, 2, 5, 10, 20 ...; powers of ten alone over more than three decades, fewer over more than six."""
        decades = math.log10(self.high / self.low)
        digits = (1, 2, 5) if decades <= 3 else (1,)  # noqa: PLR2004
        skip = max(1, math.ceil(decades / 6))
        exponents = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        values = (d * 10.0**e for e in exponents if e % skip == 0 for d in digits)
        return [v for v in values if self.low * 0.999 <= v <= self.high * 1.001]


@dataclass(frozen=True, slots=True)
class SymLogScale:
    """Linear within +-`threshold`, logarithmic beyond: shows 0.02 and 75 in one picture, and the sign."""

    low: float
    high: float
    threshold: float
    start: float
    end: float

    def _bend(self, value: float) -> float:
        size = abs(value) / self.threshold
        return math.copysign(2 * size if size <= 1 else 2 + math.log(size), value)

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        low, high = self._bend(self.low), self._bend(self.high)
        return self.start + _clamp((self._bend(value) - low) / ((high - low) or 1.0)) * (
            self.end - self.start
        )

    def ticks(self) -> list[float]:
        """Zero, the threshold, and powers of ten beyond it on the side that is used."""
        largest = max(abs(self.low), abs(self.high))
        first = math.floor(math.log10(self.threshold)) + 1
        powers = [10.0**e for e in range(first, math.floor(math.log10(largest)) + 1)] if largest > 0 else []
        sides = [-v for v in reversed(powers)] + [0.0, self.threshold] + powers
        return [v for v in sides if self.low <= v <= self.high]


def fitting_scale(values: Iterable[float], start: float, end: float) -> Scale:
    """A linear axis around positive values, or a logarithmic one where they lie far apart."""
    known = [v for v in values if math.isfinite(v)]
    positive = [v for v in known if v > 0]
    if not positive:
        return LinearScale(0, 1, start, end)
    low, high = min(positive), max(positive)
    if high / low > _LOG_FROM_RATIO:
        return LogScale(max(low, high / _LOG_SPAN) / 1.3, high * 1.3, start, end)
    margin = 0.12 * ((max(known) - min(known)) or high)
    return LinearScale(max(0.0, min(known) - margin), high + margin, start, end)
