"""Stop a candidate that has clearly lost before it has heard all of the development set.

A candidate is judged after growing parts of the set, and is out

* if it has lost whatever comes: the rest cannot make good more errors than the reference makes there (deterministic
  curtailment, Lan, Simon and Halperin 1982), or
* if a group-sequential paired test says so: its errors less those of the reference, extrapolated to the whole set, are
  significantly above what it may lose. The sample is drawn without replacement from a finite set, so this is a
  statement on what the whole set would have said: the ratio estimator of a total with the variance of Cochran,
  "Sampling Techniques" (1977), sections 2.6 and 6.4, by words of an utterance; Student's t by Wallace's (1959) normal
  deviate; the level is divided evenly by the number of looks (Bonferroni).

A candidate is never stopped because it looks good, so what is chosen has always heard everything.

Deviations from the textbook: the utterances of the reference's most errors are all heard at the first look (a
take-all stratum), as an utterance that went wrong in the reference alone can decide a comparison and may be missing
from any sample; and one squared error is added to the residuals, as a sample without any difference says little about
the rare ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from speechquant.numerics import ScaleTable

    Counts = NDArray[np.int64]

__all__ = ["ALPHA", "Heat", "Jury", "Score", "halving", "race"]

ALPHA = 0.01
"""How often at most a stage of the search may choose something else than a full evaluation would."""

SURE = 1 / 16
"""Share of utterances in the take-all stratum."""

LOOKS = (1 / 8, 1 / 2)
"""Shares of the other utterances that were heard when a candidate is judged.

Few, because most candidates are harmless and hear everything, and decoders are slower on every utterance that has no
others beside it.
"""

SMALLEST = 12
"""Utterances from which on a sample has a variance worth the name."""


@dataclass(frozen=True, slots=True)
class Score:
    """Errors in all utterances."""

    errors: int
    words: int

    @property
    def wer(self) -> float:
        """100 * errors / words."""
        return 100.0 * self.errors / self.words


@dataclass(frozen=True, eq=False)
class Jury:
    """What a search asks for errors where it need not hear all utterances.

    `words` has the reference words of every utterance, (utterances,); `errors(table, part)` gives the word errors in
    the utterances whose indices are `part`, in that order; `seed` is of the order in which utterances are heard.
    """

    words: Counts
    errors: Callable[[ScaleTable, Counts], Counts]
    seed: int = 0

    def __call__(self, table: ScaleTable) -> Score:
        """The score on all utterances."""
        return Score(int(self.every(table).sum()), int(self.words.sum()))

    def every(self, table: ScaleTable) -> Counts:
        """Errors in every utterance."""
        return self.errors(table, np.arange(len(self.words)))


@dataclass(frozen=True, slots=True)
class Heat:
    """How a candidate did: its `errors` in the whole set and the share of the words that it was evaluated on.

    Below a share of 1 it has lost, and its errors are the estimate on which that was decided.
    """

    errors: float
    share: float

    @property
    def lost(self) -> bool:
        """Whether it was stopped."""
        return self.share < 1


def race(
    errors: Callable[[Counts], Counts],
    reference: Counts,
    words: Counts,
    *,
    margin: float,
    alpha: float = ALPHA,
    seed: int = 0,
) -> Heat:
    """Evaluate a candidate until it is certain, or nearly, that it has lost against `reference`.

    Args:
        errors: the candidate's errors in the utterances whose indices are given; each is asked for once.
        reference: errors of the reference in every utterance, (utterances,).
        words: reference words of every utterance, (utterances,).
        margin: errors in the whole set by which it may be worse; more is lost.
        alpha: how often at most a candidate is stopped that has not lost on the whole set.
        seed: of the order of utterances.
    """
    found = np.zeros(len(reference))
    heard = np.zeros(len(reference), dtype=bool)
    sure = np.zeros(len(reference), dtype=bool)
    first, *others = _parts(reference, seed)
    sure[first] = True
    for index, part in enumerate(others):
        new = np.concatenate([first, part]) if not index else part
        found[new] = errors(new) - reference[new]
        heard[new] = True
        if heard.all():
            break
        estimate, deviate = _judge(found, words, heard, sure, margin)
        least = float(found[heard].sum() - reference[~heard].sum())
        if least > margin or math.erfc(deviate / math.sqrt(2)) / 2 < alpha / len(LOOKS):
            lost = max(estimate, least) + float(reference.sum())
            return Heat(lost, float(words[heard].sum() / words.sum()))
    return Heat(float(found.sum() + reference.sum()), 1.0)


def halving(count: int) -> list[int]:
    """Indices below `count` from the middle to ever finer steps, so that a good candidate is met early."""
    order: list[int] = []
    step = 1 << max(0, count - 1).bit_length()
    while len(order) < count:
        step //= 2
        order += list(range(step, count, 2 * step)) if step else [0]
    return order


def _parts(reference: Counts, seed: int) -> list[Counts]:
    """The take-all stratum, then the others at random, in the portions that are heard between looks."""
    count = len(reference)
    sure = np.argsort(-reference, kind="stable")[: round(SURE * count)]
    others = np.random.default_rng(seed).permutation(np.setdiff1d(np.arange(count), sure))
    ends = [round(share * len(others)) for share in LOOKS]
    return [sure, *(part for part in np.split(others, ends) if part.size)]


def _judge(
    found: NDArray[np.float64],
    words: Counts,
    heard: NDArray[np.bool_],
    sure: NDArray[np.bool_],
    margin: float,
) -> tuple[float, float]:
    """Errors more than the reference's, extrapolated to the whole set, and how far above `margin` that is.

    The latter is a standard normal deviate if the true number is the margin; 0 where the sample is too small.
    """
    sample = heard & ~sure
    n, population = int(sample.sum()), int((~sure).sum())
    spoken = max(1, int(words[sample].sum()))
    ratio = float(found[sample].sum() / spoken)
    estimate = float(found[sure].sum() + ratio * words[~sure].sum())
    if n < SMALLEST:
        return estimate, 0.0
    residuals = (found[sample] - ratio * words[sample]) / (1 - words[sample] / (spoken + 1))
    variance = (float(np.square(residuals).sum()) + 1) / (n - 1)
    spread = population * math.sqrt(variance / n * (1 - n / population))
    return estimate, _normal((estimate - margin) / spread, n - 1)


def _normal(t: float, freedom: int) -> float:
    """The normal deviate of Student's t (Wallace 1959)."""
    scale = (8 * freedom + 1) / (8 * freedom + 3)
    return math.copysign(scale * math.sqrt(freedom * math.log1p(t * t / freedom)), t)
