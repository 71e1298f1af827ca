"""How the learning rate goes up and down again."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Schedule"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Linear warm-up, then half a cosine to zero (Loshchilov and Hutter 2017, eq. 5, without restarts).

    `steps` updates in all, the first `warmup` of them below the peak.
    """

    steps: int
    warmup: int = 0

    def factor(self, step: int) -> float:
        """The share of the peak learning rate in the update after `step` finished ones."""
        if step < self.warmup:
            return (step + 1) / (self.warmup + 1)
        progress = (step - self.warmup) / max(self.steps - self.warmup, 1)
        return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
