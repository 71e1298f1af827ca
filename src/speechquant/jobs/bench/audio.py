"""What the systems listen to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from speechquant.audio import SAMPLING_RATE
from speechquant.data import iter_loaded
from speechquant.errors import DataError, MissingExtraError
from speechquant.jobs.sources import resolve_corpus

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from speechquant.data import Corpus

__all__ = ["Audio", "default_audio", "joined_speech", "noise"]

_DEMO = "demo:dev"


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """Mono samples of shape (time,) at `SAMPLING_RATE`, and what they are, for people."""

    name: str
    samples: NDArray[np.float32]

    def first(self, seconds: float) -> NDArray[np.float32]:
        """The beginning, repeated from the start where it is too short."""
        return np.resize(self.samples, max(1, round(seconds * SAMPLING_RATE)))


def noise(seconds: float) -> Audio:
    """White noise, the same in every run; the speed of a network does not depend on its input's values."""
    samples = np.random.default_rng(0).normal(0, 0.1, round(seconds * SAMPLING_RATE)).astype(np.float32)
    return Audio("noise", samples)


def joined_speech(corpus: Corpus, seconds: float) -> Audio:
    """The first utterances of a corpus that can be used, joined until they are long enough.

    Raises:
        DataError: none can be used.
    """
    pieces: list[NDArray[np.float32]] = []
    for _, samples in iter_loaded(corpus, strict=False, on_skip=lambda _: None):
        pieces.append(samples)
        if sum(piece.size for piece in pieces) >= seconds * SAMPLING_RATE:
            break
    if not pieces:
        raise DataError(f"{corpus.name}: no utterance can be used; give speech that can be read")
    return Audio(f"speech of {corpus.name}", np.concatenate(pieces))


def default_audio(seconds: float) -> Audio:
    """Speech of the demo where it is installed, as decoders of text take the longer the more words they hear."""
    try:
        return joined_speech(resolve_corpus(_DEMO), seconds)
    except MissingExtraError:
        return noise(seconds)
