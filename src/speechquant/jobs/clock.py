"""What the steps of a job take, whatever interruptions lay between."""

from __future__ import annotations

import json
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, Protocol

from speechquant.storage import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from speechquant.jobs.progress import Advance, Progress

__all__ = ["Clock", "Saved", "Told"]


class Saved(Protocol):
    """To be called whenever the results of a step so far are kept."""

    def __call__(self, done: float | None = None) -> None:
        """So much is `done`; without it, more than at the last call."""
        ...


class _Kept(NamedTuple):
    """Seconds of a step so far, whether it was finished, and how much of it was done, -1 where nobody said."""

    seconds: float
    finished: bool
    done: float = -1.0


class Clock:
    """Adds up seconds by step.

    A step that keeps its results goes on where it was when the job is started again, and so do its seconds, under a
    key: those of what was kept before an interruption are added, and a step that was finished stays at what it took,
    however soon its results are found again. As with the updates of a training, what is lost is not counted, nor what
    is repeated on the way to where the step was. A step without a key begins anew each time.

    Args:
        path: file of the seconds; None keeps them for this run alone.
    """

    def __init__(self, path: Path | None) -> None:
        self.seconds: dict[str, float] = {}
        self._path = path
        self._kept = {} if path is None else _load(path)

    @contextmanager
    def timed(self, step: str, key: str | None = None) -> Iterator[Saved]:
        """Time a block, which is given a function to call whenever its results so far are kept.

        Where the block says how much is done, as with every report of its progress, all but the first report of as
        much tells nothing new; what led to as much as was kept before an interruption is not counted once more.

        Raises:
            StorageError: the file cannot be written.
        """
        start = perf_counter()
        before = self._kept.get(key or "", _Kept(0.0, finished=False))
        latest = -1.0

        def saved(done: float | None = None) -> None:
            nonlocal start, latest
            if key is None or before.finished or (done is not None and done <= latest):
                return
            latest = latest if done is None else done
            if done is not None and done <= before.done:
                start = perf_counter()
            else:
                self._keep(key, _Kept(before.seconds + perf_counter() - start, finished=False, done=latest))

        yield saved
        whole = perf_counter() - start
        if key is not None:
            # Where the results of a finished step are gone, it was done once more.
            whole = max(whole, before.seconds) if before.finished else before.seconds + whole
            self._keep(key, _Kept(whole, finished=True))
        self.seconds[step] = self.seconds.get(step, 0.0) + whole

    def _keep(self, key: str, found: _Kept) -> None:
        self._kept[key] = found
        if self._path is not None:
            write_whole(self._path, json.dumps(self._kept, indent=1) + "\n")


class Told:
    """A listener that tells of every report of progress, before another one hears of it.

    Args:
        listener: hears of everything.
        tell: is called with how much is done.
    """

    def __init__(self, listener: Progress, tell: Callable[[float], None]) -> None:
        self._listener = listener
        self._tell = tell

    @contextmanager
    def stage(self, title: str) -> Iterator[Advance]:
        """A stage begins; it ends with the block."""
        with self._listener.stage(title) as advance:

            def told(done: float, total: int, what: str = "") -> None:
                self._tell(done)
                advance(done, total, what)

            yield told

    def note(self, message: str) -> None:
        """Something worth knowing happened."""
        self._listener.note(message)


def _load(path: Path) -> dict[str, _Kept]:
    """What earlier runs took; nothing where there was none or the file is damaged."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return {
            key: _Kept(float(seconds), bool(finished), *map(float, done))
            for key, (seconds, finished, *done) in kept.items()
        }
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
