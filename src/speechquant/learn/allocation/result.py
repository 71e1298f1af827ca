"""A choice of bits with the reasons for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from speechquant.learn.allocation.budget import Budget
    from speechquant.numerics import ScaleTable

__all__ = ["Allocation", "Choice"]


@dataclass(frozen=True, slots=True)
class Choice:
    """What one matrix got: its bits, and by bits its cost in nats per position and its bytes on disk."""

    module: str
    layer: str
    weights: int
    bits: int
    costs: Mapping[int, float]
    bytes: Mapping[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Allocation:
    """Bits for every weight.

    Attributes:
        criterion: what measured the costs.
        rule: which weights were searched.
        budget: what had to be met.
        table: all weights, the searched ones with their bits, the others with 8.
        choices: the searched ones, in the order of the model.
    """

    criterion: str
    rule: str
    budget: Budget
    table: ScaleTable
    choices: tuple[Choice, ...]

    @property
    def average_bits(self) -> float:
        """Of the searched weights."""
        return sum(c.bits * c.weights for c in self.choices) / sum(c.weights for c in self.choices)

    @property
    def predicted(self) -> float:
        """The sum of the costs: the divergence of the output in nats per position, if costs just added up."""
        return sum(c.costs[c.bits] for c in self.choices)

    @property
    def searched(self) -> tuple[str, ...]:
        """Modules whose bits were searched."""
        return tuple(c.module for c in self.choices)

    def record(self) -> dict[str, Any]:
        """Everything but the scales, for JSON."""
        return {
            "criterion": self.criterion,
            "rule": self.rule,
            "budget": str(self.budget),
            "average_bits": self.average_bits,
            "predicted": self.predicted,
            "matrices": [
                {
                    "module": c.module,
                    "layer": c.layer,
                    "weights": c.weights,
                    "bits": c.bits,
                    "bytes": c.bytes[c.bits],
                    "costs": {str(bits): cost for bits, cost in c.costs.items()},
                }
                for c in self.choices
            ],
        }
