"""Plots as inline SVG strings. Each takes plain results and a width in pixels, and knows one picture."""

from __future__ import annotations

from speechquant.report.plots.bits import draw_bit_history, draw_bits
from speechquant.report.plots.cutoffs import draw_cutoffs
from speechquant.report.plots.histogram import MARKERS, draw_site, marker_of
from speechquant.report.plots.latency import draw_latency
from speechquant.report.plots.learning import draw_learning
from speechquant.report.plots.ranges import draw_ranges
from speechquant.report.plots.spots import frontier
from speechquant.report.plots.tradeoff import draw_tradeoff
from speechquant.report.plots.whiskers import draw_systems

__all__ = [
    "MARKERS",
    "draw_bit_history",
    "draw_bits",
    "draw_cutoffs",
    "draw_latency",
    "draw_learning",
    "draw_ranges",
    "draw_site",
    "draw_systems",
    "draw_tradeoff",
    "frontier",
    "marker_of",
]
