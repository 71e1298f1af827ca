"""The paper's layer-adaptive baselines (Table II): StableQuant's selection of layers, another calibrator on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from speechquant.search.cache import CountingEvaluator
from speechquant.search.result import SearchResult
from speechquant.search.stablequant import GAMMA, select_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from speechquant.numerics import ScaleTable
    from speechquant.search.cache import DevScore
    from speechquant.search.stablequant import Tables

__all__ = ["layer_adaptive"]


def layer_adaptive(
    layers: Sequence[str],
    tables: Tables,
    evaluate: Callable[[ScaleTable], DevScore],
    *,
    calibrator: str,
    bits: tuple[int, int] = (8, 8),
    gamma: float = GAMMA,
    select_bits: int = 8,
    selection_calibrator: str = "max",
    selection_weights: bool = False,
    on_step: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> SearchResult:
    """Stage 1 of Algorithm 1; then `calibrator` with its `options` on the selected layers, max on the others.

    The paper does not say what the layers that are not selected get in its baselines; here it is what they had
    while layers were selected and had proven harmless, the exact largest value. There is no second stage, so the
    result is not scored: `dev_wer` is NaN.
    """
    counted = CountingEvaluator(evaluate)
    sensitivity = select_layers(
        layers,
        tables,
        counted,
        gamma=gamma,
        bits=select_bits,
        calibrator=selection_calibrator,
        with_weights=selection_weights,
        on_step=on_step,
    )
    selected = tuple(entry.layer for entry in sensitivity if entry.selected)
    others = [layer for layer in layers if layer not in selected]
    table = tables.weights(layers, bits[0])
    table = table.merged(tables.activations(others, "max", bits[1]))
    table = table.merged(tables.activations(selected, calibrator, bits[1], **options))
    return SearchResult(
        table,
        float("nan"),
        selected,
        sensitivity=sensitivity,
        dev_passes=counted.passes,
        dev_requests=counted.requests,
    )
