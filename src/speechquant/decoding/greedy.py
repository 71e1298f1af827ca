"""Greedy autoregressive search that always ends, for any network behind a callback."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["GreedyResult", "greedy_search", "token_limit"]

_REPEATS = 8
_REPEATED_TOKENS = 16
_LONGEST_CYCLE = 16


@dataclass(frozen=True, slots=True)
class GreedyResult:
    """The tokens of one utterance, without the start and end tokens.

    `capped` says that the search was stopped by the length limit or by a repetition instead of an end token.
    """

    tokens: tuple[int, ...]
    capped: bool


@dataclass(slots=True)
class _Row:
    """The growing output of one utterance."""

    limit: int
    tokens: list[int] = field(default_factory=list)
    done: bool = False
    capped: bool = False

    def push(self, token: int, end: int) -> None:
        """Take one more token. A row may have `limit` tokens, the end token included."""
        if token == end:
            self.done = True
            return
        self.tokens.append(token)
        if len(self.tokens) >= self.limit or _repeats(self.tokens):
            self.done = self.capped = True


def token_limit(samples: int, sampling_rate: int, *, per_second: float = 6.5, extra: int = 4) -> int:
    """Most tokens that speech of this length can have.

    6.5 tokens a second is the bound published with Moonshine (arXiv 2410.15608); the constant covers very
    short audio.
    """
    return int(samples / sampling_rate * per_second) + extra


def _repeats(tokens: list[int]) -> bool:
    """Whether the tail is one cycle of up to 16 tokens said at least 8 times and over at least 16 tokens.

    No sentence does that; a network broken by quantization does, and would go on until the length limit.
    """
    for period in range(1, _LONGEST_CYCLE + 1):
        span = max(_REPEATS * period, _REPEATED_TOKENS)
        if span > len(tokens):
            return False
        if tokens[-1] != tokens[-1 - period]:
            continue
        tail = tokens[-span:]
        if tail[period:] == tail[:-period]:
            return True
    return False


def greedy_search(
    step: Callable[[NDArray[np.int64], int], NDArray[np.floating]],
    *,
    batch: int,
    start: int,
    end: int,
    limits: Sequence[int],
) -> list[GreedyResult]:
    """Decode `batch` utterances side by side, taking the best token at every step.

    Args:
        step: maps (tokens (batch, 1), number of tokens fed before) to logits (batch, vocabulary). It
            keeps the network's caches. Rows that have ended are fed `end` until the last row is done; their
            logits are ignored.
        batch: number of rows.
        start: the token that starts every row.
        end: the token that ends a row.
        limits: most tokens per row, the end token included; a row with limit 0 is not decoded.

    Returns:
        One result per row. Ends as soon as every row is done.

    Raises:
        ValueError: `limits` has not one entry per row.
    """
    if len(limits) != batch:
        raise ValueError(f"{len(limits)} limits for {batch} rows")
    rows = [_Row(limit, done=limit <= 0, capped=limit <= 0) for limit in limits]
    tokens = np.full((batch, 1), start, dtype=np.int64)
    position = 0
    while not all(row.done for row in rows):
        best = step(tokens, position).argmax(axis=-1)
        position += 1
        for index, row in enumerate(rows):
            if not row.done:
                row.push(int(best[index]), end)
            tokens[index, 0] = end if row.done else best[index]
    return [GreedyResult(tuple(row.tokens), row.capped) for row in rows]
