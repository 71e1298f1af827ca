"""What a data set of a given size can and cannot show."""

from __future__ import annotations

import math

__all__ = ["STEADY_WORDS", "warn_if_too_small", "wer_resolution", "words_needed"]

STEADY_WORDS = 5
"""So many words should stand behind a threshold before a difference at it means something."""


def wer_resolution(words: int) -> float:
    """The smallest step of the word error rate that `words` reference words can show, in points."""
    return 100.0 / words if words > 0 else math.inf


def words_needed(gamma: float) -> int:
    """The number of reference words from which one error is at most `gamma` points."""
    # Without the allowance 100 / 0.1 would round up to 1001 on some platforms.
    return math.ceil(100.0 / gamma - 1e-9)


def warn_if_too_small(words: int, gamma: float) -> str | None:
    """A one-line warning when `gamma` WER points are less than `STEADY_WORDS` words, else None.

    Below one word no difference can be as small as gamma; with a handful of words chance decides.

    Args:
        words: Reference words of the data set.
        gamma: The difference that decisions are taken on, in absolute points, > 0.
    """
    needed = words_needed(gamma)
    if words < needed:
        step = f"{wer_resolution(words):.2g} points" if words else "no step at all"
        return (
            f"the set has {words} words, so the smallest WER step it can show is {step}, more than the threshold "
            f"of {gamma:g}: use at least {needed} words or raise the threshold"
        )
    if words < STEADY_WORDS * needed:
        return (
            f"the threshold of {gamma:g} points is {gamma * words / 100:.1f} of the set's {words} words, so layers "
            f"near it are selected by chance: {STEADY_WORDS * needed} words or more are steadier"
        )
    return None
