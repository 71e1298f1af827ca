"""How a long job says where it is, whoever listens."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

__all__ = ["Advance", "Progress", "Silent"]


class Advance(Protocol):
    """Reports one stage: how far it is, and what is being done now."""

    def __call__(self, done: float, total: int, what: str = "") -> None:
        """`done` of `total` steps are finished, part of one included; `what` names the present step."""
        ...


class Progress(Protocol):
    """Listens to a job."""

    def stage(self, title: str) -> AbstractContextManager[Advance]:
        """A stage begins; it ends with the block."""
        ...

    def note(self, message: str) -> None:
        """Something worth knowing happened."""
        ...


class Silent:
    """Listens to nothing."""

    def stage(self, title: str) -> AbstractContextManager[Advance]:
        """Ignore the stage."""
        del title
        return nullcontext(_ignore)

    def note(self, message: str) -> None:
        """Ignore the message."""


def _ignore(done: float, total: int, what: str = "") -> None:
    del done, total, what
