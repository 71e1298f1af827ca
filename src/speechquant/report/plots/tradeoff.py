"""Word error rate against size and against latency: which system gives most for what it costs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from speechquant.report.formats import NBSP, number, percent
from speechquant.report.plots.axes import x_axis, y_axis
from speechquant.report.plots.canvas import Canvas
from speechquant.report.plots.labels import Labels
from speechquant.report.plots.scales import LinearScale, LogScale, Scale, fitting_scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from speechquant.report.data import Cost, TradeoffPoint

__all__ = ["draw_tradeoff", "frontier"]

_TOP, _BOTTOM, _LEFT, _GAP = 34, 290, 44, 44
_STACKED_BELOW = 600
_LOG_FROM_RATIO = 20
_MARKERS = {"float": "square", "quantized": "disc", "naive_max": "triangle", "simulated": "diamond"}
_UNITS = {"megabytes": "MB", "milliseconds": "ms"}
_NAMES = {"megabytes": "size in MB", "milliseconds": "latency in ms"}
_APART = 13


@dataclass(frozen=True, slots=True)
class _Spot:
    """A point in pixels; `ends` are those of its interval, the lower one on the page first."""

    point: TradeoffPoint
    x: float
    y: float
    ends: tuple[float, float]


def frontier(points: Sequence[TradeoffPoint], kind: Cost) -> list[TradeoffPoint]:
    """The points that no other beats in both rate and cost, cheapest first (the Pareto front).

    A simulation is no system that anybody could run instead, so it is never among them.
    """
    front: list[TradeoffPoint] = []
    real = [point for point in _placed(points, kind) if point.key != "simulated"]
    for point in sorted(real, key=lambda p: (p.cost(kind), p.wer)):
        if not front or point.wer < front[-1].wer:
            front.append(point)
    return front


def draw_tradeoff(points: Sequence[TradeoffPoint], width: int, rate: str = "WER") -> str:
    """One panel for size and one for latency, side by side or on phones one above the other.

    A panel is left out where fewer than two systems have that cost; better is always towards the lower left.
    """
    kinds: tuple[Cost, ...] = ("megabytes", "milliseconds")
    panels = [kind for kind in kinds if len(_placed(points, kind)) > 1]
    stacked = width < _STACKED_BELOW
    rows = len(panels) if stacked else 1
    each = width if stacked or len(panels) < 2 else (width - _GAP) / 2  # noqa: PLR2004
    spoken = "; ".join(_spoken(p) for p in points)
    canvas = Canvas(width, (_BOTTOM + 50) * rows, f"{rate} against size and latency: {spoken}")
    shown = [p for kind in panels for p in _placed(points, kind)]
    limits = (min((p.low for p in shown), default=0.0), max((p.high for p in shown), default=1.0))
    for index, kind in enumerate(panels):
        left, down = (0, index * (_BOTTOM + 50)) if stacked else (index * (each + _GAP), 0)
        frame = ((left, down), (left + each, down + _BOTTOM))
        _panel(canvas, _placed(points, kind), kind, frame, (f"{rate} in %", limits))
    return canvas.markup()


def _placed(points: Sequence[TradeoffPoint], kind: Cost) -> list[TradeoffPoint]:
    return [p for p in points if p.cost(kind) is not None and math.isfinite(p.wer)]


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
    spots = _spread([_Spot(p, x(p.cost(kind) or 0.0), y(p.wer), (y(p.low), y(p.high))) for p in points])
    best = frontier(points, kind)
    front = [next((s.x, s.y) for s in spots if s.point is point) for point in best]
    if len(front) > 1:
        canvas.path(_stairs(front), "frontier")
    labels = Labels((start + _LEFT, down + _TOP - 10), (end, bottom))
    for spot in spots:
        _whisker(canvas, spot)
        labels.keep_free((spot.x - 5, spot.ends[1]), (spot.x + 5, spot.ends[0]))
    for spot in spots:
        p = spot.point
        tip = (
            f"{p.label}: {percent(p.wer)} ({percent(p.low)} to {percent(p.high)}), "
            f"{number(p.cost(kind) or 0.0)}{NBSP}{_UNITS[kind]}"
        )
        canvas.marker(_MARKERS[p.key], (spot.x, spot.y), f"dot fill-{p.key}", size=1.5, tip=tip)
    for spot in spots:
        place = labels.place((spot.x, spot.y), spot.point.label, (spot.ends[1], spot.ends[0]))
        if place is not None:
            canvas.text(place.at, spot.point.label, "label halo", place.anchor)


def _spread(spots: Sequence[_Spot]) -> list[_Spot]:
    """Spots that would hide each other move aside, in the order in which they are given."""
    placed: list[_Spot] = []
    for spot in spots:
        x = spot.x
        while any(
            abs(x - o.x) < _APART and o.ends[1] <= spot.ends[0] and spot.ends[1] <= o.ends[0] for o in placed
        ):
            x += _APART
        placed.append(replace(spot, x=x))
    return placed


def _cost_scale(costs: Sequence[float], start: float, end: float) -> Scale:
    """From zero, so that half the way is half the cost, unless the costs lie too far apart for that."""
    low, high = min(costs), max(costs)
    if low > 0 and high / low > _LOG_FROM_RATIO:
        return LogScale(low / 1.5, high * 1.5, start, end)
    return LinearScale(0, 1.12 * high or 1.0, start, end)


def _whisker(canvas: Canvas, spot: _Spot) -> None:
    style = f"whisker thin stroke-{spot.point.key}"
    canvas.line((spot.x, spot.ends[0]), (spot.x, spot.ends[1]), style)
    for y in spot.ends:
        canvas.line((spot.x - 4, y), (spot.x + 4, y), style)


def _stairs(front: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    steps = [front[0]]
    for x, y in front[1:]:
        steps += [(x, steps[-1][1]), (x, y)]
    return steps
