"""What the templates read: the data of a report, judged, grouped and drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from speechquant.report import plots
from speechquant.report.aligned import align, payload
from speechquant.report.amplitudes import by_layer, layer_amplitudes
from speechquant.report.data import Cost
from speechquant.report.layers import BAR_WIDTH, build_picker
from speechquant.report.verdict import judge, main_pair, speedup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from speechquant.report.aligned import Aligned
    from speechquant.report.amplitudes import LayerAmplitudes
    from speechquant.report.data import Dataset, ReportData, System

__all__ = ["Figure", "build_view"]

WIDE = 912
NARROW = 326


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


def build_view(data: ReportData) -> dict[str, object]:
    """The variables of `page.html`."""
    reference, system = main_pair(data)
    ranges = _ranges(data)
    shared = tuple(c for c in data.cutoffs if c.layer is None)
    utterances = align(data.transcripts, data.normalizer)
    return {
        "data": data,
        "rate": "Disagreement" if data.references == "float model" else "WER",
        "verdict": judge(data),
        "reference": reference,
        "system": system,
        "speedup": speedup(data),
        "evaluations": _evaluations(data),
        "tradeoff": _tradeoff(data),
        "picker": build_picker(data),
        "bar_width": BAR_WIDTH,
        "cutoffs": _figure(lambda width: plots.draw_cutoffs(shared, data.p_opt, _float_wer(data), width))
        if shared
        else None,
        "shared_cutoffs": shared,
        "ranges": ranges,
        "ranges_figure": _figure(lambda width: plots.draw_ranges(ranges, width)) if ranges else None,
        "bits": _figure(lambda width: plots.draw_bits(data.matrix_bits, data.learning, width))
        if data.matrix_bits
        else None,
        "bit_history": _figure(lambda width: plots.draw_bit_history(data.learning, width))
        if any("bits" in row for row in data.learning)
        else None,
        "latency": _figure(lambda width: plots.draw_latency(data.latency, width)) if data.latency else None,
        "utterances": payload(utterances),
        "recordings": dict(data.recordings),
        "filters": _filters(utterances),
        "learning": _figure(lambda width: plots.draw_learning(data.learning, data.learning_float, width))
        if data.learning
        else None,
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


def _tradeoff(data: ReportData) -> Figure | None:
    """None where fewer than two systems have the same kind of cost."""
    costs = [[p for p in data.tradeoff if p.cost(kind) is not None] for kind in get_args(Cost)]
    if max(map(len, costs)) < 2:  # noqa: PLR2004
        return None
    rate = "disagreement" if data.references == "float model" else "WER"
    return _figure(lambda width: plots.draw_tradeoff(data.tradeoff, width, rate))


def _filters(utterances: Sequence[Aligned]) -> dict[str, int]:
    """How many utterances each filter of the explorer shows."""
    return {
        "all": len(utterances),
        "changed": sum(item.changed for item in utterances),
        "worse": sum(item.errors[1] > item.errors[0] for item in utterances),
        "better": sum(item.errors[1] < item.errors[0] for item in utterances),
    }


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
