"""One calibrator for all layers alike: the paper's baselines (Table I), no search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from speechquant.search.result import SearchResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from speechquant.numerics import ScaleTable
    from speechquant.search.cache import DevScore
    from speechquant.search.stablequant import Tables

__all__ = ["plain"]


def plain(
    layers: Sequence[str],
    tables: Tables,
    evaluate: Callable[[ScaleTable], DevScore],
    *,
    calibrator: str,
    bits: tuple[int, int] = (8, 8),
    **options: Any,
) -> SearchResult:
    """Scales of every layer by `calibrator` with its `options`; one pass over the development set to score it."""
    table = tables.weights(layers, bits[0]).merged(tables.activations(layers, calibrator, bits[1], **options))
    return SearchResult(table, evaluate(table).wer, dev_passes=1, dev_requests=1)
