"""Put items of like length together, so that little or nothing is padded."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["length_batches"]


def length_batches(
    lengths: Sequence[float], *, maximum_total: float, exact: bool = False, maximum_count: int | None = None
) -> list[list[int]]:
    """Divide items into batches by length, shortest first.

    Args:
        lengths: of every item, in any unit: seconds of utterances, or numbers of samples.
        maximum_total: a batch's size after padding, its longest length times its count, stays within this, in
            the unit of `lengths`; an item that is longer alone gets a batch of its own.
        exact: only items of equal length share a batch, for models whose output padding would change.
        maximum_count: at most this many items in a batch.

    Returns:
        Indices into `lengths`; every index once, items of equal length in their original order.

    Raises:
        ValueError: a limit is not positive.
    """
    if maximum_total <= 0 or (maximum_count is not None and maximum_count < 1):
        raise ValueError("the limits of a batch must be positive")
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda at: lengths[at]):
        last = batches[-1] if batches else []
        # Ascending order makes the newcomer the longest of its batch.
        fits = (
            bool(last)
            and lengths[index] * (len(last) + 1) <= maximum_total
            and (maximum_count is None or len(last) < maximum_count)
            and (not exact or lengths[last[0]] == lengths[index])
        )
        if fits:
            last.append(index)
        else:
            batches.append([index])
    return batches
