"""Let a background thread prepare what comes next while the caller works on the present."""

from __future__ import annotations

from contextlib import closing
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["read_ahead"]

_LAST_WORDS_SECONDS = 1.0

T = TypeVar("T")


def read_ahead(items: Generator[T, None, None], depth: int) -> Generator[T, None, None]:
    """Yield what a generator yields, which runs in a thread of its own and is at most `depth` items ahead.

    Decoders and resamplers release Python's lock, so they work while an engine computes. Closing the result
    stops the thread and closes the generator there; a generator that waits for something endless, such as a
    network, is left behind in a daemon thread.

    Raises:
        ValueError: `depth` is not positive.
        Exception: whatever the generator raises, after the items before it.
    """
    if depth < 1:
        raise ValueError(f"reading ahead needs room for 1 item at least, got {depth}")
    reader = _Reader(items, depth)
    thread = Thread(target=reader.run, name="speechquant-audio", daemon=True)
    thread.start()
    try:
        while (message := reader.queue.get()) is not None:
            reader.free.release()
            yield message[0]
        if reader.error is not None:
            raise reader.error
    finally:
        reader.stop.set()
        reader.free.release()
        thread.join(_LAST_WORDS_SECONDS)


class _Reader(Generic[T]):
    """What both threads see: items in tuples of one, None after the last, and room for more of them."""

    def __init__(self, items: Generator[T, None, None], depth: int) -> None:
        self.queue: SimpleQueue[tuple[T] | None] = SimpleQueue()
        self.free = Semaphore(depth)
        self.stop = Event()
        self.error: BaseException | None = None
        self._items = items

    def run(self) -> None:
        try:
            with closing(self._items) as items:
                for item in items:
                    self.free.acquire()
                    if self.stop.is_set():
                        return
                    self.queue.put((item,))
        except BaseException as error:  # noqa: BLE001 - the caller's thread raises it
            self.error = error
        finally:
            self.queue.put(None)
