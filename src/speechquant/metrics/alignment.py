"""The alignment NIST's `sclite` makes, which its significance tests are defined on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["WordAlignment", "align_words"]

SUBSTITUTION_COST = 4
GAP_COST = 3


@dataclass(frozen=True, slots=True)
class WordAlignment:
    """Where a hypothesis differs from a reference of n words.

    Attributes:
        wrong: n flags; True where the reference word was substituted or deleted.
        inserted: n + 1 counts; inserted[i] words stand before reference word i, the last ones at the end.
    """

    wrong: tuple[bool, ...]
    inserted: tuple[int, ...]

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions together."""
        return sum(self.wrong) + sum(self.inserted)


def align_words(reference: Sequence[str], hypothesis: Sequence[str]) -> WordAlignment:
    """Align with sclite's costs (substitution 4, insertion and deletion 3) and its choice among equals.

    With these costs a deletion and an insertion beside a match beat two substitutions, so the total may
    exceed the edit distance by a little. Among equally cheap last steps sclite takes a substitution or match
    first, then an insertion, then a deletion (SCTK, sclite, default alignment).
    """
    rows, columns = len(reference), len(hypothesis)
    wrong = [False] * rows
    inserted = [0] * (rows + 1)
    if tuple(reference) == tuple(hypothesis):
        return WordAlignment(tuple(wrong), tuple(inserted))
    differs = _differences(reference, hypothesis)
    cost = _cost_table(differs)
    i, j = rows, columns
    while i > 0 or j > 0:
        step = _last_step(cost, differs, i, j)
        if step == "insertion":
            inserted[i] += 1
            j -= 1
            continue
        i -= 1
        wrong[i] = step == "deletion" or bool(differs[i, j - 1])
        j -= step == "diagonal"
    return WordAlignment(tuple(wrong), tuple(inserted))


def _differences(reference: Sequence[str], hypothesis: Sequence[str]) -> NDArray[np.bool_]:
    numbers: dict[str, int] = {}
    left = np.array([numbers.setdefault(word, len(numbers)) for word in reference], dtype=np.int64)
    right = np.array([numbers.setdefault(word, len(numbers)) for word in hypothesis], dtype=np.int64)
    return np.asarray(left[:, None] != right[None, :])


def _cost_table(differs: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Cheapest cost of every pair of prefixes, shape (reference + 1, hypothesis + 1)."""
    rows, columns = differs.shape
    gaps = GAP_COST * np.arange(columns + 1, dtype=np.int64)
    cost = np.empty((rows + 1, columns + 1), dtype=np.int64)
    cost[0] = gaps
    for i in range(1, rows + 1):
        entry = cost[i - 1] + GAP_COST
        entry[1:] = np.minimum(entry[1:], cost[i - 1, :-1] + SUBSTITUTION_COST * differs[i - 1])
        # A run of insertions adds the same cost per column, so a running minimum finds its best start.
        cost[i] = np.minimum.accumulate(entry - gaps) + gaps
    return cost


def _last_step(cost: NDArray[np.int64], differs: NDArray[np.bool_], i: int, j: int) -> str:
    if i == 0:
        return "insertion"
    if j == 0:
        return "deletion"
    diagonal = cost[i - 1, j - 1] + SUBSTITUTION_COST * differs[i - 1, j - 1]
    if diagonal == cost[i, j]:
        return "diagonal"
    return "insertion" if cost[i, j - 1] + GAP_COST == cost[i, j] else "deletion"
