"""The per-layer part of the page: a bar to choose a layer by, and everything about that layer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from speechquant.report import formats, plots
from speechquant.report.amplitudes import by_layer, clipped_share, layer_amplitudes
from speechquant.report.curves import error_curve
from speechquant.report.plots.scales import SymLogScale

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from speechquant.report.data import CutoffResult, LayerResult, ReportData, SiteHistogram, WeightSite

__all__ = ["BAR_WIDTH", "Bar", "LayerView", "Picker", "SitePlot", "build_picker"]

BAR_WIDTH = 200
_FEATURED = 3
_CUTOFF_WIDTH = 326


@dataclass(frozen=True, slots=True)
class Bar:
    """A layer's bar in units of `BAR_WIDTH`, the figure at its end, and what it is in words."""

    start: float
    length: float
    text: str
    spoken: str


@dataclass(frozen=True, slots=True)
class SitePlot:
    """One site, or several that see the same tensor.

    `marks` are (marker shape, name, threshold); `clipped` the share of the values above the chosen one, percent.
    """

    sites: tuple[str, ...]
    svg: str
    marks: tuple[tuple[str, str, float], ...]
    clipped: float
    site: SiteHistogram


@dataclass(frozen=True, slots=True)
class LayerView:
    """One layer. `alone` is its sensitivity, `p` its cut-off; `featured` layers are printed.

    It is `clipped`, or `floats` because no cut-off saved it, or neither. `estimates` says that `cutoffs`, the search
    for its own cut-off, has some.
    """

    name: str
    clipped: bool
    floats: bool
    featured: bool
    bar: Bar | None
    alone: LayerResult | None
    p: float | None
    cutoffs: str | None
    estimates: bool
    sites: tuple[SitePlot, ...]
    weights: tuple[WeightSite, ...]


@dataclass(frozen=True, slots=True)
class Picker:
    """All layers; `measure` says what the bars are, `zero` and `gamma` where the lines behind them stand."""

    layers: tuple[LayerView, ...]
    measure: str
    zero: float
    gamma: float | None


def build_picker(data: ReportData) -> Picker | None:
    """None for a run that tells nothing of its layers."""
    sites = dict(by_layer(data.histograms))
    alone = {layer.layer: layer for layer in data.layers}
    weights: dict[str, list[WeightSite]] = {}
    for weight in data.weights:
        weights.setdefault(weight.layer, []).append(weight)
    names = list(dict.fromkeys([*alone, *sites, *weights]))
    if not names:
        return None
    measure, zero, gamma, bars = _sensitivity_bars(data) if alone else _tail_bars(sites)
    featured = _featured(data, sites)
    layers = tuple(
        LayerView(
            name=name,
            clipped=name in data.selected_layers,
            floats=name in data.float_layers,
            featured=name in featured,
            bar=bars.get(name),
            alone=alone.get(name),
            p=data.p_by_layer.get(name, data.p_opt if name in data.selected_layers else None),
            cutoffs=_cutoffs(data, name),
            estimates=any(c.layer == name and c.share < 1 for c in data.cutoffs),
            sites=_plots(sites.get(name, ())),
            weights=tuple(weights.get(name, ())),
        )
        for name in names
    )
    return Picker(layers, measure, zero, gamma)


def _sensitivity_bars(data: ReportData) -> tuple[str, float, float | None, dict[str, Bar]]:
    """WER increase with the layer quantized alone: linear up to gamma, logarithmic beyond."""
    deltas = [layer.delta for layer in data.layers]
    lowest, highest = min(0.0, *deltas), max(2 * data.gamma, *deltas)
    scale = SymLogScale(lowest, highest, data.gamma, 0, BAR_WIDTH)
    zero = scale(0)
    bars = {}
    for layer in data.layers:
        end = scale(layer.delta)
        text = formats.about(formats.points(layer.delta), layer.share)
        bars[layer.layer] = Bar(min(zero, end), max(abs(end - zero), 1.5), text, f"{text} points")
    return "WER increase in points with this layer quantized alone", zero, scale(data.gamma), bars


def _tail_bars(
    sites: dict[str, list[SiteHistogram]],
) -> tuple[str, float, float | None, dict[str, Bar]]:
    """How far the maximum lies above the 99.9th percentile, from 1 on a logarithmic axis."""
    found = [layer_amplitudes(name, group) for name, group in sites.items()]
    tails = {
        layer.layer: layer.maximum / layer.q999 for layer in found if layer is not None and layer.q999 > 0
    }
    scale = SymLogScale(0, max([2.0, *(tail - 1 for tail in tails.values())]), 1, 0, BAR_WIDTH)
    bars = {}
    for name, tail in tails.items():
        text = formats.ratio(tail, 1)
        bars[name] = Bar(0, max(scale(tail - 1), 1.5), text, f"maximum {text} the 99.9th percentile")
    return "Maximum of |x| over its 99.9th percentile", 0, None, bars


def _featured(data: ReportData, sites: dict[str, list[SiteHistogram]]) -> set[str]:
    """The clipped layers and those left in float, else those with the longest tails."""
    selected = {*data.selected_layers, *data.float_layers}
    if selected & sites.keys():
        return selected
    found = [layer_amplitudes(name, group) for name, group in sites.items()]
    tails = sorted((r for r in found if r is not None), key=lambda r: r.maximum / (r.q999 or 1), reverse=True)
    return {r.layer for r in tails[:_FEATURED]}


def _cutoffs(data: ReportData, name: str) -> str | None:
    """The search for the cut-off of this layer alone, where there was one; of equal cut-offs the last trial."""
    trials = {c.p: c for c in data.cutoffs if c.layer == name}
    results: list[CutoffResult] = list(trials.values())
    if not results:
        return None
    return plots.draw_cutoffs(results, data.p_by_layer.get(name), None, _CUTOFF_WIDTH)


def _plots(sites: Iterable[SiteHistogram]) -> tuple[SitePlot, ...]:
    """One plot for all sites that look the same, such as the inputs of query, key and value."""
    alike: dict[object, list[SiteHistogram]] = {}
    for site in sites:
        seen = site.histogram
        key = (seen.counts.tobytes(), seen.width, seen.maximum, tuple(site.thresholds.items()), site.bits)
        alike.setdefault(key, []).append(site)
    return tuple(_plot(group) for group in alike.values())


def _plot(alike: Sequence[SiteHistogram]) -> SitePlot:
    site, names = alike[0], tuple(other.site for other in alike)
    chosen = site.thresholds.get("chosen")
    curve = error_curve(
        site.histogram,
        site.bits,
        cutoff=site.cutoff,
        fold=site.fold,
        start_bin=site.start_bin,
        also=() if chosen is None else (chosen,),
    )
    marks = tuple((plots.marker_of(name), name, value) for name, value in site.thresholds.items())
    clipped = 0.0 if chosen is None else 100 * clipped_share(site.histogram, chosen)
    return SitePlot(names, plots.draw_site(replace(site, site=", ".join(names)), curve), marks, clipped, site)
