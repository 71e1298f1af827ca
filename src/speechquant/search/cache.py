"""Evaluate a scale table once, however often a search asks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol, Self

from speechquant.search.race import ALPHA, Heat, Jury, race

if TYPE_CHECKING:
    from collections.abc import Callable

    from speechquant.numerics import ScaleTable
    from speechquant.search.race import Counts

__all__ = ["CountingEvaluator", "DevScore"]


class DevScore(Protocol):
    """What a search needs to know of an evaluation on the development set."""

    @property
    def words(self) -> int:
        """Reference words."""
        ...

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions."""
        ...

    @property
    def wer(self) -> float:
        """100 * errors / words."""
        ...


class CountingEvaluator:
    """Remembers scores by scale table, so that identical tables cost one pass over the development set.

    With a `Jury` candidates that have clearly lost are stopped; with any other function all hear everything.
    """

    def __init__(self, evaluate: Callable[[ScaleTable], DevScore]) -> None:
        self._evaluate = evaluate
        self._jury = evaluate if isinstance(evaluate, Jury) else None
        self._scores: dict[str, DevScore] = {}
        self._errors: dict[str, Counts] = {}
        self._shares: dict[str, float] = {}
        self.requests = 0

    @classmethod
    def of(cls, evaluate: Callable[[ScaleTable], DevScore]) -> Self:
        """`evaluate` itself if it counts already."""
        return evaluate if isinstance(evaluate, cls) else cls(evaluate)

    def __call__(self, table: ScaleTable) -> DevScore:
        """The score of `table` on the whole set, measured only the first time."""
        self.requests += 1
        return self._score(table)

    def compete(self, table: ScaleTable, against: ScaleTable, *, margin: float, alpha: float = ALPHA) -> Heat:
        """How `table` does in a race in which it loses with more than `margin` errors above those of `against`."""
        self.requests += 1
        if self._jury is None or self.knows(table):
            return Heat(float(self._score(table).errors), 1.0)
        jury = self._jury
        heat = race(
            lambda part: jury.errors(table, part),
            self._every(jury, against),
            jury.words,
            margin=margin,
            alpha=alpha,
            seed=jury.seed,
        )
        before = self._shares.get(table.signature, 0.0)
        self._shares[table.signature] = max(before, heat.share)
        return heat if heat.lost else Heat(float(self._score(table).errors), 1.0)

    def knows(self, table: ScaleTable) -> bool:
        """Whether `table` was scored on the whole set."""
        return table.signature in self._scores

    @property
    def stops(self) -> bool:
        """Whether candidates may be stopped, so that it pays to try a good one first."""
        return self._jury is not None

    @property
    def passes(self) -> int:
        """How many passes over the development set it took so far; stopped ones count by their share."""
        return math.ceil(sum(self._shares.values()) - 1e-9)

    def _score(self, table: ScaleTable) -> DevScore:
        signature = table.signature
        if signature not in self._scores:
            self._scores[signature] = self._evaluate(table)
            self._shares[signature] = 1.0
        return self._scores[signature]

    def _every(self, jury: Jury, table: ScaleTable) -> Counts:
        self._score(table)
        if table.signature not in self._errors:
            self._errors[table.signature] = jury.every(table)
        return self._errors[table.signature]
