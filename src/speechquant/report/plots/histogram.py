"""One activation histogram with the thresholds of several calibrators (StableQuant, Figure 1) and their errors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from speechquant.report.amplitudes import clipped_share, rebin
from speechquant.report.formats import number
from speechquant.report.plots.axes import x_axis
from speechquant.report.plots.canvas import Canvas
from speechquant.report.plots.scales import LinearScale, LogScale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from speechquant.report.curves import ErrorCurve
    from speechquant.report.data import SiteHistogram

__all__ = ["MARKERS", "draw_site", "marker_of"]

MARKERS = {"max": "square", "percentile": "triangle", "mse": "diamond", "chosen": "disc"}
_WIDTH = 320
_TOP = 18
_BOTTOM = 140
_CURVE_TOP, _CURVE_BOTTOM = 172, 246
_CURVE_SPAN = 1e5
_LEFT = 34
_BARS = 96


def marker_of(threshold: str) -> str:
    """The shape that stands for a threshold; names other than the usual ones share one."""
    return next((shape for name, shape in MARKERS.items() if threshold.startswith(name)), "diamond")


def draw_site(site: SiteHistogram, curve: ErrorCurve | None) -> str:
    """Counts of |x| on a logarithmic axis; what the chosen threshold clips away is shaded.

    Below it, over the same thresholds, the error of every scale that could have been taken.
    """
    spoken = ", ".join(f"{name} {number(value)}" for name, value in site.thresholds.items())
    bottom = _BOTTOM if curve is None else _CURVE_BOTTOM
    canvas = Canvas(_WIDTH, bottom + 24, f"Histogram of {site.site}; thresholds: {spoken}")
    right = max(site.histogram.maximum, *site.thresholds.values(), 0.0) or 1.0
    x = LinearScale(0, right, _LEFT, _WIDTH - 8)
    chosen = site.thresholds.get("chosen")
    if chosen is not None and clipped_share(site.histogram, chosen) > 0:
        canvas.rect((x(chosen), _TOP), (_WIDTH - 8 - x(chosen), bottom - _TOP), "clipped")
    _draw_counts(canvas, site, x)
    x_axis(canvas, x, (bottom, bottom + 3), "")
    if curve is not None:
        _draw_curve(canvas, curve, x, chosen)
    for name, value in sorted(site.thresholds.items(), key=lambda item: item[0] == "chosen"):
        style = "chosen" if name == "chosen" else "other"
        canvas.line((x(value), _TOP - 8), (x(value), bottom), f"mark-{style}")
        canvas.marker(marker_of(name), (x(value), _TOP - 10), f"marker-{style}")
    return canvas.markup()


def _draw_counts(canvas: Canvas, site: SiteHistogram, x: LinearScale) -> None:
    edges, counts = rebin(site.histogram, _BARS)
    y = LogScale(0.5, max(int(counts.max()), 10) * 1.2, _BOTTOM, _TOP + 4)
    _log_axis(canvas, y, [tick for tick in y.ticks() if tick >= 1])
    canvas.path(_steps(edges, counts, x, y), "area", closed=True)
    canvas.line((_LEFT, _BOTTOM), (_WIDTH - 8, _BOTTOM), "baseline")


def _draw_curve(canvas: Canvas, curve: ErrorCurve, x: LinearScale, chosen: float | None) -> None:
    seen = curve.clipped[curve.clipped > 0]
    if not len(seen):
        return
    top = max(float(curve.whole.max()), float(seen.max()))
    y = LogScale(max(float(seen.min()), top / _CURVE_SPAN) / 1.6, top * 1.3, _CURVE_BOTTOM, _CURVE_TOP)
    _log_axis(canvas, y, _thinned([tick for tick in y.ticks() if math.log10(tick).is_integer()]))
    canvas.text((_WIDTH - 8, _CURVE_TOP - 4), "mean squared error", "tick", "end")
    limits = curve.thresholds
    if (curve.whole > curve.clipped).any():
        canvas.path([(x(t), y(e)) for t, e in zip(limits, curve.whole, strict=True)], "curve-whole")
    canvas.path([(x(t), y(e)) for t, e in zip(limits, curve.clipped, strict=True)], "curve-error")
    canvas.line((_LEFT, _CURVE_BOTTOM), (_WIDTH - 8, _CURVE_BOTTOM), "baseline")
    if chosen is not None and limits[0] <= chosen <= limits[-1]:
        error = float(np.interp(chosen, limits, curve.clipped))
        tip = f"chosen: error {number(error)} at {number(chosen)}"
        canvas.circle((x(chosen), y(error)), 4, "dot fill-selected", tip)


def _log_axis(canvas: Canvas, y: LogScale, ticks: Sequence[float]) -> None:
    for tick in ticks:
        canvas.line((_LEFT, y(tick)), (_WIDTH - 8, y(tick)), "grid")
        canvas.text((_LEFT - 5, y(tick) + 4), _power(tick), "tick", "end")


def _thinned(ticks: Sequence[float]) -> Sequence[float]:
    """At most four, the top one among them."""
    return ticks[:: -max(1, math.ceil(len(ticks) / 4))]


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
    if 0 <= exponent < 3:  # noqa: PLR2004
        return number(value)
    digits = "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(d)] for d in str(abs(exponent)))
    return f"10{'⁻' if exponent < 0 else ''}{digits}"
