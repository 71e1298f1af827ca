"""Search for the best scale table on a development set."""

from speechquant.search.adaptive import layer_adaptive
from speechquant.search.cache import CountingEvaluator, DevScore
from speechquant.search.plain import plain, plain_stablequant
from speechquant.search.race import ALPHA, Heat, Jury, race
from speechquant.search.result import CutoffScore, LayerSensitivity, SearchResult
from speechquant.search.stablequant import (
    CUTOFFS,
    GAMMA,
    Tables,
    quantize_with,
    search_cutoffs,
    select_layers,
    stablequant,
)

__all__ = [
    "ALPHA",
    "CUTOFFS",
    "GAMMA",
    "CountingEvaluator",
    "CutoffScore",
    "DevScore",
    "Heat",
    "Jury",
    "LayerSensitivity",
    "SearchResult",
    "Tables",
    "layer_adaptive",
    "plain",
    "plain_stablequant",
    "quantize_with",
    "race",
    "search_cutoffs",
    "select_layers",
    "stablequant",
]
