"""What every recogniser returns, whatever model and engine are behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Recognizer", "Transcript", "Vocabulary", "Word"]


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word and when it was said, in seconds from the start of the audio."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """The outcome of recognising one waveform.

    `tokens` are the emitted vocabulary ids (CTC: after collapsing repeats and blanks). `frames` are the
    arg-max ids per encoder frame for CTC models and empty for others. `capped` says that decoding hit its
    length or repetition limit, which a sound model never does. `words` carry times where the model knows them
    (CTC).
    """

    text: str
    tokens: tuple[int, ...] = ()
    frames: tuple[int, ...] = ()
    capped: bool = False
    words: tuple[Word, ...] = ()


class Vocabulary(Protocol):
    """Turns vocabulary ids into text."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, special tokens left out."""
        ...


class Recognizer(Protocol):
    """A model on an engine: waveforms in, transcripts out.

    `backend` names the engine for people ("torch", "onnxruntime"). `signature` is a hash of everything that
    decides the output (weights, scales, decoding settings); equal signatures may share stored results.
    `length_exact` says that padding would change the output, so that only waveforms of equal length may share
    a batch inside the recogniser. `sampling_rate` is in Hz.
    """

    backend: str
    signature: str
    sampling_rate: int
    length_exact: bool

    def recognize(self, waves: Sequence[NDArray[np.float32]]) -> list[Transcript]:
        """Transcribe mono waveforms, each of shape (time,), in order. Any number, any lengths."""
        ...
