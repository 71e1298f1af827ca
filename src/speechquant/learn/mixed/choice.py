"""Which bits every matrix gets, while that is learned: logits, draws, and the price of bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from speechquant.learn.mixed.annealing import Annealing, gumbel, relaxed
from speechquant.learn.mixed.start import at_budget, near, within

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from speechquant.learn.mixed.groups import Group

__all__ = ["BitChoice", "SearchPlan"]


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """How bits are learned.

    Attributes:
        annealing: of temperature and noise.
        limit: of the sum of sizes; None without a budget.
        penalty: without a budget, what a bit on average adds to the loss.
        curvature: of the augmented Lagrangian.
        gain: how fast the multiplier follows a budget that is missed: by `gain` times the relative excess, if
            that stayed the same for the whole search.
        paths: candidates that are mixed at once.
        threshold: the smallest share of a candidate.
        seed: of the noise.
    """

    annealing: Annealing
    limit: int | None = None
    penalty: float = 0.0
    curvature: float = 1.0
    gain: float = 3.0
    paths: int = 2
    threshold: float = 0.01
    seed: int = 0


class BitChoice(nn.Module):
    """Logits of the candidates of every group, trained together with the weights.

    They begin where the expected size is the budget: all matrices alike, or near the assignment that is best for
    known costs. There it is held by the augmented Lagrangian (Nocedal and Wright 2006, section 17.3): an equation,
    not an inequality, so that a multiplier that went too far comes back. The excess is relative to the limit and
    counts once per group, so that multipliers mean the same for small and large models.

    After the search the bits are settled: those with the largest logits, and where these exceed the budget or leave
    more than 2 % of it unused, what the integer programme finds there at the least distance from the largest
    logits, unless matrices are too few for it. Bits that are further away
    cost the distances of all candidates on the way: those that were hardly ever drawn have kept the logit that
    they began with, which says nothing.

    Args:
        groups: matrices that share their bits.
        plan: how bits are learned.
        costs: what each module loses by bits, to begin near the best assignment; None begins alike for all.
    """

    multiplier: torch.Tensor

    def __init__(
        self,
        groups: Sequence[Group],
        plan: SearchPlan,
        costs: Mapping[str, Mapping[float, float]] | None = None,
    ) -> None:
        super().__init__()
        self.groups, self.plan = tuple(groups), plan
        self.widths = tuple(sorted(groups[0].sizes))
        start = np.zeros((len(groups), len(self.widths)))
        if plan.limit is not None:
            start = start if costs is None else near(groups, costs, plan.limit)
            start = at_budget(start, groups, plan.limit, plan.annealing.temperature(0))
        self.logits = nn.Parameter(torch.from_numpy(start).float())
        self.register_buffer("multiplier", torch.zeros((), dtype=torch.float64))
        self._place = {module: row for row, group in enumerate(groups) for module in group.modules}
        self._step = 0
        self._noise = torch.zeros_like(self.logits)
        self._settled: list[int] | None = None

    def begin(self, step: int) -> None:
        """Prepare the update after `step` finished ones: draw its noise, or settle the bits."""
        self._step = step
        if step >= self.plan.annealing.updates:
            # Logits have no gradients any more, so that every later update settles the same.
            self._settled = self._chosen() if self._settled is None else self._settled
            return
        self._settled = None
        noise = gumbel(tuple(self.logits.shape), self.plan.seed, step)
        self._noise = self.plan.annealing.noise(step) * noise

    def end(self) -> None:
        """Let the multiplier follow the budget, after an update."""
        if self._settled is not None or self.plan.limit is None:
            return
        rate = self.plan.gain / self.plan.annealing.updates
        with torch.no_grad():
            self.multiplier.add_(rate * self._excess())

    def shares(self, module: str) -> tuple[tuple[int, ...], torch.Tensor]:
        """Which candidates of a matrix count in this update, and how much."""
        row = self._place[module]
        if self._settled is not None:
            return (self._settled[row],), self.logits.new_ones(1)
        return relaxed(
            self.logits[row],
            self._noise[row],
            self.plan.annealing.temperature(self._step),
            paths=self.plan.paths,
            threshold=self.plan.threshold,
        )

    def penalty(self) -> torch.Tensor:
        """What the size adds to the loss, ()."""
        if self._settled is not None:
            return self.multiplier.new_zeros(())
        if self.plan.limit is None:
            return self.plan.penalty * self._average(self._probabilities())
        excess = self._excess()
        return len(self.groups) * (self.multiplier * excess + self.plan.curvature / 2 * excess.square())

    def bits(self) -> dict[str, float]:
        """The bits of every matrix, if the search ended now."""
        chosen = self._chosen() if self._settled is None else self._settled
        return {
            module: self.widths[place]
            for group, place in zip(self.groups, chosen, strict=True)
            for module in group.modules
        }

    def expected(self) -> dict[str, float]:
        """The bits of every matrix on average over draws, or the settled ones."""
        if self._settled is not None:
            return {module: float(width) for module, width in self.bits().items()}
        with torch.no_grad():
            each = (self._probabilities() * self.multiplier.new_tensor(self.widths)).sum(dim=1).tolist()
        return {
            module: round(average, 3)
            for group, average in zip(self.groups, each, strict=True)
            for module in group.modules
        }

    def repaired(self) -> tuple[str, ...]:
        """Modules whose bits are not those of the largest logit: those exceed the budget, or leave much of it."""
        largest = self.logits.argmax(dim=1).tolist()
        chosen = self._chosen() if self._settled is None else self._settled
        return tuple(
            module
            for group, one, other in zip(self.groups, largest, chosen, strict=True)
            if one != other
            for module in group.modules
        )

    def preferences(self) -> dict[str, dict[float, float]]:
        """By module and bits, how far the logits on the way there are below the largest one, summed."""
        return {
            module: costs
            for group, costs in zip(self.groups, self._costs(), strict=True)
            for module in group.modules
        }

    def figures(self) -> dict[str, Any]:
        """Where the search stands, for a line of the history: expected bits, temperature, multiplier."""
        if self._settled is not None:
            chosen = self.bits()
            total = sum(chosen[group.modules[0]] * group.weights for group in self.groups)
            return {"average_bits": total / sum(group.weights for group in self.groups)}
        with torch.no_grad():
            average = float(self._average(self._probabilities()))
        return {
            "average_bits": average,
            "bits_temperature": self.plan.annealing.temperature(self._step),
            "multiplier": float(self.multiplier),
        }

    def _probabilities(self) -> torch.Tensor:
        """(groups, widths) in float64: what a draw without noise would be."""
        return torch.softmax(self.logits.double() / self.plan.annealing.temperature(self._step), dim=1)

    def _excess(self) -> torch.Tensor:
        """How far the expected size is above the limit, as a share of it."""
        assert self.plan.limit is not None
        sizes = [[group.sizes[width] for width in self.widths] for group in self.groups]
        expected = (self._probabilities() * self.multiplier.new_tensor(sizes)).sum()
        return expected / self.plan.limit - 1

    def _average(self, probabilities: torch.Tensor) -> torch.Tensor:
        counts = self.multiplier.new_tensor([group.weights for group in self.groups])
        each = (probabilities * self.multiplier.new_tensor(self.widths)).sum(dim=1)
        return (each * counts).sum() / counts.sum()

    def _costs(self) -> list[dict[float, float]]:
        below = (self.logits.max(dim=1, keepdim=True).values - self.logits).detach().double().tolist()
        return [dict(zip(self.widths, _along(row), strict=True)) for row in below]

    def _chosen(self) -> list[int]:
        """Places of the widths, by group."""
        if self.plan.limit is None:
            found = self.logits.argmax(dim=1).tolist()
            return [int(place) for place in found]
        widths = within(self._costs(), [group.sizes for group in self.groups], self.plan.limit)
        return [self.widths.index(width) for width in widths]


def _along(below: Sequence[float]) -> list[float]:
    """Costs from distances to the largest logit: the sum of all that are passed on the way from there."""
    best = min(range(len(below)), key=below.__getitem__)
    return [
        sum(below[place : best + 1]) if place < best else sum(below[best : place + 1])
        for place in range(len(below))
    ]
