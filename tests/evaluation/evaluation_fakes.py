"""A recogniser and a corpus whose outcome is known, and a script that evaluates until it kills itself."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechquant.data import Skipped, Utterance
from speechquant.decoding.types import Transcript, Word
from speechquant.errors import DataError
from speechquant.evaluation import EvaluationStore, Evaluator

RATE = 16000
SAID = ["THE CAT SAT", "ON THE MAT", "IN THE HAT", "A B C D"]


@dataclass(frozen=True)
class Tone:
    """Audio whose first sample names the utterance."""

    number: int
    seconds: float = 0.01
    version: str = "1"

    def samples(self) -> np.ndarray:
        return np.full(int(self.seconds * RATE), self.number, dtype=np.float32)

    def fingerprint(self) -> str:
        return f"{self.number}:{self.seconds}:{self.version}"


def corpus(count: int, *, seconds: float = 0.01, text: bool = True) -> list[Utterance]:
    return [
        Utterance(f"u{i}", Tone(i, seconds), text=SAID[i % 4] if text else None, speaker=f"s{i % 3}")
        for i in range(count)
    ]


class Parrot:
    """Says what was said, drops the last word of every fifth utterance, and logs what it was given."""

    backend = "parrot"
    sampling_rate = RATE
    length_exact = False

    def __init__(self, signature: str = "parrot-1", log: Path | None = None, die_in_call: int | None = None):
        self.signature = signature
        self.calls: list[list[int]] = []
        self._log = log
        self._die_in_call = die_in_call

    def recognize(self, waves):
        numbers = [int(wave[0]) for wave in waves]
        self.calls.append(numbers)
        if self._log:
            with self._log.open("a") as file:
                file.write("".join(f"{number}\n" for number in numbers))
        if len(self.calls) == self._die_in_call:
            os.kill(os.getpid(), signal.SIGKILL)
        return [self._say(number) for number in numbers]

    @staticmethod
    def _say(number: int) -> Transcript:
        words = SAID[number % 4].split()[: -1 if number % 5 == 0 else None]
        times = tuple(Word(word, 0.1 * i, 0.1 * i + 0.05) for i, word in enumerate(words))
        return Transcript(" ".join(words), (number, 7), (number, 0, 7), capped=number % 10 == 9, words=times)


def load(utterances, *, strict, on_skip):
    """Like the data room's loader, without files: utterances that are named bad are unusable."""
    for utterance in utterances:
        if utterance.id.startswith("bad"):
            if strict:
                raise DataError(f"utterance {utterance.id!r} is bad")
            on_skip(Skipped(utterance.id, "silent"))
            continue
        yield utterance, utterance.audio.samples()


if __name__ == "__main__":
    with EvaluationStore(sys.argv[1]) as opened:
        parrot = Parrot(log=Path(sys.argv[2]), die_in_call=int(sys.argv[3]))
        Evaluator("none", opened, loader=load).evaluate(parrot, corpus(100))
