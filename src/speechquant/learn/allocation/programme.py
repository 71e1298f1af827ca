"""The integer programme: one width per matrix, the least cost in accuracy, within a budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from speechquant.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["solve"]

_OPTIMAL, _INFEASIBLE = 0, 2


def solve(
    costs: Sequence[Mapping[float, float]],
    sizes: Sequence[Mapping[float, int]],
    limit: int,
    *,
    floor: int = 0,
) -> list[float] | None:
    """The bits of every matrix with the least sum of costs, None if no sizes fit.

    Args:
        costs: by bits, for every matrix.
        sizes: by the same bits, in any unit.
        limit: of the sum of sizes.
        floor: what the sum is to reach, to the tolerance of the solver.

    Raises:
        MissingExtraError: SciPy is not installed.
    """
    least = sum(min(size.values()) for size in sizes)
    if least > limit:
        return None
    bits = [(index, width) for index, cost in enumerate(costs) for width in sorted(cost)]
    cost = np.array([costs[index][width] for index, width in bits])
    size = np.array([sizes[index][width] for index, width in bits], np.int64)
    belongs = np.array([[index == row for index, _ in bits] for row in range(len(costs))], np.float64)
    allowed = limit
    while allowed >= least:
        chosen = _minimum(cost, size, belongs, (floor, allowed))
        if chosen is None:
            return None
        over = int(size[chosen].sum()) - limit
        if over <= 0:
            return [bits[place][1] for place in chosen]
        # The solver counts in floating point and may overstep by its tolerance.
        allowed -= over
    return [min(given, key=lambda width: (given[width], width)) for given in sizes]


def _minimum(
    cost: np.ndarray[tuple[int], np.dtype[np.float64]],
    size: np.ndarray[tuple[int], np.dtype[np.int64]],
    belongs: np.ndarray[tuple[int, int], np.dtype[np.float64]],
    between: tuple[int, int],
) -> list[int] | None:
    """Places of the variables that are 1, one per row of `belongs`; None where no sum is in between."""
    try:
        from scipy.optimize import Bounds, LinearConstraint, milp
    except ImportError as error:
        raise MissingExtraError("allocation needs SciPy: pip install 'speechquant[train]'") from error
    # Both are brought to a size at which the tolerances of the solver mean nothing.
    scale = 1e3 / max(float(cost.max()), 1e-300)
    unit = 1e3 / max(float(size.sum()), 1.0)
    found = milp(
        cost * scale,
        integrality=np.ones(len(cost)),
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(belongs, 1, 1),
            LinearConstraint(size[None] * unit, *(bound * unit for bound in between)),
        ],
        options={"mip_rel_gap": 0.0},
    )
    if found.status == _INFEASIBLE and between[0] > 0:
        return None
    if found.status != _OPTIMAL:
        raise RuntimeError(f"the integer programme was not solved: {found.message}")
    return [int(np.argmax(np.where(row > 0, found.x, -1.0))) for row in belongs]
