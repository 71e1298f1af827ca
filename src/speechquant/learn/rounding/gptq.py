"""GPTQ: one column after the other, the rest of the row repairs the damage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from speechquant.errors import RecipeError
from speechquant.learn.rounding.base import Rounding, register

if TYPE_CHECKING:
    from speechquant.learn.rounding.problem import Problem

__all__ = ["GPTQ"]

_BLOCK = 128
_STRONGEST_DAMPING = 1.0


@register("gptq")
@dataclass(frozen=True, slots=True)
class GPTQ(Rounding):
    """Second-order rounding with error compensation (Frantar et al. 2022, arXiv 2210.17323, Algorithm 1).

    Inputs are taken in the order of their index or, with `order`, of falling diag(H) (the authors'
    `act_order`). A weight may end more than one step away from its float value, because it also carries what
    was lost before it. Inputs that are 0 on all speech are rounded to nearest. The Hessian is that of the
    inputs in the model quantized so far; the targets are what the float weights make of these inputs.

    Deviations: the option `asymmetric`; the Cholesky factors are computed in float64, and damping grows
    tenfold where they fail.
    """

    damping: float = 0.01
    """Added to the diagonal of the Hessian, as a part of its mean."""
    order: bool = True
    """Take the inputs with the largest diag(H) first."""
    asymmetric: bool = False
    """Aim at the outputs of the float model, as AdaRound does: round the weights that least squares finds."""

    def __post_init__(self) -> None:
        if not 0 < self.damping <= _STRONGEST_DAMPING:
            raise RecipeError(f"damping {self.damping} is out of range; choose above 0 and up to 1")

    def integers(self, problem: Problem) -> torch.Tensor:
        """Group by group; the rows of a group share the Hessian."""
        groups = range(problem.weight.shape[0])
        return torch.stack([self._group(problem, group) for group in groups])

    def _group(self, problem: Problem, group: int) -> torch.Tensor:
        hessian = 2 * problem.gram[group].double()
        diagonal = hessian.diagonal()
        dead = diagonal <= 0
        diagonal[dead] = diagonal[~dead].mean() if bool((~dead).any()) else 1.0
        order = torch.arange(len(diagonal), device=diagonal.device)
        if self.order:
            order = torch.argsort(diagonal.masked_fill(dead, 0), descending=True, stable=True)
        factor = self._inverse_factor(hessian[order][:, order])
        weight, scale = problem.weight[group][:, order], problem.scale[group][:, order]
        if self.asymmetric:
            # The inverse of the Hessian 2 X X^T is factor^T factor; the gradient at D = 0 is twice the drift.
            weight = weight - (2 * problem.drift[group][:, order].double() @ factor.T @ factor).float()
        found = _compensate(weight, scale, factor.float(), (problem.qmin, problem.qmax))
        return found[:, torch.argsort(order)]

    def _inverse_factor(self, hessian: torch.Tensor) -> torch.Tensor:
        """Upper Cholesky factor of the inverse of the damped Hessian, (inputs, inputs)."""
        mean = hessian.diagonal().mean()
        damping = self.damping
        while True:
            damped = hessian.clone()
            damped.diagonal().add_(damping * mean)
            lower, failed = torch.linalg.cholesky_ex(damped)
            if not failed:
                upper: torch.Tensor
                upper, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
                if not failed:
                    return upper
            damping *= 10


def _compensate(
    weight: torch.Tensor, scale: torch.Tensor, factor: torch.Tensor, limits: tuple[int, int]
) -> torch.Tensor:
    """Quantize column by column; the error of a column moves into those behind it, block by block.

    Args:
        weight: (outputs, inputs).
        scale: the same shape.
        factor: upper Cholesky factor of the inverse Hessian, (inputs, inputs).
        limits: smallest and largest integer.

    Returns:
        Whole numbers as float32, (outputs, inputs).
    """
    rest, found = weight.clone(), torch.empty_like(weight)
    inputs = weight.shape[1]
    for first in range(0, inputs, _BLOCK):
        end = min(first + _BLOCK, inputs)
        errors = torch.empty_like(rest[:, first:end])
        for column in range(first, end):
            step = scale[:, column]
            found[:, column] = (rest[:, column] / step).round_().clamp_(*limits)
            error = (rest[:, column] - found[:, column] * step) / factor[column, column]
            rest[:, column:end] -= error[:, None] * factor[column, column:end]
            errors[:, column - first] = error
        rest[:, end:] -= errors @ factor[first:end, end:]
    return found
