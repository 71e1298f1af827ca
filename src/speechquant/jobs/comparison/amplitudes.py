"""How large activations and weights are, by kind of layer (StableQuant, Figure 1)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from speechquant.numerics import Histogram
from speechquant.report.amplitudes import group_of
from speechquant.report.compare_amplitudes import AmplitudeFigure, AmplitudeSeries

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from speechquant.models import SpeechModel

__all__ = ["amplitudes", "pooled"]

_PER_OCTAVE = 4
# Below this, one bin covers more than a quarter octave, and even spread would draw teeth.
_RESOLVED = 4


def amplitudes(model: SpeechModel, histograms: Mapping[str, Histogram]) -> tuple[AmplitudeFigure, ...]:
    """Figures 1 (a), (b) and (c) of one model.

    Activations are those that operators read, so those of a convolution are its outputs after the activation
    function. Each tensor counts once, however many operators read it.
    """
    by_layer: dict[str, list[Histogram]] = {}
    kinds: dict[str, list[Histogram]] = {"convolutions": [], "Transformer": []}
    named = {"conv": "convolutions", "transformer": "Transformer"}
    for site in model.sites():
        if site.role == "input" and (kind := named.get(group_of(site.layer))):
            for tensors in (by_layer.setdefault(site.layer, []), kinds[kind]):
                if histograms[site.name] not in tensors:
                    tensors.append(histograms[site.name])
    convs = {layer: found for layer, found in by_layer.items() if group_of(layer) == "conv"}
    return tuple(
        AmplitudeFigure(key, title, tuple(pooled(name, items) for name, items in groups.items() if items))
        for key, title, groups in (
            ("figure1a", "Figure 1 (a): activations behind each convolution", convs),
            ("figure1b", "Figure 1 (b): activations of convolutions and of the Transformer", kinds),
            ("figure1c", "Figure 1 (c): weights of convolutions and of Linears", _weights(model)),
        )
        if any(groups.values())
    )


def _weights(model: SpeechModel) -> dict[str, list[Histogram]]:
    found: dict[str, list[Histogram]] = {"convolutions": [], "Linears": []}
    for site in model.sites():
        if site.role == "weight":
            operator = model.operator(site.module)
            kind = "convolutions" if isinstance(operator, nn.Conv1d) else "Linears"
            weight = operator.get_parameter("weight").detach().cpu().numpy()
            found[kind].append(Histogram.empty().add(weight, site.name))
    return found


def pooled(name: str, histograms: Iterable[Histogram]) -> AmplitudeSeries:
    """Counts of all values by quarter octaves of |x|; edges at 2^(k/4) make series comparable.

    The first bin reaches from 0 to where the coarsest histogram begins to resolve, at `_RESOLVED` of its bins. Inside
    a bin of a histogram values are taken as evenly spread.
    """
    known = [h for h in histograms if h.total]
    low = math.ceil(_PER_OCTAVE * math.log2(_RESOLVED * max((h.width for h in known), default=1.0)))
    high = math.ceil(_PER_OCTAVE * math.log2(max((h.maximum for h in known), default=1.0) or 1.0))
    edges = np.array([0.0, *(2.0 ** (k / _PER_OCTAVE) for k in range(low, max(high, low) + 1))])
    total = np.zeros(len(edges) - 1)
    for histogram in known:
        below = np.concatenate([[0.0], np.cumsum(histogram.counts)])
        total += np.diff(np.interp(edges, histogram.edges, below))
    return AmplitudeSeries(name, tuple(edges.tolist()), tuple(total.tolist()))
