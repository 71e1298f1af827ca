"""Where two overlapping windows of one recording are joined, so that no word is doubled or lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["best_cut", "join_words", "place_words"]

_AGREEING_FRAMES = 10
_SECONDS_PER_MATCH = 2.0
_FRAMES_PER_SECOND = 50
_QUIET = 0.05


def best_cut(left: NDArray[np.int64], right: NDArray[np.int64]) -> int:
    """The frame from which on the right window is read instead of the left one.

    A cut is safe inside a stretch that both windows read alike: one letter earlier in one window than in the
    other would be doubled or lost. Only the middle half of the overlap is considered, as the outer quarters
    have little context in one of the windows.

    Args:
        left: arg-max ids of the left window over the overlap, shape (frames,).
        right: the ids of the right window over the same frames.

    Returns:
        An index into the overlap: the centre of the overlap if nothing agrees.
    """
    count = len(left)
    agree = left == right
    before = np.concatenate(([0], _run_lengths(agree)))
    after = np.concatenate((_run_lengths(agree[::-1])[::-1], [0]))
    cuts = np.arange(count // 4, count - count // 4 + 1)
    safety = np.minimum(np.minimum(before, after)[cuts], _AGREEING_FRAMES)
    distance = np.abs(cuts - count // 2)
    return int(cuts[np.lexsort((distance, -safety))[0]])


def place_words(count: int, wave: NDArray[np.float32], sampling_rate: int) -> NDArray[np.float64]:
    """Rough times of the words of a window for models that give none.

    Words are spread evenly over the part of the window that is not quiet (frames of 20 ms within 26 dB of the
    95th percentile), so that a pause takes no words.

    Args:
        count: number of words.
        wave: the window, shape (time,).
        sampling_rate: in Hz.

    Returns:
        Seconds from the start of the window, ascending, shape (count,).
    """
    hop = max(1, sampling_rate // _FRAMES_PER_SECOND)
    frames = wave[: max(1, wave.size // hop) * hop]
    frames = frames.reshape(-1, min(hop, frames.size))
    level = np.sqrt(np.mean(frames.astype(np.float64) ** 2, axis=1))
    spoken = np.cumsum(level > _QUIET * np.percentile(level, 95))
    if spoken[-1] == 0:
        spoken = np.arange(1, len(level) + 1)
    wanted = (np.arange(count) + 0.5) / max(1, count) * spoken[-1]
    found: NDArray[np.float64] = np.searchsorted(spoken, wanted) * hop / sampling_rate
    return found


def join_words(
    left: Sequence[str],
    left_times: NDArray[np.float64],
    right: Sequence[str],
    right_times: NDArray[np.float64],
    overlap: tuple[float, float],
) -> tuple[int, int]:
    """Where to leave the words of one window and enter those of the next.

    Both windows heard the overlap, so they share a run of words there. The longest run wins; a run whose two
    rough times disagree is worth one word less for every two seconds. The seam is the middle of the run:
    words that the end of a window has cut in two lie outside it. Without any shared word the seam is the
    middle of the overlap by the rough times.

    Args:
        left: words of the earlier window.
        left_times: rough times in seconds, shape (words,), from the start of the recording.
        right: words of the later window.
        right_times: as `left_times`.
        overlap: first and last second of the overlap.

    Returns:
        `(i, j)`: the joined text is `left[:i] + right[j:]`.
    """
    start, end = overlap
    length = end - start
    centre = (start + end) / 2
    first = int(np.searchsorted(left_times, start - length))
    last = int(np.searchsorted(right_times, end + length))
    best = (0.0, 0.0)
    seam = int(np.searchsorted(left_times, centre)), int(np.searchsorted(right_times, centre))
    for i, j, run in _shared_runs([_key(w) for w in left[first:]], [_key(w) for w in right[:last]]):
        a, b = first + i, j
        gap = abs(left_times[a : a + run].mean() - right_times[b : b + run].mean())
        rank = (run - gap / _SECONDS_PER_MATCH, -abs(left_times[a : a + run].mean() - centre))
        if rank[0] > 0 and rank > best:
            best, seam = rank, (a + (run + 1) // 2, b + (run + 1) // 2)
    return seam


def _shared_runs(left: Sequence[str], right: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """Every maximal run of equal words as (start in left, start in right, length)."""
    previous = [0] * (len(right) + 1)
    for i, word in enumerate(left):
        current = [0] * (len(right) + 1)
        for j, other in enumerate(right):
            if word != other or not word:
                continue
            run = current[j + 1] = previous[j] + 1
            goes_on = i + 1 < len(left) and j + 1 < len(right) and left[i + 1] == right[j + 1] != ""
            if not goes_on:
                yield i + 1 - run, j + 1 - run, run
        previous = current


def _key(word: str) -> str:
    """Case and punctuation depend on what a window saw of the sentence, so they do not count."""
    return "".join(char for char in word.casefold() if char.isalnum())


def _run_lengths(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each position the number of true values in a row that end there."""
    index = np.arange(1, len(flags) + 1)
    last_false = np.maximum.accumulate(np.where(flags, 0, index)) if len(flags) else index
    lengths: NDArray[np.int64] = index - last_false
    return lengths
