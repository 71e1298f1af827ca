"""StableQuant: which layers to clip, and where (arXiv 2504.14915, Algorithm 1).

Where listing, prose and README of the paper disagree, the default follows the listing:

* Layers are selected under the max calibrator (line 4 has p = 0, m = 0); the prose says percentile, which
  `selection_calibrator="percentile"` gives.
* While one layer is tested its activations alone are quantized; `selection_weights=True` adds its weights.
* Layers are selected at 8 bit whatever the final width: Table II has one selected set for all widths.
* One cut-off is shared by the selected layers (line 24); `per_layer=True` goes on by coordinate descent.
* The model scored in stage 2 has quantized weights as well, since that is the model that ships.
* `max_drop` goes a step beyond the paper and leaves layers in float that no cut-off saves (`fallback`).

Given a `Jury`, both stages stop candidates early (`race`); each then chooses what it would have chosen otherwise with
probability 1 - `ALPHA`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from speechquant.numerics import ScaleTable
from speechquant.search.cache import CountingEvaluator
from speechquant.search.fallback import Choice, fall_back
from speechquant.search.race import ALPHA, halving
from speechquant.search.result import CutoffScore, LayerSensitivity, SearchResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from speechquant.search.cache import DevScore

__all__ = ["CUTOFFS", "GAMMA", "Tables", "quantize_with", "search_cutoffs", "select_layers", "stablequant"]

GAMMA = 0.25
"""Points of absolute WER a layer may cost before it is clipped (section III-B)."""

CUTOFFS = tuple(round(0.01 * k, 2) for k in range(51))
"""P = 0.00, 0.01 ... 0.50 percent (section III-B): 51 candidates, 0.2 keeps 99.8 % of all magnitudes."""


@dataclass(frozen=True, slots=True)
class Tables:
    """How a search asks for scale tables without knowing the model.

    `activations(layers, calibrator, bits, **options)` and `weights(layers, bits)` cover the sites of `layers`.
    """

    activations: Callable[..., ScaleTable]
    weights: Callable[[Iterable[str], int], ScaleTable]


def select_layers(
    layers: Sequence[str],
    tables: Tables,
    evaluate: Callable[[ScaleTable], DevScore],
    *,
    gamma: float = GAMMA,
    bits: int = 8,
    calibrator: str = "max",
    with_weights: bool = False,
    on_step: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> tuple[LayerSensitivity, ...]:
    """Stage 1: quantize one layer at a time; those that cost more than `gamma` points are selected."""
    counted, unchanged = CountingEvaluator.of(evaluate), ScaleTable({})
    reference = counted(unchanged)
    margin, alpha = gamma * reference.words / 100, ALPHA / max(1, len(layers))
    found = []
    for layer in layers:
        on_step(f"layer {layer}")
        table = tables.activations([layer], calibrator, bits, **options)
        if with_weights:
            table = table.merged(tables.weights([layer], bits))
        heat = counted.compete(table, unchanged, margin=margin, alpha=alpha)
        wer = 100.0 * heat.errors / reference.words
        delta = wer - reference.wer
        found.append(LayerSensitivity(layer, wer, delta, heat.lost or delta > gamma, heat.share))
    return tuple(found)


def search_cutoffs(
    layers: Sequence[str],
    p_by_layer: Mapping[str, float],
    vary: Iterable[str],
    tables: Tables,
    evaluate: Callable[[ScaleTable], DevScore],
    *,
    bits: tuple[int, int],
    cutoffs: Sequence[float] = CUTOFFS,
    label: str | None = None,
    on_step: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> tuple[ScaleTable, Mapping[str, float], tuple[CutoffScore, ...]]:
    """Stage 2: try every cut-off on the layers in `vary`, everything else fixed; ties go to the smallest.

    Args:
        layers: all layers of the model that are to be quantized.
        p_by_layer: the present cut-off of each selected layer, percent.
        vary: the selected layers that share the cut-off under trial.
        tables: makes scale tables.
        evaluate: scores a table on the development set.
        bits: of weights and of activations.
        cutoffs: candidates in percent.
        label: what to name the trial in the scores.
        on_step: told what is tried next.
        options: for the calibrator (`start_bin`, `fold`).

    Returns:
        The best table, the cut-offs that made it, and the score of every candidate.
    """
    varied, counted = set(vary), CountingEvaluator.of(evaluate)
    trials = [{layer: p if layer in varied else old for layer, old in p_by_layer.items()} for p in cutoffs]
    made = [quantize_with(layers, trial, tables, bits=bits, **options) for trial in trials]
    best, *others = _order(made, counted)
    on_step(_trying(cutoffs[best], label))
    first = counted(made[best])
    scores = {best: CutoffScore(cutoffs[best], first.wer, first.errors, label)}
    for index in others:
        on_step(_trying(cutoffs[index], label))
        # Errors are whole numbers: half an error less, and a later candidate loses with as many.
        heat = counted.compete(made[index], made[best], margin=0.0 if index < best else -0.5)
        wer = 100.0 * heat.errors / first.words
        scores[index] = CutoffScore(cutoffs[index], wer, round(heat.errors), label, heat.share)
        if not heat.lost and (heat.errors, index) < (scores[best].errors, best):
            best = index
    return made[best], trials[best], tuple(scores[index] for index in range(len(cutoffs)))


def _trying(p: float, label: str | None) -> str:
    return f"cut-off {p:g} %" + (f" on {label}" if label else "")


def _order(tables: Sequence[ScaleTable], counted: CountingEvaluator) -> list[int]:
    """As they come; or, where a good candidate stops others, known ones first, then from the middle outwards."""
    if not counted.stops:
        return list(range(len(tables)))
    return sorted(halving(len(tables)), key=lambda index: not counted.knows(tables[index]))


def quantize_with(
    layers: Sequence[str],
    p_by_layer: Mapping[str, float],
    tables: Tables,
    *,
    bits: tuple[int, int],
    **options: Any,
) -> ScaleTable:
    """Lines 14-20: clip and MSE for the selected layers, MSE alone for the others; weights as they are."""
    table = tables.weights(layers, bits[0])
    by_cutoff: dict[float, list[str]] = {}
    for layer in layers:
        by_cutoff.setdefault(p_by_layer.get(layer, 0.0), []).append(layer)
    for cutoff, alike in by_cutoff.items():
        table = table.merged(tables.activations(alike, "stablequant", bits[1], cutoff=cutoff, **options))
    return table


def stablequant(
    layers: Sequence[str],
    tables: Tables,
    evaluate: Callable[[ScaleTable], DevScore],
    *,
    bits: tuple[int, int] = (8, 8),
    gamma: float = GAMMA,
    cutoffs: Sequence[float] = CUTOFFS,
    select_bits: int = 8,
    selection_calibrator: str = "max",
    selection_weights: bool = False,
    per_layer: bool = False,
    max_drop: float | None = None,
    shipped: Callable[[ScaleTable], DevScore] | None = None,
    on_step: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> SearchResult:
    """Algorithm 1: both stages; see the head of this module for the decisions behind the defaults.

    With `max_drop`, in points of absolute WER, clipped layers are left in float as long as the best table is worse
    than the float model by more; None and infinity leave none. The result then has the trials of the last search.
    `shipped` scores these tables where the model will be better than `evaluate` knows, since weights are rounded by
    speech in the end.
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

    def choose(kept: Sequence[str]) -> Choice:
        gone = ", ".join(layer for layer in selected if layer not in kept)
        return _choose(
            kept,
            [layer for layer in selected if layer in kept],
            tables,
            counted,
            cutoffs=cutoffs,
            per_layer=per_layer,
            bits=bits,
            on_step=lambda what: on_step(f"{what} without {gone}" if gone else what),
            **options,
        )

    final = counted if shipped is None else CountingEvaluator(shipped)

    def judged(choice: Choice) -> Choice:
        return choice if shipped is None else replace(choice, score=final(choice.table))

    choice, left = choose(layers), tuple[str, ...]()
    if selected and max_drop is not None and max_drop < math.inf:
        reference = counted(ScaleTable({}))
        choice, left = fall_back(
            judged(choice), lambda kept: judged(choose(kept)), reference, sensitivity, max_drop=max_drop
        )
    return SearchResult(
        choice.table,
        choice.score.wer,
        tuple(layer for layer in selected if layer not in left),
        choice.p_opt,
        sensitivity,
        choice.cutoffs,
        left,
        dev_passes=counted.passes + (0 if shipped is None else final.passes),
        dev_requests=counted.requests + (0 if shipped is None else final.requests),
    )


