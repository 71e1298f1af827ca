"""Overlapping windows over a recording that comes in blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from speechquant.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

__all__ = ["Window", "cut_windows"]


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """A piece of a recording: samples of shape (time,) and the index of the first one."""

    start: int
    wave: NDArray[np.float32]


def cut_windows(blocks: Iterable[NDArray[np.float32]], *, size: int, overlap: int) -> Iterator[Window]:
    """Windows of `size` samples that start `size - overlap` apart; the last is longer than `overlap`.

    Only one window and one block are held. A recording of at most `size` samples is one window.

    Raises:
        RecipeError: the overlap is not between 0 and half of the window.
    """
    if not 0 < 2 * overlap <= size:
        raise RecipeError(
            f"windows of {size} samples cannot overlap by {overlap}; overlap at most half of them"
        )
    start, held = 0, np.zeros(0, np.float32)
    for block in blocks:
        held = np.concatenate((held, np.asarray(block, np.float32)))
        while held.size > size:
            yield Window(start, held[:size].copy())
            start, held = start + size - overlap, held[size - overlap :]
    if held.size:
        yield Window(start, held)
