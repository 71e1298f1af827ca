"""Rounding to nearest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from speechquant.learn.rounding.base import Rounding, register

if TYPE_CHECKING:
    import torch

    from speechquant.learn.rounding.problem import Problem

__all__ = ["Nearest"]


@register("nearest")
@dataclass(frozen=True, slots=True)
class Nearest(Rounding):
    """Each weight by itself to the nearest integer: the baseline, and what every engine would do."""

    needs_speech: ClassVar[bool] = False

    def integers(self, problem: Problem) -> torch.Tensor:
        """clamp(round(W / s))."""
        return problem.nearest()
