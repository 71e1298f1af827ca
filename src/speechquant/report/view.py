"""What the templates read: the data of a report, judged, grouped and drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from speechquant.report import plots
from speechquant.report.amplitudes import by_layer, clipped_share, layer_amplitudes
from speechquant.report.diff import WordDiff, diff_words
from speechquant.report.verdict import judge, main_pair, speedup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from speechquant.report.amplitudes import LayerAmplitudes
    from speechquant.report.data import Dataset, ReportData, SiteHistogram, System, TranscriptRow

__all__ = ["Figure", "build_view"]

WIDE = 912
NARROW = 326
_FEATURED = 3


@dataclass(frozen=True, slots=True)
class Figure:
    """The same plot for wide pages and for phones, as SVG; the style sheet shows one of them."""

    wide: str
    narrow: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All systems on one data set, with the speakers' rates in percent (one per system) where known."""

    dataset: Dataset
    systems: tuple[System, ...]
    figure: Figure | None
    speakers: tuple[tuple[str, int, tuple[float | None, ...]], ...]


@dataclass(frozen=True, slots=True)
class HistogramPlot:
    """The histogram of one site, or of several that see the same tensor, and its thresholds.

    `marks` are (marker shape, name, threshold, share of the values above it).
    """

    sites: tuple[str, ...]
    svg: str
    marks: tuple[tuple[str, str, float, float], ...]


@dataclass(frozen=True, slots=True)
class HistogramGroup:
    """All histograms of one layer."""

    layer: str
    selected: bool
    plots: tuple[HistogramPlot, ...]


@dataclass(frozen=True, slots=True)
class TranscriptView:
    """One utterance with its changed words."""

    row: TranscriptRow
    diff: WordDiff


def build_view(data: ReportData) -> dict[str, object]:
    """The variables of `page.html`."""
    reference, system = main_pair(data)
    featured, others = _histogram_groups(data)
    ranges = _ranges(data)
    return {
        "data": data,
        "rate": "Disagreement" if data.references == "float model" else "WER",
        "verdict": judge(data),
        "reference": reference,
        "system": system,
        "speedup": speedup(data),
        "evaluations": _evaluations(data),
        "sensitivity": _figure(lambda width: plots.draw_sensitivity(data.layers, data.gamma, width))
        if data.layers
        else None,
        "cutoffs": _figure(
            lambda width: plots.draw_cutoffs(data.cutoffs, data.p_opt, _float_wer(data), width)
        )
        if data.cutoffs
        else None,
        "featured": featured,
        "others": others,
        "ranges": ranges,
        "ranges_figure": _figure(lambda width: plots.draw_ranges(ranges, width)) if ranges else None,
        "latency": _figure(lambda width: plots.draw_latency(data.latency, width)) if data.latency else None,
        "transcripts": [TranscriptView(row, diff_words(row.before, row.after)) for row in data.transcripts],
    }


def _figure(draw: Callable[[int], str]) -> Figure:
    return Figure(draw(WIDE), draw(NARROW))


def _evaluations(data: ReportData) -> list[Evaluation]:
    rate = "disagreement" if data.references == "float model" else "WER"
    found = []
    datasets: tuple[Dataset, ...] = ("test", "dev")
    for dataset in datasets:
        systems = tuple(s for s in data.systems if s.dataset == dataset)
        if systems:
            found.append(Evaluation(dataset, systems, _whiskers(systems, rate), _speakers(systems)))
    return found


def _whiskers(systems: tuple[System, ...], rate: str) -> Figure | None:
    """None where no system has a rate, as on a data set without words."""
    known = [s for s in systems if all(map(math.isfinite, (s.wer, s.low, s.high)))]
    return _figure(lambda width: plots.draw_systems(known, rate, width)) if known else None


def _speakers(systems: tuple[System, ...]) -> tuple[tuple[str, int, tuple[float | None, ...]], ...]:
    tables = [{speaker.speaker: speaker for speaker in s.speakers} for s in systems]
    words = {speaker.speaker: speaker.words for s in systems for speaker in s.speakers}
    return tuple(
        (name, words[name], tuple(table[name].wer if name in table else None for table in tables))
        for name in sorted(words)
    )


def _float_wer(data: ReportData) -> float | None:
    """The float model's WER on the dev set, from its own row or from the sensitivity analysis."""
    system = data.system("float", "dev")
    if system is not None:
        return system.wer
    return data.layers[0].wer - data.layers[0].delta if data.layers else None


def _ranges(data: ReportData) -> list[LayerAmplitudes]:
    pooled = (layer_amplitudes(layer, sites) for layer, sites in by_layer(data.histograms))
    return [layer for layer in pooled if layer is not None]


def _histogram_groups(data: ReportData) -> tuple[list[HistogramGroup], list[HistogramGroup]]:
    """The layers to show at once (the selected ones, else those with the longest tails) and the rest."""
    featured = set(data.selected_layers)
    if not featured & {site.layer for site in data.histograms}:
        tails = sorted(_ranges(data), key=lambda r: r.maximum / (r.q999 or 1), reverse=True)
        featured = {r.layer for r in tails[:_FEATURED]}
    groups = [
        HistogramGroup(layer, layer in data.selected_layers, _plots(sites))
        for layer, sites in by_layer(data.histograms)
    ]
    return [g for g in groups if g.layer in featured], [g for g in groups if g.layer not in featured]


def _plots(sites: Sequence[SiteHistogram]) -> tuple[HistogramPlot, ...]:
    """One plot for all sites that look the same, such as the inputs of query, key and value."""
    alike: dict[object, list[SiteHistogram]] = {}
    for site in sites:
        seen = site.histogram
        key = (seen.counts.tobytes(), seen.width, seen.maximum, tuple(site.thresholds.items()))
        alike.setdefault(key, []).append(site)
    return tuple(_histogram(group) for group in alike.values())


def _histogram(alike: Sequence[SiteHistogram]) -> HistogramPlot:
    site, names = alike[0], tuple(other.site for other in alike)
    marks = tuple(
        (plots.marker_of(name), name, value, 100 * clipped_share(site.histogram, value))
        for name, value in site.thresholds.items()
    )
    return HistogramPlot(names, plots.draw_histogram(replace(site, site=", ".join(names))), marks)
