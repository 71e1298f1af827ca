"""The workbench of one row, which also measures what the row takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from speechquant.jobs.clock import Clock
from speechquant.jobs.quantization.workbench import Workbench

if TYPE_CHECKING:
    from speechquant.data import Corpus
    from speechquant.decoding import Recognizer
    from speechquant.evaluation import Evaluation, Evaluator
    from speechquant.jobs.comparison.progress import RowProgress
    from speechquant.jobs.progress import Advance
    from speechquant.learn import RoundedWeights
    from speechquant.numerics import ScaleTable

__all__ = ["RowBench"]

_SECONDS, _ROUND = "seconds.json", "round"


@dataclass(frozen=True, eq=False)
class RowBench(Workbench):
    """A workbench whose passes move the bar of the rows and are timed.

    `costs` has the seconds of every pass and rounding that the row asked for. Where the result was in the store
    already it is the time that was spent when it was made, so that methods which share passes can be compared;
    interruptions do not count.
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

    def _round(self, table: ScaleTable, advance: Advance) -> RoundedWeights:
        clock, recipe = Clock(self.work / _SECONDS), self.recipe
        settings = (recipe.rounding_method, recipe.seed, self.corpora.calibration.signature)
        key = "|".join(map(str, (_ROUND, self.model.results_signature, table.signature, *settings)))
        with clock.timed(_ROUND, key) as kept:

            def tell(done: float, total: int, what: str = "") -> None:
                # Operators are kept when they are reported.
                kept()
                advance(done, total, what)

            found = super()._round(table, tell)
        self.costs[key] = clock.seconds[_ROUND]
        return found

    def _timed(self, found: Evaluation, corpus: Corpus) -> Evaluation:
        key = f"{found.signature}|{corpus.signature}"
        before = self.store.get("seconds", key) or 0.0
        self.costs[key] = before + found.elapsed
        if found.elapsed:
            self.store.put("seconds", key, self.costs[key])
        return found
