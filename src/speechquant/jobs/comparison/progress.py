"""One bar for all rows, in units of work, so that the remaining time it shows means something."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from speechquant.jobs.progress import Advance, Progress

__all__ = ["RowProgress"]


class RowProgress:
    """Implements `jobs.progress.Progress` for what happens inside a row.

    `costs` are the utterances that each row is expected to be recognised on. Stages inside a row only change
    the text beside the bar.
    """

    def __init__(self, listener: Progress, advance: Advance, costs: Sequence[int]) -> None:
        self._listener = listener
        self._advance = advance
        self._costs = list(costs)
        self._row = 0
        self._name = self._what = ""
        self._done = 0.0

    def start(self, row: int, name: str) -> None:
        """Row number `row`, counted from 0, begins."""
        self._row, self._name, self._what, self._done = row, name, "", 0.0
        self._tell()

    @contextmanager
    def evaluation(self, utterances: int) -> Iterator[Advance]:
        """One pass over so many utterances; gives what hears how many of them are done."""
        before = self._done

        def tell(done: float, total: int, what: str = "") -> None:
            del total, what
            self._done = before + done
            self._tell()

        yield tell
        tell(utterances, utterances)

    @contextmanager
    def stage(self, title: str) -> Iterator[Advance]:
        """Something inside the row begins."""

        def advance(done: float, total: int, what: str = "") -> None:
            self._what = f"{title}: {what}" if what else f"{title}, {int(done)} of {total}"
            self._tell()

        self._what = title
        self._tell()
        yield advance

    def note(self, message: str) -> None:
        """Something worth knowing happened."""
        self._listener.note(message)

    def _tell(self) -> None:
        """How much of the work is done, in percent."""
        inside = min(self._done, self._costs[self._row])
        share = (sum(self._costs[: self._row]) + inside) / max(1, sum(self._costs))
        what = f"row {self._row + 1} of {len(self._costs)}, {self._name}"
        self._advance(100 * share, 100, f"{what}: {self._what}" if self._what else what)
