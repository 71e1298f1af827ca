"""Confidence intervals by resampling utterances (Bisani and Ney, ICASSP 2004)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from speechquant.metrics.wer import Score

__all__ = ["Interval", "bootstrap_interval"]

_DRAWS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of the word error rate, in percent."""

    low: float
    high: float
    confidence: float


def bootstrap_interval(
    score: Score, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Percentile interval of the corpus word error rate; utterances are the units that are drawn.

    A score without utterances has the interval [0, 0].
    """
    words, errors = _counts(score)
    rates = _resampled_rates(words, errors, resamples, seed)
    low, high = _percentiles(rates, confidence)
    return Interval(low, high, confidence)


def _counts(score: Score) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    words = np.array([utterance.errors.words for utterance in score.utterances], dtype=np.int64)
    errors = np.array([utterance.errors.errors for utterance in score.utterances], dtype=np.int64)
    return words, errors


def _resampled_rates(
    words: NDArray[np.int64], errors: NDArray[np.int64], resamples: int, seed: int
) -> NDArray[np.float64]:
    """Word error rates in percent, shape (resamples,)."""
    rates = np.zeros(resamples)
    if words.size == 0:
        return rates
    for part, draw in _draws(words.size, resamples, seed):
        # A draw of nothing but empty references has no rate of its own; one word keeps it finite.
        total = np.maximum(words[draw].sum(axis=1), 1)
        rates[part] = 100.0 * errors[draw].sum(axis=1) / total
    return rates


def _draws(size: int, resamples: int, seed: int) -> Iterator[tuple[slice, NDArray[np.int64]]]:
    generator = np.random.default_rng(seed)
    step = max(1, _DRAWS_AT_ONCE // size)
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        yield slice(start, start + count), generator.integers(0, size, (count, size))


def _percentiles(values: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(values, [tail, 100.0 - tail])
    return float(low), float(high)
