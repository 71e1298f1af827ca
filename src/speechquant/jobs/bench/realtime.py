"""The real-time factor on a data set."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from speechquant.audio import SAMPLING_RATE
from speechquant.data import iter_loaded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from speechquant.data import Corpus
    from speechquant.decoding import Recognizer
    from speechquant.jobs.progress import Advance

__all__ = ["RealTime"]


@dataclass(slots=True)
class RealTime:
    """Sums over the utterances that all systems have done; an interruption leaves those that it knows.

    `compute_seconds` is by system; `skipped` counts unusable audio.
    """

    data: str
    utterances: int = 0
    audio_seconds: float = 0.0
    compute_seconds: dict[str, float] = field(default_factory=dict)
    skipped: int = 0

    @property
    def factor(self) -> dict[str, float]:
        """Seconds of computing per second of audio, by system."""
        return {name: seconds / self.audio_seconds for name, seconds in self.compute_seconds.items()}

    def run(self, recognizers: Mapping[str, Recognizer], corpus: Corpus, advance: Advance) -> None:
        """Let all systems recognise one utterance after the other, each before the next one begins."""

        def skip(_: Any) -> None:
            self.skipped += 1

        order, random = list(recognizers), Random(0)  # noqa: S311 - nothing secret
        for utterance, samples in iter_loaded(corpus, strict=False, on_skip=skip):
            random.shuffle(order)
            taken = {}
            for name in order:
                start = time.perf_counter()
                recognizers[name].recognize([samples])
                taken[name] = time.perf_counter() - start
            for name, seconds in taken.items():
                self.compute_seconds[name] = self.compute_seconds.get(name, 0.0) + seconds
            self.audio_seconds += samples.size / SAMPLING_RATE
            self.utterances += 1
            advance(self.utterances + self.skipped, len(corpus), utterance.id)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "data": self.data,
            "utterances": self.utterances,
            "audio_seconds": self.audio_seconds,
            "compute_seconds": self.compute_seconds,
            "factor": self.factor,
            "skipped": self.skipped,
        }
