"""What a reader of one kind of data set is, and the list of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from speechquant.data.utterance import Utterance

__all__ = ["Entry", "Reader", "register", "registered_readers"]


@dataclass(frozen=True, slots=True)
class Entry:
    """An utterance and the place that names it, such as "dev.csv, line 7"."""

    utterance: Utterance
    where: str


class Reader(Protocol):
    """One kind of data set. `kind` says in a few words what it accepts, for the message when none does."""

    kind: str

    def can_read(self, path: Path) -> bool:
        """Whether this path is of the reader's kind; looks at no more than a few lines."""
        ...

    def read(self, path: Path) -> Iterator[Entry]:
        """The utterances in order; audio is not opened. Raises DataError where the data set is malformed."""
        ...


ReaderType = TypeVar("ReaderType", bound=type[Reader])

_READERS: list[tuple[int, Reader]] = []


def register(*, order: int) -> Callable[[ReaderType], ReaderType]:
    """Class decorator that makes a reader known; of several that can read a path the lowest `order` does."""

    def add(reader: ReaderType) -> ReaderType:
        _READERS.append((order, reader()))
        _READERS.sort(key=lambda item: item[0])
        return reader

    return add


def registered_readers() -> tuple[Reader, ...]:
    """All readers, the most specific first."""
    return tuple(reader for _, reader in _READERS)
