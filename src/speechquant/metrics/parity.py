"""How closely two backends, or two precisions, agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rapidfuzz.distance import Levenshtein

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["argmax_agreement", "token_agreement"]


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
