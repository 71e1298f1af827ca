"""A choice of bits with the reasons for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from speechquant.learn.allocation.budget import Budget
    from speechquant.numerics import ScaleTable

__all__ = ["Allocation", "Choice"]

_NOT_MEASURED = {"learned", "uniform"}


@dataclass(frozen=True, slots=True)
class Choice:
    """What one matrix got: its bits, and by bits its cost and its bytes on disk.

    Bits are those of the code, see `candidates_of`; bytes are of the file whatever the code. The cost is in nats per
    position where a criterion measured it. Where bits were learned it is how far the logits on the way to these bits
    are below the largest one; where nothing was searched there is none.
    """

    module: str
    layer: str
    weights: int
    bits: float
    costs: Mapping[float, float]
    bytes: Mapping[float, int]


@dataclass(frozen=True, slots=True, eq=False)
class Allocation:
    """Bits for every weight.

    Attributes:
        criterion: what measured the costs; `learned`, or `uniform` where all matrices got the same bits.
        rule: which weights were searched.
        budget: what had to be met; None where a penalty took its place.
        table: all weights, the searched ones with their bits, the others with 8.
        choices: the searched ones, in the order of the model.
        repaired: modules that did not get the bits that were learned, because together these exceed the budget or leave
            much of it unused.
    """

    criterion: str
    rule: str
    budget: Budget | None
    table: ScaleTable
    choices: tuple[Choice, ...]
    repaired: tuple[str, ...] = ()

    @property
    def average_bits(self) -> float:
        """Of the searched weights."""
        return sum(c.bits * c.weights for c in self.choices) / sum(c.weights for c in self.choices)

    @property
    def predicted(self) -> float | None:
        """The sum of the costs: the divergence of the output in nats per position, if costs just added up.

        None where no criterion measured them: what learned bits have are distances of logits.
        """
        if self.criterion in _NOT_MEASURED:
            return None
        return sum(c.costs.get(c.bits, 0.0) for c in self.choices)

    @property
    def searched(self) -> tuple[str, ...]:
        """Modules whose bits were searched."""
        return tuple(c.module for c in self.choices)

    def record(self) -> dict[str, Any]:
        """Everything but the scales, for JSON."""
        return {
            "criterion": self.criterion,
            "rule": self.rule,
            "budget": None if self.budget is None else str(self.budget),
            "average_bits": self.average_bits,
            "repaired": list(self.repaired),
            "predicted": self.predicted,
            "matrices": [
                {
                    "module": c.module,
                    "layer": c.layer,
                    "weights": c.weights,
                    "bits": c.bits,
                    "bytes": c.bytes[c.bits],
                    "costs": {f"{bits:g}": cost for bits, cost in c.costs.items()},
                }
                for c in self.choices
            ],
        }
