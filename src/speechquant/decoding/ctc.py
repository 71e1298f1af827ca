"""Greedy decoding of connectionist temporal classification (CTC) outputs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from speechquant.decoding.types import Transcript, Word

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from speechquant.decoding.types import Vocabulary

__all__ = ["CTCPath", "ctc_greedy", "ctc_transcript", "timed_words"]


@dataclass(frozen=True, slots=True)
class CTCPath:
    """The best path: one entry of `tokens` and `spans` per emitted token, one of `frames` per frame.

    A span is (first frame, last frame + 1) of the run that emitted the token.
    """

    tokens: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    frames: tuple[int, ...]


def ctc_greedy(scores: NDArray[np.floating] | NDArray[np.integer], blank: int) -> CTCPath:
    """Collapse the best path: merge runs of the same id, then drop blanks (Graves et al. 2006, section 3.2).

    Args:
        scores: logits of shape (time, vocabulary), or the arg-max ids of shape (time,).
        blank: the id of the blank.

    Returns:
        The emitted tokens with the frames they cover.
    """
    ids = np.asarray(scores if scores.ndim == 1 else scores.argmax(axis=-1), dtype=np.int64)
    if ids.size == 0:
        return CTCPath((), (), ())
    starts = np.concatenate(([0], np.flatnonzero(np.diff(ids)) + 1))
    ends = np.concatenate((starts[1:], [ids.size]))
    kept = ids[starts] != blank
    spans = zip(starts[kept].tolist(), ends[kept].tolist(), strict=True)
    return CTCPath(tuple(ids[starts[kept]].tolist()), tuple(spans), tuple(ids.tolist()))


def timed_words(
    path: CTCPath, vocabulary: Vocabulary, *, delimiter: int | None, seconds_per_frame: float
) -> tuple[Word, ...]:
    """The words of a path with their times; empty where the vocabulary has no word delimiter.

    Args:
        path: what `ctc_greedy` returned.
        vocabulary: turns the tokens of one word into its text.
        delimiter: id of the token between words.
        seconds_per_frame: hop of the encoder frames, 0.02 for wav2vec 2.0.

    Returns:
        Words in order. A word lasts from its first token's first frame to its last token's last frame.
    """
    if delimiter is None:
        return ()
    cuts = [-1, *(i for i, token in enumerate(path.tokens) if token == delimiter), len(path.tokens)]
    words = []
    for left, right in pairwise(cuts):
        text = vocabulary.decode(path.tokens[left + 1 : right])
        if text:
            first, last = path.spans[left + 1][0], path.spans[right - 1][1]
            words.append(Word(text, first * seconds_per_frame, last * seconds_per_frame))
    return tuple(words)


def ctc_transcript(
    scores: NDArray[np.floating] | NDArray[np.integer],
    vocabulary: Vocabulary,
    *,
    blank: int,
    delimiter: int | None,
    seconds_per_frame: float,
) -> Transcript:
    """The transcript of one utterance from its logits (time, vocabulary) or arg-max ids (time,)."""
    path = ctc_greedy(scores, blank)
    words = timed_words(path, vocabulary, delimiter=delimiter, seconds_per_frame=seconds_per_frame)
    return Transcript(
        text=vocabulary.decode(path.tokens), tokens=path.tokens, frames=path.frames, words=words
    )
