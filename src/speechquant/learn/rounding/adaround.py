"""AdaRound: whether each weight goes up or down is learned."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from speechquant.errors import RecipeError
from speechquant.learn.rounding.base import Rounding, register

if TYPE_CHECKING:
    from speechquant.learn.rounding.problem import Problem

__all__ = ["AdaRound"]

# The stretch of the rectified sigmoid (Nagel et al. 2020, eq. 23).
_ZETA, _GAMMA = 1.1, -0.1
_BETA = (20.0, 2.0)


@register("adaround")
@dataclass(frozen=True, slots=True)
class AdaRound(Rounding):
    """Adaptive rounding (Nagel et al. 2020, arXiv 2004.10568, eq. 21 to 25).

    A weight becomes s clamp(floor(W / s) + h(V), qmin, qmax) with h in [0, 1], a rectified sigmoid; a weight
    that lies on the grid stays there. Adam minimises the error of the output plus a regulariser
    sum(1 - |2h - 1|^beta) that drives h to 0 or 1 as beta falls from 20 to 2; it is switched off for the first
    part of the iterations.

    Deviations: the error is quadratic, so its exact gradient over all rows takes the place of random
    minibatches, and fewer, larger steps lead to the same place. The error is measured in units of what one
    step of one weight costs on average, so that one lambda fits activations of any size. An output channel
    that rounding to nearest serves better keeps it (channels do not depend on each other).
    """

    iterations: int = 500
    """Steps of Adam (the paper: 10,000, each on one minibatch)."""
    rate: float = 0.05
    """Step size of Adam."""
    regularization: float = 1.0
    """Lambda, weight of the regulariser (the paper: 0.01, in units of the squared output)."""
    warm_start: float = 0.2
    """Part of the iterations without regulariser."""

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise RecipeError(f"iterations {self.iterations} are out of range; choose 1 or more")
        if self.rate <= 0 or self.regularization <= 0:
            raise RecipeError("rate and regularization must be above 0")
        if not 0 <= self.warm_start < 1:
            raise RecipeError(f"warm_start {self.warm_start} is out of range; choose from 0 to below 1")

    def integers(self, problem: Problem) -> torch.Tensor:
        """Learn, then round h to 0 or 1."""
        ratio = problem.weight / problem.scale
        lower, upper = ratio.floor(), ratio.ceil()
        up = _rectified(self._learn(problem, lower)) >= 0.5  # noqa: PLR2004
        found = torch.where(up, upper, lower).clamp(problem.qmin, problem.qmax)
        nearest = problem.nearest()
        better = problem.error(found) < problem.error(nearest)
        return torch.where(better[..., None], found, nearest)

    def _learn(self, problem: Problem, lower: torch.Tensor) -> torch.Tensor:
        """V after all iterations, (groups, outputs, inputs)."""
        rest = problem.weight / problem.scale - lower
        hidden = -torch.log((_ZETA - _GAMMA) / (rest - _GAMMA) - 1)
        free = (rest > 0) & (lower >= problem.qmin) & (lower < problem.qmax)
        step = problem.scale * free
        least = lower.clamp(problem.qmin, problem.qmax) * problem.scale - problem.weight
        weighted = 2 * step / _curvature(problem)
        adam = torch.optim.Adam([hidden], lr=self.rate, fused=True)
        for number in range(self.iterations):
            sigmoid = torch.sigmoid(hidden)
            stretched = sigmoid * (_ZETA - _GAMMA) + _GAMMA
            up = stretched.clamp(0, 1)
            slope = torch.baddbmm(problem.drift, torch.addcmul(least, up, step), problem.gram)
            slope.mul_(weighted)
            beta = self._beta(number / self.iterations)
            if beta is not None:
                edge = up.mul(2).sub_(1)
                slope.sub_(edge.abs().pow_(beta - 2).mul_(edge), alpha=2 * beta * self.regularization)
            # The derivative of h, by hand as the rest: autograd takes four times as long.
            slope.mul_(sigmoid.sub_(sigmoid.square()).mul_(_ZETA - _GAMMA)).mul_(stretched == up)
            hidden.grad = slope
            adam.step()
        return hidden

    def _beta(self, progress: float) -> float | None:
        """The exponent of the regulariser, on a half cosine from 20 to 2; None during the warm start."""
        if progress < self.warm_start:
            return None
        rest = (progress - self.warm_start) / (1 - self.warm_start)
        first, last = _BETA
        return last + 0.5 * (first - last) * (1 + math.cos(math.pi * rest))


def _rectified(hidden: torch.Tensor) -> torch.Tensor:
    """h(V) (eq. 23)."""
    return (torch.sigmoid(hidden) * (_ZETA - _GAMMA) + _GAMMA).clamp(0, 1)


def _curvature(problem: Problem) -> torch.Tensor:
    """The mean over a group's weights of s^2 x'^2, what one step of one of them costs, (groups, 1, 1)."""
    diagonal = problem.gram.diagonal(dim1=-2, dim2=-1)[:, None]
    return (problem.scale**2 * diagonal).mean((1, 2), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
