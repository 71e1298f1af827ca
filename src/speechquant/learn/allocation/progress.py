"""Who is told how far the work is."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Advance", "silent"]


class Advance(Protocol):
    """Hears how much is done and what comes next."""

    def __call__(self, done: int, total: int, what: str = "") -> None:
        """`done` of `total` steps are finished."""
        ...


def silent(done: int, total: int, what: str = "") -> None:
    """Nobody listens."""
    del done, total, what
