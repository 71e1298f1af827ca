"""The outcome of one evaluation, with everything that must stand beside the figure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from speechquant.errors import DataError
from speechquant.metrics import bootstrap_interval, mapsswe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from speechquant.data import Skipped
    from speechquant.decoding.types import Transcript
    from speechquant.metrics import Interval, PairedTest, Score, WordErrors

__all__ = ["Evaluation", "ReferencesKind", "Transcription"]

ReferencesKind = Literal["transcripts", "float model"]


@dataclass(frozen=True)
class Transcription:
    """What one recogniser said to one corpus.

    Attributes:
        transcripts: Raw output by utterance id, in the order of the corpus.
        skipped: Utterances whose audio could not be used.
        seconds: Audio that was recognised, now or earlier.
        elapsed: Seconds spent in the recogniser by this run; stored transcripts cost none.
        reused: How many transcripts came from the store.
        backend: The engine, for people.
        signature: The recogniser's signature.
    """

    transcripts: Mapping[str, Transcript]
    skipped: tuple[Skipped, ...]
    seconds: float
    elapsed: float
    reused: int
    backend: str
    signature: str

    @property
    def capped(self) -> int:
        """How many transcripts hit the decoder's length or repetition limit."""
        return sum(transcript.capped for transcript in self.transcripts.values())

    @property
    def texts(self) -> dict[str, str]:
        """Text by utterance id, as another evaluator's references."""
        return {id_: transcript.text for id_, transcript in self.transcripts.items()}


@dataclass(frozen=True)
class Evaluation:
    """One recogniser on one corpus, scored.

    Attributes:
        score: Word errors in total and per utterance, after normalisation.
        transcription: What the recogniser said, and on which engine.
        normalizer: Name of the text normaliser.
        references: "transcripts", or "float model" when the float model's own output is the reference, so
            that the error rate is a disagreement.
        seed: Of the bootstrap.
    """

    score: Score
    transcription: Transcription
    normalizer: str
    references: ReferencesKind
    seed: int = 0

    @property
    def errors(self) -> WordErrors:
        """Counts over the whole corpus."""
        return self.score.totals

    @property
    def wer(self) -> float:
        """Word error rate in percent."""
        return self.score.wer

    @property
    def transcripts(self) -> Mapping[str, Transcript]:
        """Raw output by utterance id, in the order of the corpus."""
        return self.transcription.transcripts

    @property
    def capped(self) -> int:
        """How many transcripts hit the decoder's length or repetition limit."""
        return self.transcription.capped

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Utterances whose audio could not be used."""
        return self.transcription.skipped

    @property
    def seconds(self) -> float:
        """Audio that was scored."""
        return self.transcription.seconds

    @property
    def elapsed(self) -> float:
        """Seconds this run spent in the recogniser."""
        return self.transcription.elapsed

    @property
    def backend(self) -> str:
        """The engine, for people."""
        return self.transcription.backend

    @property
    def signature(self) -> str:
        """The recogniser's signature."""
        return self.transcription.signature

    @cached_property
    def interval(self) -> Interval:
        """95 % bootstrap interval of the word error rate."""
        return bootstrap_interval(self.score, seed=self.seed)

    def compare(self, other: Evaluation, *, alpha: float = 0.05) -> PairedTest:
        """Paired test; this evaluation is the first system, `other` the second.

        Raises:
            DataError: the two differ in utterances, references or text normalisation.
        """
        if (self.normalizer, self.references) != (other.normalizer, other.references):
            raise DataError(
                f"cannot compare {self.normalizer!r} against {self.references} with {other.normalizer!r} "
                f"against {other.references}: evaluate both with the same text normaliser and references"
            )
        return mapsswe(self.score, other.score, alpha=alpha)

    def figures(self) -> dict[str, float | int]:
        """The figures of `metrics.json`: rate and interval in percent, counts in words."""
        return {
            "wer": self.wer,
            "words": self.errors.words,
            "substitutions": self.errors.substitutions,
            "deletions": self.errors.deletions,
            "insertions": self.errors.insertions,
            "low": self.interval.low,
            "high": self.interval.high,
        }
