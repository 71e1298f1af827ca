"""Where the logits of bits begin: at the budget, and near what the float model says of its matrices."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import softmax

from speechquant.learn.allocation import solve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from speechquant.learn.mixed.groups import Group

    Logits = NDArray[np.float64]

__all__ = ["USED", "at_budget", "near", "within"]

USED = 0.98
"""Share of a budget that an assignment of bits is to make use of."""

_STEEPEST = 2.0
"""Of logits, per bit: beyond it a candidate is hardly ever drawn."""


def near(groups: Sequence[Group], costs: Mapping[str, Mapping[float, float]], limit: int) -> Logits:
    """Logits (groups, candidates) that fall by 1 with each step away from the best assignment within a limit.

    Args:
        groups: matrices that share their bits.
        costs: of each module by bits, from `sensitivities`.
        limit: of the sum of sizes.
    """
    widths = sorted(groups[0].sizes)
    summed = [
        {bits: sum(costs[module][bits] for module in group.modules) for bits in widths} for group in groups
    ]
    chosen = within(summed, [group.sizes for group in groups], limit)
    places = np.array([widths.index(bits) for bits in chosen])
    distances: Logits = np.abs(np.arange(len(widths)) - places[:, None]).astype(np.float64)
    return -distances


def at_budget(logits: Logits, groups: Sequence[Group], limit: int, temperature: float) -> Logits:
    """Logits (groups, candidates) with so much added per bit that the expected size is the limit.

    Of all distributions with this expectation it is the one closest to that of the given logits (the exponential
    tilt that minimises their divergence); where the budget is out of reach, it goes as far as is sensible.

    Args:
        logits: to begin with.
        groups: matrices that share their bits.
        limit: of the sum of sizes.
        temperature: of the softmax.
    """
    widths = np.array(sorted(groups[0].sizes), np.float64)
    sizes = np.array([[group.sizes[float(width)] for width in widths] for group in groups], np.float64)

    def excess(slope: float) -> float:
        return float((softmax((logits + slope * widths) / temperature, axis=1) * sizes).sum()) - limit

    ends = (-_STEEPEST * temperature, _STEEPEST * temperature)
    if excess(ends[0]) > 0 or excess(ends[1]) < 0:
        slope = min(ends, key=lambda end: abs(excess(end)))
    else:
        slope = float(brentq(excess, *ends))
    tilted: Logits = logits + slope * (widths - widths.mean())
    return tilted


def within(
    costs: Sequence[Mapping[float, float]], sizes: Sequence[Mapping[float, int]], limit: int
) -> list[float]:
    """Bits with the least sum of costs that use the limit, or stay below it where that is impossible.

    The expected size of a search is at its budget, but that of the largest logits may be far below it, and what is
    left would be bits for nothing.
    """
    found = solve(costs, sizes, limit, floor=math.ceil(USED * limit)) or solve(costs, sizes, limit)
    assert found is not None
    return found
