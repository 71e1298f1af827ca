"""Which waves are decoded together."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from speechquant.decoding.types import Transcript

    Wave = NDArray[np.float32]

__all__ = ["side_by_side"]

# Beyond this the reading of the cross caches, not the number of steps, decides the time on a CPU.
_ROWS = 16


def side_by_side(
    waves: Sequence[Wave], recognize: Callable[[list[Wave]], Sequence[Transcript]]
) -> list[Transcript]:
    """Transcripts of `waves`, in order, made by `recognize` in batches of like length, the longest first.

    Args:
        waves: each of shape (time,).
        recognize: transcribes up to 16 of them, in order.
    """
    order = sorted(range(len(waves)), key=lambda i: (-waves[i].size, i))
    results: dict[int, Transcript] = {}
    for first in range(0, len(order), _ROWS):
        rows = order[first : first + _ROWS]
        results.update(zip(rows, recognize([waves[i] for i in rows]), strict=True))
    return [results[i] for i in range(len(waves))]
