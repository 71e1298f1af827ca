"""One piece of speech with what is known about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["AudioSource", "Utterance"]


@runtime_checkable
class AudioSource(Protocol):
    """Where the samples of an utterance come from when they are not a file of their own."""

    def samples(self) -> NDArray[np.float32]:
        """16 kHz mono samples in [-1, 1], shape (time,)."""
        ...

    def fingerprint(self) -> str:
        """A string that changes when the samples do."""
        ...


@dataclass(frozen=True, slots=True)
class Utterance:
    """One piece of speech; `text` is None where nobody wrote it down."""

    id: str
    audio: Path | AudioSource
    text: str | None = None
    speaker: str | None = None
    seconds: float | None = None
