"""Word error rate with substitutions, deletions and insertions, per utterance, per speaker and in total."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import jiwer

from speechquant.errors import DataError
from speechquant.metrics.text import get_normalizer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["AlignedWord", "Score", "UtteranceScore", "WordErrors", "score"]

ErrorKind = Literal["correct", "substitution", "deletion", "insertion"]


@dataclass(frozen=True, slots=True)
class WordErrors:
    """Counts over any amount of speech; `words` is the number of reference words."""

    words: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        """All errors together."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def wer(self) -> float:
        """Errors per reference word in percent; infinite when there are errors but no reference words."""
        if self.words == 0:
            return math.inf if self.errors else 0.0
        return 100.0 * self.errors / self.words

    def __add__(self, other: WordErrors) -> WordErrors:
        return WordErrors(
            self.words + other.words,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


@dataclass(frozen=True, slots=True)
class AlignedWord:
    """One step of an alignment; the side that has no word is None."""

    kind: ErrorKind
    reference: str | None
    hypothesis: str | None


@dataclass(frozen=True, slots=True)
class UtteranceScore:
    """One utterance after normalisation."""

    id: str
    reference: str
    hypothesis: str
    errors: WordErrors
    alignment: tuple[AlignedWord, ...]
    speaker: str | None = None


@dataclass(frozen=True)
class Score:
    """The outcome on a whole corpus, utterances in the order of the references."""

    totals: WordErrors
    utterances: tuple[UtteranceScore, ...]

    @property
    def wer(self) -> float:
        """All errors over all words of the corpus, in percent."""
        return self.totals.wer

    @property
    def speakers(self) -> dict[str, WordErrors]:
        """Counts per speaker, by name; utterances without a speaker are left out."""
        table: dict[str, WordErrors] = {}
        for utterance in self.utterances:
            if utterance.speaker is not None:
                table[utterance.speaker] = table.get(utterance.speaker, WordErrors()) + utterance.errors
        return dict(sorted(table.items()))


def score(
    references: Mapping[str, str],
    hypotheses: Mapping[str, str],
    *,
    normalizer: str = "none",
    speakers: Mapping[str, str | None] | None = None,
) -> Score:
    """Compare texts by utterance id.

    Words are what white space separates after normalisation. Alignment has unit costs (jiwer). A reference
    without words counts every hypothesis word as an insertion.

    Raises:
        DataError: the two sides do not have the same ids.
        RecipeError: the normaliser is unknown.
    """
    _check_ids(references, hypotheses)
    normalize = get_normalizer(normalizer)
    speakers = speakers or {}
    utterances = tuple(
        _score_one(id_, normalize(text).split(), normalize(hypotheses[id_]).split(), speakers.get(id_))
        for id_, text in references.items()
    )
    return Score(sum((utterance.errors for utterance in utterances), WordErrors()), utterances)


def _check_ids(references: Mapping[str, str], hypotheses: Mapping[str, str]) -> None:
    missing = next((id_ for id_ in references if id_ not in hypotheses), None)
    if missing is not None:
        raise DataError(f"utterance {missing!r} has a reference but no hypothesis: score the same utterances")
    extra = next((id_ for id_ in hypotheses if id_ not in references), None)
    if extra is not None:
        raise DataError(f"utterance {extra!r} has a hypothesis but no reference: score the same utterances")


def _score_one(id_: str, reference: list[str], hypothesis: list[str], speaker: str | None) -> UtteranceScore:
    steps = tuple(_steps(reference, hypothesis))
    kinds = Counter(step.kind for step in steps)
    errors = WordErrors(len(reference), kinds["substitution"], kinds["deletion"], kinds["insertion"])
    return UtteranceScore(id_, " ".join(reference), " ".join(hypothesis), errors, steps, speaker)


def _steps(reference: Sequence[str], hypothesis: Sequence[str]) -> Iterator[AlignedWord]:
    output = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
    for chunk in output.alignments[0]:
        left = reference[chunk.ref_start_idx : chunk.ref_end_idx]
        right = hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]
        match chunk.type:
            case "equal":
                yield from (AlignedWord("correct", *pair) for pair in zip(left, right, strict=True))
            case "substitute":
                yield from (AlignedWord("substitution", *pair) for pair in zip(left, right, strict=True))
            case "delete":
                yield from (AlignedWord("deletion", word, None) for word in left)
            case _:
                yield from (AlignedWord("insertion", None, word) for word in right)