def _choose(
    layers: Sequence[str],
    selected: Sequence[str],
    tables: Tables,
    counted: CountingEvaluator,
    *,
    cutoffs: Sequence[float],
    per_layer: bool,
    **common: Any,
) -> Choice:
    """Stage 2 over `layers`, with a cut-off for each of the `selected` ones if asked for."""
    # With nothing to clip every cut-off is the same model.
    candidates = cutoffs if selected else (0.0,)
    start = dict.fromkeys(selected, 0.0)
    table, p_opt, scores = search_cutoffs(
        layers, start, selected, tables, counted, cutoffs=candidates, **common
    )
    if per_layer and len(selected) > 1:
        table, p_opt, scores = _descend(layers, p_opt, scores, tables, counted, cutoffs=cutoffs, **common)
    return Choice(table, counted(table), p_opt, scores)


def _descend(
    layers: Sequence[str],
    p_opt: Mapping[str, float],
    scores: tuple[CutoffScore, ...],
    tables: Tables,
    evaluate: CountingEvaluator,
    **common: Any,
) -> tuple[ScaleTable, Mapping[str, float], tuple[CutoffScore, ...]]:
    """Coordinate descent from the shared cut-off, layer by layer, until a round changes nothing."""
    while True:
        before = dict(p_opt)
        for layer in before:
            table, p_opt, more = search_cutoffs(
                layers, p_opt, [layer], tables, evaluate, label=layer, **common
            )
            scores += more
        if dict(p_opt) == before:
            return table, p_opt, scores
