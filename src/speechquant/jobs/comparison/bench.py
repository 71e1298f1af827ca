"""The workbench of one row, which also measures what the row takes."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from speechquant.jobs.clock import Clock
from speechquant.jobs.quantization.workbench import Workbench

if TYPE_CHECKING:
    from collections.abc import Iterator

    from speechquant.data import Corpus
    from speechquant.decoding import Recognizer
    from speechquant.evaluation import Evaluation, Evaluator
    from speechquant.jobs.clock import Saved
    from speechquant.jobs.comparison.progress import RowProgress
    from speechquant.jobs.progress import Advance
    from speechquant.learn import RoundedWeights
    from speechquant.numerics import ScaleTable

__all__ = ["RowBench"]

_SECONDS = "seconds.json"


@dataclass(frozen=True, eq=False)
class RowBench(Workbench):
    """A workbench whose passes move the bar of the rows and are timed.

    `costs` has the seconds of every pass and rounding that the row asked for. Where the result was kept already it is
    the time that was spent when it was made, so that methods which share passes can be compared; interruptions do
    not count (see `Clock`).
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
        names = (self.model.results_signature, table.signature, weights and weights.signature)
        with self._pass(corpus, *names, advance=advance) as tell:
            return super().simulate(table, evaluator, corpus, tell, weights)

    def recognize(self, recognizer: Recognizer, evaluator: Evaluator, corpus: Corpus) -> Evaluation:
        """Evaluate any recogniser, timed."""
        with self._pass(corpus, recognizer.signature) as tell:
            return evaluator.evaluate(recognizer, corpus, tell)

    def _round(self, table: ScaleTable, advance: Advance) -> RoundedWeights:
        recipe = self.recipe
        names = (self.model.results_signature, table.signature, self.corpora.calibration.signature)
        with self._timed("round", recipe.rounding_method, recipe.seed, *names) as kept:
            # Operators are kept when they are reported.
            return super()._round(table, _telling(kept, advance))

    @contextmanager
    def _pass(self, corpus: Corpus, *names: object, advance: Advance | None = None) -> Iterator[Advance]:
        """A pass over speech, which tells the bar of the rows unless it has one of its own."""
        bar = self.rows.evaluation(len(corpus)) if self.rows and advance is None else nullcontext(advance)
        # Transcripts are kept when they are reported.
        with self._timed("pass", corpus.signature, *names) as kept, bar as tell:
            yield _telling(kept, tell)

    @contextmanager
    def _timed(self, step: str, *names: object) -> Iterator[Saved]:
        clock, key = Clock(self.work / _SECONDS), "|".join(map(str, (step, *names)))
        with clock.timed(step, key) as kept:
            yield kept
        self.costs[key] = clock.seconds[step]


def _telling(kept: Saved, advance: Advance | None) -> Advance:
    """Progress that is told to the clock, and to a bar if there is one."""

    def tell(done: float, total: int, what: str = "") -> None:
        kept(done)
        if advance is not None:
            advance(done, total, what)

    return tell
