"""The workbench of one row, which also measures what the row takes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from speechquant.jobs.quantization.workbench import Workbench

if TYPE_CHECKING:
    from collections.abc import Callable

    from speechquant.data import Corpus
    from speechquant.decoding import Recognizer
    from speechquant.evaluation import Evaluation, Evaluator
    from speechquant.jobs.comparison.progress import RowProgress
    from speechquant.jobs.progress import Advance
    from speechquant.learn import RoundedWeights
    from speechquant.numerics import ScaleTable

__all__ = ["RowBench"]


@dataclass(frozen=True, eq=False)
class RowBench(Workbench):
    """A workbench whose passes move the bar of the rows and are timed.

    `costs` has the seconds of every pass and rounding that the row asked for. Where the result was in the store
    already it is the time that was spent when it was made, so that methods which share passes can be compared.
    """

    rows: RowProgress | None = None
    costs: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """All costs together."""
        return sum(self.costs.values())

    def simulate(
        self,
        table: ScaleTable,
        evaluator: Evaluator,
        corpus: Corpus,
        advance: Advance | None = None,
        weights: RoundedWeights | None = None,
    ) -> Evaluation:
        """As the workbench does, timed."""
        if advance is not None or self.rows is None:
            found = super().simulate(table, evaluator, corpus, advance, weights)
        else:
            with self.rows.evaluation(len(corpus)) as tell:
                found = super().simulate(table, evaluator, corpus, tell, weights)
        return self._timed(found, corpus)

    def recognize(self, recognizer: Recognizer, evaluator: Evaluator, corpus: Corpus) -> Evaluation:
        """Evaluate any recogniser, timed."""
        if self.rows is None:
            return self._timed(evaluator.evaluate(recognizer, corpus), corpus)
        with self.rows.evaluation(len(corpus)) as tell:
            return self._timed(evaluator.evaluate(recognizer, corpus, tell), corpus)

    def round(self, table: ScaleTable) -> RoundedWeights | None:
        """As the workbench does, timed."""
        start = time.perf_counter()
        found = super().round(table)
        if found is not None:
            spent = time.perf_counter() - start
            # Operators that an earlier run finished take no time now.
            self._spend(f"round|{found.signature}", lambda before: max(before, spent))
        return found

    def _timed(self, found: Evaluation, corpus: Corpus) -> Evaluation:
        self._spend(f"{found.signature}|{corpus.signature}", lambda before: before + found.elapsed)
        return found

    def _spend(self, key: str, total: Callable[[float], float]) -> None:
        before = self.store.get("seconds", key) or 0.0
        self.costs[key] = total(before)
        if self.costs[key] != before:
            self.store.put("seconds", key, self.costs[key])
