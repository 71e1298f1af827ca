"""All layers alike: the paper's baselines (Table I), and StableQuant without its selection of layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from speechquant.search.cache import CountingEvaluator
from speechquant.search.result import SearchResult
from speechquant.search.stablequant import CUTOFFS, search_cutoffs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from speechquant.numerics import ScaleTable
    from speechquant.search.cache import DevScore
    from speechquant.search.stablequant import Tables

__all__ = ["plain", "plain_stablequant"]


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


def plain_stablequant(
    layers: Sequence[str],
    tables: Tables,
    evaluate: Callable[[ScaleTable], DevScore],
    *,
    bits: tuple[int, int] = (8, 8),
    cutoffs: Sequence[float] = CUTOFFS,
    on_step: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> SearchResult:
    """Stage 2 of Algorithm 1 with every layer clipped at the same cut-off, as if stage 1 had selected them all.

    What it loses against `stablequant` is what adapting to layers is worth.
    """
    counted = CountingEvaluator(evaluate)
    table, p_opt, scores = search_cutoffs(
        layers,
        dict.fromkeys(layers, 0.0),
        layers,
        tables,
        counted,
        bits=bits,
        cutoffs=cutoffs,
        on_step=on_step,
        **options,
    )
    return SearchResult(
        table,
        counted(table).wer,
        tuple(layers),
        p_opt,
        cutoffs=scores,
        dev_passes=counted.passes,
        dev_requests=counted.requests,
    )
