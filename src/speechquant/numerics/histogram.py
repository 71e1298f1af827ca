"""One-pass streaming histogram of |x|: what calibration keeps of an activation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

import numpy as np

from speechquant.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

__all__ = ["DEFAULT_BINS", "MIN_EXPONENT", "Histogram", "range_exponent"]

DEFAULT_BINS = 4096
"""Bins of a histogram: after the range has doubled past the largest value at least 2048 of them are in use,
the number NVIDIA's calibrators work with, and one bin is at most 1/16 of an 8-bit step of the full range."""

MIN_EXPONENT = -100
"""The smallest range is 2^-100, also for tensors that are zero throughout: bins / 2^-100 does not overflow
float32, so that counting may be done in float32, and such a tensor gets the smallest scale anyway."""

_CHUNK = 1 << 16
_LARGEST = float(np.finfo(np.float32).max)


def range_exponent(maximum: float) -> int:
    """The smallest k >= `MIN_EXPONENT` with 2^k >= `maximum`."""
    if maximum == 0:
        return MIN_EXPONENT
    mantissa, exponent = math.frexp(maximum)
    powers_of_two_mantissa = 0.5
    return max(MIN_EXPONENT, exponent - 1 if mantissa == powers_of_two_mantissa else exponent)


class Histogram:
    """Counts of |x| in equal bins over (0, 2^k], 2^k being the smallest power of two >= the largest |x| seen.

    Bin j holds j * width < |x| <= (j + 1) * width; zeros are counted in bin 0. Bins closed above nest exactly
    when the range doubles (two neighbours become one) and the top edge needs no exception, so the result is
    the same whatever the order and the batches in which the values came. `bins` is a power of two, which
    makes the bin of a float exact.

    Methods that add change the histogram in place and return it.
    """

    __slots__ = ("_counts", "_exponent", "_maximum")

    def __init__(self, counts: NDArray[np.int64], exponent: int, maximum: float) -> None:
        self._counts = counts
        self._exponent = exponent
        self._maximum = maximum

    @classmethod
    def empty(cls, bins: int = DEFAULT_BINS) -> Self:
        """A histogram that has seen nothing; `bins` must be a power of two (ValueError)."""
        if bins < 2 or bins & (bins - 1):  # noqa: PLR2004
            raise ValueError(f"a histogram needs a power of two of bins, 2 or more, not {bins}")
        return cls(np.zeros(bins, np.int64), MIN_EXPONENT, 0.0)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Read-only view, shape (bins,)."""
        view = self._counts.view()
        view.flags.writeable = False
        return view

    @property
    def bins(self) -> int:
        """Number of bins."""
        return len(self._counts)

    @property
    def exponent(self) -> int:
        """The k of the range (0, 2^k]."""
        return self._exponent

    @property
    def maximum(self) -> float:
        """The exact largest |x| seen, 0 before any value."""
        return self._maximum

    @property
    def width(self) -> float:
        """Width of one bin, 2^k / bins, in units of x."""
        return math.ldexp(1.0, self._exponent) / self.bins

    @property
    def edges(self) -> NDArray[np.float64]:
        """Bin edges, shape (bins + 1,)."""
        return np.arange(self.bins + 1, dtype=np.float64) * self.width

    @property
    def centers(self) -> NDArray[np.float64]:
        """Bin centres, shape (bins,)."""
        return (np.arange(self.bins, dtype=np.float64) + 0.5) * self.width

    @property
    def total(self) -> int:
        """Number of values seen."""
        return int(self._counts.sum())

    def add(self, values: ArrayLike, where: str = "tensor") -> Self:
        """Count |values| (any shape); `where` names the tensor in the ModelError for NaN or infinity."""
        flat = np.asarray(values).reshape(-1)
        if flat.dtype.kind != "f":
            flat = flat.astype(np.float64)
        if not flat.size:
            return self
        maximum = max(float(flat.max()), -float(flat.min()))
        if not maximum <= _LARGEST:
            raise ModelError(f"{where}: NaN or infinite values; check the model's weights and the input")
        self._grow(maximum)
        factor = 1.0 / self.width
        found = np.zeros(self.bins + 1, np.int64)
        for start in range(0, flat.size, _CHUNK):
            scaled = np.abs(flat[start : start + _CHUNK].astype(np.float64))
            np.multiply(scaled, factor, out=scaled)
            np.ceil(scaled, out=scaled)
            found += np.bincount(scaled.astype(np.intp), minlength=self.bins + 1)
        self._counts += found[1:]
        self._counts[0] += found[0]
        return self

    def add_counts(self, counts: NDArray[np.integer], exponent: int, maximum: float) -> Self:
        """Add what was counted elsewhere, for instance on a GPU.

        Args:
            counts: Shape (bins,); bin j = max(ceil(|x| * bins / 2^exponent) - 1, 0), exact in float32.
            exponent: k of the range (0, 2^k] of `counts`, as `range_exponent` gives it; a range that is
                larger than the values call for cannot be refined and is refused.
            maximum: The exact largest |x| among the counted values.

        Raises:
            ValueError: The counts do not fit this histogram or contradict `exponent` and `maximum`.
            ModelError: `maximum` is NaN or infinite.
        """
        if counts.shape != self._counts.shape or counts.dtype.kind not in "iu" or counts.min() < 0:
            raise ValueError(f"counts must be {self.bins} integers >= 0, not {counts.dtype}{counts.shape}")
        if not abs(maximum) <= _LARGEST:
            raise ModelError("NaN or infinite values; check the model's weights and the input")
        if maximum > math.ldexp(1.0, exponent):
            raise ValueError(f"the maximum {maximum} lies outside the range 2^{exponent}")
        if exponent > range_exponent(max(maximum, self._maximum)):
            raise ValueError(f"the range 2^{exponent} is larger than the maximum {maximum} needs")
        self._grow(maximum)
        self._counts += _coarsened(counts.astype(np.int64), self._exponent - exponent)
        return self

    def merge(self, other: Histogram) -> Self:
        """Add the counts of `other`, which has the same number of bins (ValueError) and stays as it is."""
        return self.add_counts(other.counts, other.exponent, other.maximum)

    def copy(self) -> Histogram:
        """An independent histogram with the same content."""
        return Histogram(self._counts.copy(), self._exponent, self._maximum)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """The content as plain arrays (`counts`, `exponent`, `maximum`), for an npz file."""
        return {
            "counts": self._counts.copy(),
            "exponent": np.asarray(self._exponent, np.int64),
            "maximum": np.asarray(self._maximum, np.float64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        """The histogram whose `to_arrays` this is; ValueError where the arrays contradict each other."""
        counts = np.asarray(arrays["counts"])
        histogram = cls.empty(counts.size)
        return histogram.add_counts(counts, int(arrays["exponent"]), float(arrays["maximum"]))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        same_range = self._exponent == other._exponent and self._maximum == other._maximum
        return same_range and np.array_equal(self._counts, other._counts)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        size = f"bins={self.bins}, range=2^{self.exponent}"
        return f"Histogram({size}, maximum={self.maximum}, total={self.total})"

    def _grow(self, maximum: float) -> None:
        """Make room for `maximum`."""
        exponent = max(self._exponent, range_exponent(maximum))
        self._counts = _coarsened(self._counts, exponent - self._exponent)
        self._exponent = exponent
        self._maximum = max(self._maximum, float(maximum))


def _coarsened(counts: NDArray[np.int64], doublings: int) -> NDArray[np.int64]:
    """The counts, shape (bins,), over a range that is 2^doublings times as large."""
    if doublings == 0:
        return counts
    merged = np.zeros_like(counts)
    group = 1 << min(doublings, len(counts).bit_length() - 1)
    merged[: len(counts) // group] = counts.reshape(-1, group).sum(axis=1)
    return merged
