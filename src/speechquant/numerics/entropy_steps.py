"""Grids for entropy coding: the step at which the integers of a weight have so many bits of entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from speechquant.errors import ModelError, RecipeError
from speechquant.numerics.calibrators.base import MIN_SCALE
from speechquant.numerics.entropy import MAX_CODED_BITS
from speechquant.numerics.spec import MIN_BITS, QuantSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from speechquant.numerics.spec import Granularity

    Numbers = NDArray[np.float64]
    Grid = tuple[QuantSpec, NDArray[np.float32]]

__all__ = ["LEAST_ENTROPY", "MOST_ENTROPY", "entropy_grids"]

LEAST_ENTROPY, MOST_ENTROPY = 0.5, 7.0

_BODY, _BINS, _TAIL_BINS = 16.0, 1 << 13, 1 << 10
_FINEST, _PER_OCTAVE = 1 / 40, 64
_WORTH = 1.01


def entropy_grids(
    w: ArrayLike, entropies: Sequence[float], granularity: Granularity = "tensor", axis: int = 0
) -> dict[float, Grid]:
    """The grids of least squared error whose integers have at most so many bits of entropy each.

    At a given number of levels the step of least squared error cuts off the tails and leaves integers that are far
    from equally frequent. If they are entropy coded anyway, levels cost nothing, their information does: then a
    uniform step that keeps the tails has the smaller error for the same bytes; at high rates it comes within 0.255 bits
    of the rate-distortion bound of independent weights (Gish and Pierce 1968, "Asymptotically efficient quantizing").
    For the same reason output channels may share one step: a large channel takes more bits than a small one by itself.

    Steps are tried 64 to the octave. Integers are held in 8 bits at most, and what these cut off counts as error: a
    weight with a peak of hundreds of its own spread gets the step that is best for both.

    Args:
        w: Weight; `axis` is the output channel.
        entropies: Of first order, bits per weight, over the whole tensor.
        granularity: `tensor`: one step. `channel`: steps proportional to the root mean square of the channel, at
            which channels of one shape have the same entropy.
        axis: Output channel.

    Returns:
        By entropy a narrow spec, and its scales: float32 of shape () or (channels,). Its bits are the fewest, from 2 to
        8, with which what is cut off adds no more than 1 % to the squared error of 8.

    Raises:
        ModelError: NaN or infinite weights.
        RecipeError: an entropy that is out of range, or scales per group.
    """
    wrong = [value for value in entropies if not LEAST_ENTROPY <= value <= MOST_ENTROPY]
    if wrong:
        raise RecipeError(
            f"an entropy of {wrong[0]:g} bits is out of range; choose {LEAST_ENTROPY:g} to {MOST_ENTROPY:g}"
        )
    if granularity == "group":
        raise RecipeError("grids for entropy coding have a scale per tensor or per channel, not per group")
    values = np.asarray(w, np.float32)
    rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    if not np.isfinite(rows).all():
        raise ModelError("the weight holds NaN or infinite values; the checkpoint is damaged")
    power = np.square(rows, dtype=np.float64).mean(axis=1, keepdims=True)
    units = np.maximum(np.sqrt(power if granularity == "channel" else power.mean()), MIN_SCALE)
    curve = _Curve(rows / units)
    found = {}
    for entropy in entropies:
        step = curve.step(entropy)
        scale = np.maximum(units * step, MIN_SCALE).astype(np.float32)
        spec = QuantSpec(curve.bits(step), granularity, narrow=True)
        found[entropy] = spec, np.asarray(scale).reshape(() if granularity == "tensor" else (len(rows),))
    return found


class _Curve:
    """Entropy and squared error by step, of values whose mean square is 1."""

    def __init__(self, x: Numbers) -> None:
        self._counts, self._values = _points(x)
        most = max(2.0, 2 * float(np.abs(self._values).max(initial=0.0)))
        self._steps = np.geomspace(_FINEST, most, int(_PER_OCTAVE * np.log2(most / _FINEST)))
        found = [self._measured(step) for step in self._steps]
        self._entropies, self._errors = np.array(found).T

    def step(self, entropy: float) -> float:
        """The step of least error among those that do not exceed the entropy; the largest one has none at all."""
        fits = np.flatnonzero(self._entropies <= entropy)
        return float(self._steps[fits[np.argmin(self._errors[fits])]])

    def bits(self, step: float) -> int:
        """The fewest bits that hold the integers."""
        least = self._error(step, MAX_CODED_BITS)
        fits = (bits for bits in range(MIN_BITS, MAX_CODED_BITS) if self._error(step, bits) <= _WORTH * least)
        return next(fits, MAX_CODED_BITS)

    def _measured(self, step: float) -> tuple[float, float]:
        levels = self._levels(step, MAX_CODED_BITS)
        mass = np.bincount((levels - levels.min()).astype(np.int64), weights=self._counts)
        mass = mass[mass > 0] / mass.sum()
        return float(-(mass * np.log2(mass)).sum()), self._wrong(levels, step)

    def _error(self, step: float, bits: int) -> float:
        return self._wrong(self._levels(step, bits), step)

    def _levels(self, step: float, bits: int) -> Numbers:
        limit = 2 ** (bits - 1) - 1
        return np.rint(self._values / step).clip(-limit, limit)

    def _wrong(self, levels: Numbers, step: float) -> float:
        return float((self._counts * np.square(self._values - levels * step)).sum())


def _points(x: Numbers) -> tuple[Numbers, Numbers]:
    """How many values there are in narrow bins, and their means there; bins of the tail are wider."""
    flat = x.ravel()
    inside = np.abs(flat) <= _BODY
    parts = [(flat[inside], _BINS, (-_BODY, _BODY))]
    if not inside.all():
        tail = flat[~inside]
        parts.append((tail, _TAIL_BINS, (float(tail.min()), float(tail.max()))))
    counts, sums = [], []
    for part, bins, ends in parts:
        counts.append(np.histogram(part, bins, ends)[0].astype(np.float64))
        sums.append(np.histogram(part, bins, ends, weights=part)[0])
    count, total = np.concatenate(counts), np.concatenate(sums)
    there = count > 0
    return count[there], total[there] / count[there]
