"""Evaluate a scale table once, however often a search asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from speechquant.numerics import ScaleTable

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
    """Remembers scores by scale table, so that identical tables cost one pass over the development set."""

    def __init__(self, evaluate: Callable[[ScaleTable], DevScore]) -> None:
        self._evaluate = evaluate
        self._scores: dict[str, DevScore] = {}
        self.requests = 0

    def __call__(self, table: ScaleTable) -> DevScore:
        """The score of `table`, measured only the first time."""
        self.requests += 1
        signature = table.signature
        if signature not in self._scores:
            self._scores[signature] = self._evaluate(table)
        return self._scores[signature]

    @property
    def passes(self) -> int:
        """How many passes over the development set it took so far."""
        return len(self._scores)
