"""Word error rate against size and latency, method by method: what each loses as it shrinks, and which are best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from speechquant.report.formats import NBSP, number, percent
from speechquant.report.plots.axes import x_axis, y_axis
from speechquant.report.plots.canvas import Canvas
from speechquant.report.plots.labels import Labels
from speechquant.report.plots.legend import ROW, Key, draw_legend, legend_rows
from speechquant.report.plots.scales import LinearScale, LogScale, Scale, fitting_scale
from speechquant.report.plots.spots import (
    Spot,
    draw_frontier,
    draw_labels,
    draw_whiskers,
    frontier,
    placed,
    spread,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from speechquant.report.data import Cost, TradeoffPoint

__all__ = ["draw_pareto"]

_LEFT, _RIGHT, _HEIGHT, _GAP = 44, 12, 270, 32
_BELOW = 44
_STACKED_BELOW = 600
_LOG_FROM_RATIO = 20
_COLOURS = 7
_SHAPES = ("disc", "square", "triangle", "diamond")
_REFERENCES = ("reference", "control")
_UNITS: dict[Cost, str] = {"megabytes": "MB", "milliseconds": "ms"}


def draw_pareto(
    points: Sequence[TradeoffPoint],
    references: Sequence[TradeoffPoint],
    width: int,
    size: str,
    latency: str = "latency in ms",
) -> str:
    """Points of one group are joined and have its colour and shape; better is towards the lower left.

    A second panel for latency stands beside that for size, on phones below it, where any point has one.

    Args:
        points: systems with sizes.
        references: the float model, drawn as a line with its interval as a band, and perhaps a control, a line.
        width: in pixels.
        size: what the sizes are, for the axis.
        latency: what the latencies are, for the axis.
    """
    names: dict[Cost, str] = {"megabytes": size, "milliseconds": latency}
    panels = [kind for kind in names if kind == "megabytes" or placed(points, kind)]
    shown = placed(points, "megabytes")
    signs = _signs(shown)
    spoken = "; ".join(_spoken(p, panels) for p in (*references, *shown))
    rows = legend_rows(_keys(shown, references, signs, panels), width)
    stacked = width < _STACKED_BELOW
    each = width if stacked or len(panels) == 1 else (width - _GAP) / 2
    down = _HEIGHT + _BELOW + 34
    top = ROW * len(rows) + 34
    height = top + _HEIGHT + _BELOW + (down * (len(panels) - 1) if stacked else 0)
    what = "size and latency" if len(panels) > 1 else "size"
    canvas = Canvas(width, height, f"WER against {what}: {spoken}")
    draw_legend(canvas, rows)
    for index, kind in enumerate(panels):
        left, upper = (0.0, top + index * down) if stacked else (index * (each + _GAP), float(top))
        frame = _Frame(left, left + each, upper, upper + _HEIGHT)
        _panel(_Panel(canvas, frame, kind, names[kind]), shown, references, signs)
    return canvas.markup()


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where a panel lies: its borders, axis labels at the left included, names of axes not."""

    left: float
    right: float
    top: float
    bottom: float


@dataclass(frozen=True, slots=True)
class _Panel:
    """What one panel is drawn on, where, and by which cost."""

    canvas: Canvas
    frame: _Frame
    kind: Cost
    name: str


