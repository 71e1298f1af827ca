"""Progress on stderr: bars on a terminal, a line now and then elsewhere. Results alone go to stdout."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from speechquant.jobs.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from speechquant.jobs.progress import Advance

__all__ = ["StderrProgress"]

_SECONDS_BETWEEN_LINES = 10.0


class StderrProgress:
    """Implements `jobs.progress.Progress`."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)

    @contextmanager
    def stage(self, title: str) -> Iterator[Advance]:
        """Show one stage until the block ends."""
        with self._bar(title) if self._console.is_terminal else self._lines(title) as advance:
            yield advance

    def note(self, message: str) -> None:
        """Say something once."""
        self._console.print(printable(message), markup=False, soft_wrap=True)

    @contextmanager
    def _bar(self, title: str) -> Iterator[Advance]:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[what]}", markup=False),
        )
        # Redirected prints would go to stderr with the bar, so only a terminal's stdout may be redirected.
        with Bars(*columns, console=self._console, redirect_stdout=sys.stdout.isatty()) as bars:
            task = bars.add_task(title, total=None, what="")

            def advance(done: float, total: int, what: str = "") -> None:
                bars.update(task, completed=done, total=total, what=printable(what))

            yield advance

    @contextmanager
    def _lines(self, title: str) -> Iterator[Advance]:
        start = last = time.monotonic()

        def advance(done: float, total: int, what: str = "") -> None:
            nonlocal last
            if time.monotonic() - last >= _SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                self.note(f"{title}: {int(done)}/{total} {what}".rstrip())

        yield advance
        self.note(f"{title}: done in {time.monotonic() - start:.1f} s")
