"""What a search found, in plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from speechquant.numerics import ScaleTable

__all__ = ["CutoffScore", "LayerSensitivity", "SearchResult"]


@dataclass(frozen=True, slots=True)
class LayerSensitivity:
    """Stage 1 for one layer: the WER (percent) with only this layer quantized, and its distance to float.

    `share` is the part of the words on which that was decided; below 1 the figures are estimates.
    """

    layer: str
    wer: float
    delta: float
    selected: bool
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class CutoffScore:
    """Stage 2 for one cut-off `p` in percent. `layer` is None while all selected layers share one.

    `share` is the part of the words that the candidate was evaluated on; below 1 it has lost, by estimates.
    """

    p: float
    wer: float
    errors: int
    layer: str | None = None
    share: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class SearchResult:
    """The best scale table and how it was found.

    `selected_layers` are those that are clipped, `p_opt` maps each of them to its cut-off in percent (all equal unless
    searched per layer). `float_layers` were selected too, and left out of the table because no cut-off saved them, in
    the order in which they left; `cutoffs` are the trials of the search without them.
    `dev_passes` counts passes over the development set, `dev_requests` the evaluations asked for; the difference
    was answered without running the model, or after a part of the set.
    """

    table: ScaleTable
    dev_wer: float
    selected_layers: tuple[str, ...] = ()
    p_opt: Mapping[str, float] | None = None
    sensitivity: tuple[LayerSensitivity, ...] = ()
    cutoffs: tuple[CutoffScore, ...] = ()
    float_layers: tuple[str, ...] = ()
    dev_passes: int = 0
    dev_requests: int = 0