def _panel(
    panel: _Panel,
    points: Sequence[TradeoffPoint],
    references: Sequence[TradeoffPoint],
    signs: Mapping[str, tuple[str, str]],
) -> None:
    canvas, frame, kind = panel.canvas, panel.frame, panel.kind
    start, end = frame.left + _LEFT, frame.right - _RIGHT
    rates = [v for p in (*points, *references) for v in (p.low, p.wer, p.high)]
    y = fitting_scale(rates, frame.bottom, frame.top)
    shown = placed(points, kind)
    x = _cost_scale([p.cost(kind) or 0.0 for p in shown], start + 14, end - 10)
    log = ", logarithmic"
    canvas.text((frame.left, frame.top - 16), f"WER in %{log if isinstance(y, LogScale) else ''}", "axis")
    y_axis(canvas, y, start, end)
    name = panel.name + (log if isinstance(x, LogScale) else "")
    x_axis(canvas, x, (frame.top, frame.bottom), name, end=frame.right)
    _draw_references(canvas, references, y, (start, end))
    spots = [Spot(p, x(p.cost(kind) or 0.0), y(p.wer), (y(p.low), y(p.high))) for p in shown]
    spots = spread(spots, end - 6)
    for group, (colour, _) in signs.items():
        own = sorted((s for s in spots if s.point.group == group), key=lambda s: s.point.cost(kind) or 0.0)
        if len(own) > 1:
            canvas.path([(s.x, s.y) for s in own], f"joined {colour}")
    draw_frontier(canvas, spots, kind)
    labels = Labels((start, frame.top - 10), (frame.right, frame.bottom))
    for spot in spots:
        draw_whiskers(canvas, spot, f"whisker thin limits {signs[spot.point.group][0]}", labels)
    for spot in spots:
        colour, shape = signs[spot.point.group]
        style, tip = f"dot filled {colour}", _tip(spot.point, kind)
        canvas.marker(shape, (spot.x, spot.y), style, size=1.4, tip=tip)
    # Where there is no room for all names, those on the front have it first.
    best = {id(point) for point in frontier(shown, kind)}
    draw_labels(canvas, sorted(spots, key=lambda s: id(s.point) not in best), labels)


def _signs(shown: Sequence[TradeoffPoint]) -> dict[str, tuple[str, str]]:
    """Colour and shape by group."""
    groups = dict.fromkeys(p.group for p in shown)
    return {
        group: (f"s{index % _COLOURS}", _SHAPES[index % len(_SHAPES)]) for index, group in enumerate(groups)
    }


def _keys(
    shown: Sequence[TradeoffPoint],
    references: Sequence[TradeoffPoint],
    signs: Mapping[str, tuple[str, str]],
    panels: Sequence[Cost],
) -> list[Key]:
    """Methods, lines and the front."""
    groups = [
        Key(name, f"joined {colour}", shape, f"dot filled {colour}")
        for name, (colour, shape) in signs.items()
    ]
    lines = [
        Key(f"{point.label} {percent(point.wer)}", style, band="" if index else "band")
        for index, (point, style) in enumerate(zip(references, _REFERENCES, strict=False))
    ]
    cost = "size or speed" if len(panels) > 1 else "size"
    fronts = any(len(frontier(shown, kind)) > 1 for kind in panels)
    return [*groups, *lines, *([Key(f"best at their {cost}", "frontier")] if fronts else [])]


def _draw_references(
    canvas: Canvas, references: Sequence[TradeoffPoint], y: Scale, span: tuple[float, float]
) -> None:
    start, end = span
    for index, (point, style) in enumerate(zip(references, _REFERENCES, strict=False)):
        if not index:
            canvas.rect((start, y(point.high)), (end - start, y(point.low) - y(point.high)), "band")
        canvas.line((start, y(point.wer)), (end, y(point.wer)), style)


def _cost_scale(costs: Sequence[float], start: float, end: float) -> Scale:
    """Around the costs: the float model, which is far from them, is a line."""
    low, high = min(costs, default=0.0), max(costs, default=0.0)
    if low > 0 and high / low > _LOG_FROM_RATIO:
        return LogScale(low, high, start, end)
    if low == high:
        return LinearScale(0.9 * low, 1.1 * high or 1.0, start, end)
    return LinearScale(low, high, start, end)


def _name(point: TradeoffPoint) -> str:
    """Group and label, the group once."""
    return point.label if point.label.startswith(point.group) else f"{point.group} {point.label}"


def _spoken(point: TradeoffPoint, panels: Sequence[Cost]) -> str:
    known = [(point.cost(kind), _UNITS[kind]) for kind in panels]
    costs = "".join(f", {number(cost)} {unit}" for cost, unit in known if cost is not None)
    return f"{_name(point)} {percent(point.wer)}{costs}"


def _tip(point: TradeoffPoint, kind: Cost) -> str:
    interval = f"({percent(point.low)} to {percent(point.high)})"
    cost = f"{number(point.cost(kind) or 0.0)}{NBSP}{_UNITS[kind]}"
    return f"{_name(point)}: {percent(point.wer)} {interval}, {cost}"
