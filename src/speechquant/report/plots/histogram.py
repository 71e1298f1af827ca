"""One activation histogram with the thresholds of several calibrators (StableQuant, Figure 1)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from speechquant.report.amplitudes import clipped_share, rebin
from speechquant.report.formats import number
from speechquant.report.plots.axes import x_axis
from speechquant.report.plots.canvas import Canvas
from speechquant.report.plots.scales import LinearScale, LogScale

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from speechquant.report.data import SiteHistogram

__all__ = ["MARKERS", "draw_histogram", "marker_of"]

MARKERS = {"max": "square", "percentile": "triangle", "mse": "diamond", "chosen": "disc"}
_WIDTH = 320
_TOP = 18
_BOTTOM = 140
_LEFT = 34
_BARS = 96


def marker_of(threshold: str) -> str:
    """The shape that stands for a threshold; names other than the usual ones share one."""
    return next((shape for name, shape in MARKERS.items() if threshold.startswith(name)), "diamond")


def draw_histogram(site: SiteHistogram) -> str:
    """Counts of |x| on a logarithmic axis; what the chosen threshold clips away is shaded."""
    edges, counts = rebin(site.histogram, _BARS)
    spoken = ", ".join(f"{name} {number(value)}" for name, value in site.thresholds.items())
    canvas = Canvas(_WIDTH, _BOTTOM + 24, f"Histogram of {site.site}; thresholds: {spoken}")
    right = max(site.histogram.maximum, *site.thresholds.values(), 0.0) or 1.0
    x = LinearScale(0, right, _LEFT, _WIDTH - 8)
    y = LogScale(0.5, max(int(counts.max()), 10) * 1.2, _BOTTOM, _TOP + 4)
    for tick in y.ticks():
        if tick >= 1:
            canvas.line((_LEFT, y(tick)), (_WIDTH - 8, y(tick)), "grid")
            canvas.text((_LEFT - 5, y(tick) + 4), _power(tick), "tick", "end")
    chosen = site.thresholds.get("chosen")
    if chosen is not None and clipped_share(site.histogram, chosen) > 0:
        canvas.rect((x(chosen), _TOP), (_WIDTH - 8 - x(chosen), _BOTTOM - _TOP), "clipped")
    canvas.path(_steps(edges, counts, x, y), "area", closed=True)
    canvas.line((_LEFT, _BOTTOM), (_WIDTH - 8, _BOTTOM), "baseline")
    x_axis(canvas, x, (_BOTTOM, _BOTTOM + 3), "")
    for name, value in sorted(site.thresholds.items(), key=lambda item: item[0] == "chosen"):
        style = "chosen" if name == "chosen" else "other"
        canvas.line((x(value), _TOP - 8), (x(value), _BOTTOM), f"mark-{style}")
        canvas.marker(marker_of(name), (x(value), _TOP - 10), f"marker-{style}")
    return canvas.markup()


def _steps(
    edges: NDArray[np.float64], counts: NDArray[np.int64], x: LinearScale, y: LogScale
) -> Sequence[tuple[float, float]]:
    points = [(x(float(edges[0])), _BOTTOM + 0.0)]
    for left, right, n in zip(edges[:-1], edges[1:], counts, strict=True):
        height = y(int(n))
        points += [(x(float(left)), height), (x(float(right)), height)]
    return [*points, (points[-1][0], _BOTTOM + 0.0)]


def _power(value: float) -> str:
    exponent = round(math.log10(value))
    digits = "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(d)] for d in str(exponent))
    return number(value) if exponent < 3 else f"10{digits}"  # noqa: PLR2004
