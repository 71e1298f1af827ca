"""Is one system really better than another? The matched pairs sentence segment word error test (MAPSSWE)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

import numpy as np

from speechquant.errors import DataError
from speechquant.metrics.alignment import align_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from speechquant.metrics.alignment import WordAlignment
    from speechquant.metrics.wer import Score

__all__ = ["PairedTest", "Verdict", "mapsswe", "segment_errors"]

Verdict = Literal["first", "second"] | None
BOUNDARY_WORDS = 2


@dataclass(frozen=True, slots=True)
class PairedTest:
    """The outcome of a paired test between a first and a second system.

    Attributes:
        segments: number of segments in which at least one system erred.
        mean: errors of the first minus errors of the second, per segment.
        std: standard deviation of that difference (divisor segments - 1).
        z: mean / (std / sqrt(segments)); negative when the first system errs less.
        p_value: two-sided.
        better: the system that is significantly better at the level asked for, or None.
    """

    segments: int
    mean: float
    std: float
    z: float
    p_value: float
    better: Verdict


def mapsswe(first: Score, second: Score, *, alpha: float = 0.05) -> PairedTest:
    """Compare two scores of the same utterances (Gillick and Cox 1989; Pallett et al. 1990).

    Segments are bounded by at least two words that both systems have right, or by the ends of an utterance;
    their errors are taken as independent. Alignment, segmentation and statistics are those of NIST
    `sc_stats`, with one deviation: when every segment has the same difference other than zero, the standard
    deviation is zero and `sc_stats` reports Z = 0, "no difference"; here the exact sign test gives
    p = 2 * 0.5**segments, and z is the normal deviate of that p.

    Raises:
        DataError: the scores do not cover the same utterances with the same references.
    """
    pairs = list(_paired_segments(first, second))
    return _decide(np.array([one - two for one, two in pairs], dtype=np.float64), alpha)


def segment_errors(
    reference: Sequence[str], first: Sequence[str], second: Sequence[str]
) -> list[tuple[int, int]]:
    """Errors of two systems in each segment of one utterance; segments without any error are not segments."""
    return list(_segments(align_words(reference, first), align_words(reference, second)))


def _paired_segments(first: Score, second: Score) -> Iterator[tuple[int, int]]:
    others = {utterance.id: utterance for utterance in second.utterances}
    if others.keys() != {utterance.id for utterance in first.utterances}:
        raise DataError(
            "a paired test needs both systems on the same utterances: evaluate both on one data set"
        )
    for one in first.utterances:
        two = others[one.id]
        if one.reference != two.reference:
            raise DataError(
                f"utterance {one.id!r} has two different references: use the same data and text normaliser"
            )
        if one.errors.errors or two.errors.errors:
            yield from segment_errors(one.reference.split(), one.hypothesis.split(), two.hypothesis.split())


def _segments(first: WordAlignment, second: WordAlignment) -> Iterator[tuple[int, int]]:
    one = two = good = 0
    for i, (inserted_one, inserted_two) in enumerate(zip(first.inserted, second.inserted, strict=True)):
        if inserted_one or inserted_two:
            one, two, good = one + inserted_one, two + inserted_two, 0
        if i == len(first.wrong):
            break
        if first.wrong[i] or second.wrong[i]:
            one, two, good = one + first.wrong[i], two + second.wrong[i], 0
            continue
        good += 1
        if good >= BOUNDARY_WORDS and (one or two):
            yield one, two
            one = two = 0
    if one or two:
        yield one, two


def _decide(difference: np.ndarray[tuple[int], np.dtype[np.float64]], alpha: float) -> PairedTest:
    segments = len(difference)
    mean = float(difference.mean()) if segments else 0.0
    std = float(difference.std(ddof=1)) if segments > 1 else 0.0
    if std > 0:
        z = mean / (std / math.sqrt(segments))
        p_value = math.erfc(abs(z) / math.sqrt(2))
    elif mean:
        # The floor keeps the deviate finite for thousands of segments.
        p_value = max(2 * 0.5**segments, 1e-300)
        z = math.copysign(NormalDist().inv_cdf(p_value / 2), mean)
    else:
        z, p_value = 0.0, 1.0
    better: Verdict = None
    if p_value < alpha:
        better = "first" if mean < 0 else "second"
    return PairedTest(segments, mean, std, z, p_value, better)
