"""Word error rate against size and against latency: which system gives most for what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechquant.report.formats import NBSP, number, percent
from speechquant.report.plots.axes import x_axis, y_axis
from speechquant.report.plots.canvas import Canvas
from speechquant.report.plots.labels import Labels
from speechquant.report.plots.scales import LinearScale, LogScale, Scale, fitting_scale
from speechquant.report.plots.spots import Spot, draw_frontier, draw_labels, draw_whiskers, placed, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from speechquant.report.data import Cost, TradeoffPoint

__all__ = ["draw_tradeoff"]

_TOP, _BOTTOM, _LEFT, _GAP = 34, 290, 44, 44
_STACKED_BELOW = 600
_LOG_FROM_RATIO = 20
_MARKERS = {"float": "square", "quantized": "disc", "naive_max": "triangle", "simulated": "diamond"}
_UNITS = {"megabytes": "MB", "milliseconds": "ms"}
_NAMES = {"megabytes": "size in MB", "milliseconds": "latency in ms"}


def draw_tradeoff(points: Sequence[TradeoffPoint], width: int, rate: str = "WER") -> str:
    """One panel for size and one for latency, side by side or on phones one above the other.

    A panel is left out where fewer than two systems have that cost; better is always towards the lower left.
    """
    kinds: tuple[Cost, ...] = ("megabytes", "milliseconds")
    panels = [kind for kind in kinds if len(placed(points, kind)) > 1]
    stacked = width < _STACKED_BELOW
    rows = len(panels) if stacked else 1
    each = width if stacked or len(panels) < 2 else (width - _GAP) / 2  # noqa: PLR2004
    spoken = "; ".join(_spoken(p) for p in points)
    canvas = Canvas(width, (_BOTTOM + 50) * rows, f"{rate} against size and latency: {spoken}")
    shown = [p for kind in panels for p in placed(points, kind)]
    limits = (min((p.low for p in shown), default=0.0), max((p.high for p in shown), default=1.0))
    for index, kind in enumerate(panels):
        left, down = (0, index * (_BOTTOM + 50)) if stacked else (index * (each + _GAP), 0)
        frame = ((left, down), (left + each, down + _BOTTOM))
        _panel(canvas, placed(points, kind), kind, frame, (f"{rate} in %", limits))
    return canvas.markup()


def _spoken(point: TradeoffPoint) -> str:
    costs = [
        f"{number(value)} {unit}"
        for kind, unit in _UNITS.items()
        if (value := getattr(point, kind)) is not None
    ]
    return ", ".join([f"{point.label} {percent(point.wer)}", *costs])


def _panel(
    canvas: Canvas,
    points: Sequence[TradeoffPoint],
    kind: Cost,
    frame: tuple[tuple[float, float], tuple[float, float]],
    rate: tuple[str, tuple[float, float]],
) -> None:
    (start, down), (end, bottom) = frame
    name, limits = rate
    y = fitting_scale(limits, bottom, down + _TOP)
    x = _cost_scale([p.cost(kind) or 0.0 for p in points], start + _LEFT, end)
    canvas.text((start, down + 14), name + (", logarithmic" if isinstance(y, LogScale) else ""), "axis")
    y_axis(canvas, y, start + _LEFT, end)
    cost = _NAMES[kind] + (", logarithmic" if isinstance(x, LogScale) else "")
    x_axis(canvas, x, (down + _TOP, bottom), cost, end=end)
    spots = [Spot(p, x(p.cost(kind) or 0.0), y(p.wer), (y(p.low), y(p.high))) for p in points]
    spots = spread(spots, end)
    draw_frontier(canvas, spots, kind)
    labels = Labels((start + _LEFT, down + _TOP - 10), (end, bottom))
    for spot in spots:
        draw_whiskers(canvas, spot, f"whisker thin stroke-{spot.point.key}", labels)
    for spot in spots:
        p = spot.point
        tip = (
            f"{p.label}: {percent(p.wer)} ({percent(p.low)} to {percent(p.high)}), "
            f"{number(p.cost(kind) or 0.0)}{NBSP}{_UNITS[kind]}"
        )
        canvas.marker(_MARKERS[p.key], (spot.x, spot.y), f"dot fill-{p.key}", size=1.5, tip=tip)
    draw_labels(canvas, spots, labels)


def _cost_scale(costs: Sequence[float], start: float, end: float) -> Scale:
    """From zero, so that half the way is half the cost, unless the costs lie too far apart for that."""
    low, high = min(costs), max(costs)
    if low > 0 and high / low > _LOG_FROM_RATIO:
        return LogScale(low / 1.5, high * 1.5, start, end)
    return LinearScale(0, 1.12 * high or 1.0, start, end)
