"""Grids for entropy coding: the step at which the integers of a weight have so many bits of entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from speechquant.errors import ModelError, RecipeError
from speechquant.numerics.calibrators.base import MIN_SCALE
from speechquant.numerics.entropy import MAX_CODED_BITS
from speechquant.numerics.spec import MIN_BITS, QuantSpec

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from speechquant.numerics.spec import Granularity

    Counts = NDArray[np.float64]

__all__ = ["LEAST_ENTROPY", "MOST_ENTROPY", "entropy_grid"]

LEAST_ENTROPY, MOST_ENTROPY = 0.5, 7.0

_BINS = 1 << 14
_LEVELS = 1 << 10
_HALVINGS = 25
_WORTH = 1.01


def entropy_grid(
    w: ArrayLike, entropy: float, granularity: Granularity = "tensor", axis: int = 0
) -> tuple[QuantSpec, NDArray[np.float32]]:
    """The grid whose integers have so many bits of entropy each, and the fewest bits that hold them.

    At a given number of levels the step of least squared error cuts off the tails and leaves integers that are far
    from equally frequent. If they are entropy coded anyway, levels cost nothing, their information does: then a
    uniform step without cut tails has the smaller error for the same bytes, and comes within 0.255 bits of what
    any code can do (Gish and Pierce 1968, "Asymptotically efficient quantizing"). For the same reason all output
    channels share one step: a large channel takes more bits than a small one by itself.

    Args:
        w: Weight; `axis` is the output channel.
        entropy: Of first order, bits per weight, over the whole tensor.
        granularity: `tensor`: one step. `channel`: steps proportional to the standard deviation of the channel, at
            which channels have about the same entropy.
        axis: Output channel.

    Returns:
        A narrow spec, and its scales: float32 of shape () or (channels,). Its bits are the fewest, from 2 to 8, with
        which what is cut off adds no more than 1 % to the squared error.

    Raises:
        ModelError: NaN or infinite weights.
        RecipeError: an entropy that is out of range, or scales per group.
    """
    if not LEAST_ENTROPY <= entropy <= MOST_ENTROPY:
        raise RecipeError(
            f"an entropy of {entropy:g} bits is out of range; choose {LEAST_ENTROPY:g} to {MOST_ENTROPY:g}"
        )
    if granularity == "group":
        raise RecipeError("grids for entropy coding have a scale per tensor or per channel, not per group")
    values = np.asarray(w, np.float32)
    rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    if not np.isfinite(rows).all():
        raise ModelError("the weight holds NaN or infinite values; the checkpoint is damaged")
    units = rows.std(axis=1, keepdims=True) if granularity == "channel" else np.float32(rows.std())
    units = np.maximum(units, np.float32(MIN_SCALE))
    counts, centres = _counted(rows / units)
    step = _step(counts, centres, entropy)
    scale = np.maximum(units * np.float32(step), np.float32(MIN_SCALE)).astype(np.float32)
    spec = QuantSpec(_bits(counts, centres, step), granularity, narrow=True)
    return spec, np.asarray(scale).reshape(() if granularity == "tensor" else (len(rows),))


def _counted(x: NDArray[np.float32]) -> tuple[Counts, Counts]:
    """A histogram of all values, and the middle of its bins."""
    most = max(float(np.abs(x).max(initial=0.0)), MIN_SCALE)
    counts, edges = np.histogram(x, bins=_BINS, range=(-most, most))
    return counts.astype(np.float64), (edges[1:] + edges[:-1]) / 2


def _step(counts: Counts, centres: Counts, entropy: float) -> float:
    """The step, by bisection of its logarithm: entropy falls as it grows."""
    low, high = np.log(centres[-1] / _LEVELS), np.log(4 * centres[-1])
    if _entropy(counts, centres, np.exp(low)) <= entropy:
        # There are few different values, and no step makes more of them.
        return float(centres[-1] / (2 ** (MAX_CODED_BITS - 1) - 1))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _entropy(counts, centres, np.exp(middle)) > entropy:
            low = middle
        else:
            high = middle
    return float(np.exp(high))


def _entropy(counts: Counts, centres: Counts, step: float) -> float:
    """Bits per value of the integers."""
    levels = np.rint(centres / step).astype(np.int64)
    mass = np.bincount(levels - levels[0], weights=counts)
    mass = mass[mass > 0] / counts.sum()
    return float(-(mass * np.log2(mass)).sum())


def _bits(counts: Counts, centres: Counts, step: float) -> int:
    levels = np.rint(centres / step)

    def error(limit: float) -> float:
        kept = np.clip(levels, -limit, limit)
        return float((counts * (centres - kept * step) ** 2).sum())

    whole = error(np.inf)
    for bits in range(MIN_BITS, MAX_CODED_BITS):
        if error(2 ** (bits - 1) - 1) <= _WORTH * whole:
            return bits
    return MAX_CODED_BITS
