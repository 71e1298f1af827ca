"""Texts in short stretches, as subtitles need them: at pauses, at punctuation, never long."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from speechquant.decoding.types import Word

__all__ = ["Segment", "group_words", "split_words"]

_PAUSE = 0.6
_LONGEST_SEGMENT = 8.0

LONGEST_CUE = 7.0
"""Seconds that a segment of rough times lasts at most."""

MOST_CHARACTERS = 84
"""Characters that a segment of rough times has at most: two lines of 42, as subtitles are set."""

_MARGIN = 0.5
_ROUGH_PAUSE = 1.5
_SHORTEST_PART = 20


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech with its text; times in seconds from the start of the recording."""

    start: float
    end: float
    text: str


def group_words(
    words: Sequence[Word], *, pause: float = _PAUSE, longest: float = _LONGEST_SEGMENT
) -> tuple[Segment, ...]:
    """Segments that end at a pause or where they would last longer than `longest` seconds."""
    groups: list[list[Word]] = []
    for word in words:
        group = groups[-1] if groups else []
        if group and word.start - group[-1].end < pause and word.end - group[0].start <= longest:
            group.append(word)
        else:
            groups.append([word])
    return tuple(Segment(g[0].start, g[-1].end, " ".join(word.text for word in g)) for g in groups)


def split_words(
    words: Sequence[str], times: NDArray[np.float64], start: float, end: float
) -> tuple[Segment, ...]:
    """Segments of words that have rough times only, each of at most 7 s and, one long word aside, 84 characters.

    They end at pauses and after punctuation where that leaves no scrap, otherwise where they are full.

    Args:
        words: what was said between `start` and `end`.
        times: rough middles of the words in seconds, ascending, shape (words,).
        start: first second of the stretch.
        end: last second of the stretch.
    """
    if not words:
        return ()
    if end - start <= LONGEST_CUE and len(" ".join(words)) <= MOST_CHARACTERS:
        return (Segment(start, end, " ".join(words)),)
    cuts = [0]
    while cuts[-1] < len(words):
        cuts.append(_next_cut(words, times, cuts[-1]))
    # Neighbours meet half-way, unless a pause lies between them.
    middles = [start, *((times[i - 1] + times[i]) / 2 for i in cuts[1:-1]), end]
    return tuple(
        Segment(
            float(max(middles[n], times[i] - _MARGIN)),
            float(min(middles[n + 1], times[j - 1] + _MARGIN)),
            " ".join(words[i:j]),
        )
        for n, (i, j) in enumerate(pairwise(cuts))
    )


def _next_cut(words: Sequence[str], times: NDArray[np.float64], first: int) -> int:
    """Index of the first word that no longer belongs to the segment which begins with word `first`."""
    full, sentence, clause, characters = len(words), None, None, -1
    for i in range(first, len(words)):
        characters += 1 + len(words[i])
        too_long = characters > MOST_CHARACTERS or times[i] - times[first] > LONGEST_CUE - 2 * _MARGIN
        if i > first and (too_long or times[i] - times[i - 1] > _ROUGH_PAUSE):
            full = i
            break
        if characters >= _SHORTEST_PART:
            sentence = i + 1 if words[i].endswith((".", "?", "!")) else sentence
            clause = i + 1 if words[i].endswith((",", ";", ":")) else clause
    if full == len(words) or times[full] - times[full - 1] > _ROUGH_PAUSE:
        return full
    return sentence or clause or full
