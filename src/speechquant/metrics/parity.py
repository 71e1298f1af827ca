"""How closely two backends, or two precisions, agree."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from rapidfuzz.distance import Levenshtein

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

__all__ = ["argmax_agreement", "sqnr_db", "token_agreement"]


def argmax_agreement(first: Sequence[Sequence[int]], second: Sequence[Sequence[int]]) -> float:
    """Share of frames, over all utterances, whose arg-max id is the same; 1 when there are no frames.

    Args:
        first: One sequence of ids per utterance.
        second: The other system's, in the same order; a frame that only one system has counts as different.

    Raises:
        ValueError: the two sides have different numbers of utterances.
    """
    same = total = 0
    for one, two in zip(first, second, strict=True):
        shared = min(len(one), len(two))
        same += int(np.count_nonzero(np.asarray(one[:shared]) == np.asarray(two[:shared])))
        total += max(len(one), len(two))
    return same / total if total else 1.0


def token_agreement(first: Sequence[Sequence[int]], second: Sequence[Sequence[int]]) -> float:
    """One minus the edit distance over the longer length, summed over utterances; 1 when both are empty.

    Raises:
        ValueError: the two sides have different numbers of utterances.
    """
    distance = total = 0
    for one, two in zip(first, second, strict=True):
        distance += Levenshtein.distance(one, two)
        total += max(len(one), len(two))
    return 1.0 - distance / total if total else 1.0


def sqnr_db(reference: ArrayLike, quantized: ArrayLike) -> float:
    """Signal to quantization noise ratio in decibels: 10 log10(sum(x^2) / sum((x - q)^2)).

    Infinite when nothing differs, minus infinity when a silent signal does.

    Raises:
        ValueError: the shapes differ.
    """
    signal = np.asarray(reference, dtype=np.float64)
    noise = np.asarray(quantized, dtype=np.float64)
    if signal.shape != noise.shape:
        raise ValueError(f"shapes {signal.shape} and {noise.shape} differ")
    noise = noise - signal
    signal_power, noise_power = float(np.sum(signal * signal)), float(np.sum(noise * noise))
    if noise_power == 0:
        return math.inf
    return 10.0 * math.log10(signal_power / noise_power) if signal_power > 0 else -math.inf
