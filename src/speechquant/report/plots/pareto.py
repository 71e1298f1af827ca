"""Word error rate against size, method by method: what each loses as it becomes smaller, and which are the best."""

from __future__ import annotations

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

    from speechquant.report.data import TradeoffPoint

__all__ = ["draw_pareto"]

_LEFT, _RIGHT, _HEIGHT = 44, 12, 270
_LOG_FROM_RATIO = 20
_COLOURS = 7
_SHAPES = ("disc", "square", "triangle", "diamond")
_REFERENCES = ("reference", "control")


def draw_pareto(
    points: Sequence[TradeoffPoint], references: Sequence[TradeoffPoint], width: int, size: str
) -> str:
    """Points of one group are joined and have its colour and shape; better is towards the lower left.

    Args:
        points: systems with sizes.
        references: the float model, drawn as a line with its interval as a band, and perhaps a control, a line.
        width: in pixels.
        size: what the sizes are, for the axis.
    """
    shown = placed(points, "megabytes")
    groups = list(dict.fromkeys(p.group for p in shown))
    colours = {group: f"s{index % _COLOURS}" for index, group in enumerate(groups)}
    shapes = {group: _SHAPES[index % len(_SHAPES)] for index, group in enumerate(groups)}
    spoken = "; ".join(_spoken(p) for p in (*references, *shown))
    rows = legend_rows(_keys(shown, references, colours, shapes), width)
    top = ROW * len(rows) + 34
    bottom = top + _HEIGHT
    canvas = Canvas(width, bottom + 44, f"WER against size: {spoken}")
    draw_legend(canvas, rows)
    y = fitting_scale([v for p in (*shown, *references) for v in (p.low, p.wer, p.high)], bottom, top)
    x = _size_scale([p.megabytes or 0.0 for p in shown], _LEFT + 14, width - _RIGHT - 10)
    canvas.text((0, top - 16), "WER in %" + (", logarithmic" if isinstance(y, LogScale) else ""), "axis")
    y_axis(canvas, y, _LEFT, width - _RIGHT)
    x_axis(canvas, x, (top, bottom), size + (", logarithmic" if isinstance(x, LogScale) else ""))
    _draw_references(canvas, references, y)
    spots = [Spot(p, x(p.megabytes or 0.0), y(p.wer), (y(p.low), y(p.high))) for p in shown]
    spots = spread(spots, width - _RIGHT - 6)
    for group in groups:
        own = sorted((s for s in spots if s.point.group == group), key=lambda s: s.point.megabytes or 0.0)
        if len(own) > 1:
            canvas.path([(s.x, s.y) for s in own], f"joined {colours[group]}")
    draw_frontier(canvas, spots, "megabytes")
    labels = Labels((_LEFT, top - 10), (width, bottom))
    for spot in spots:
        draw_whiskers(canvas, spot, f"whisker thin limits {colours[spot.point.group]}", labels)
    for spot in spots:
        group = spot.point.group
        style = f"dot filled {colours[group]}"
        canvas.marker(shapes[group], (spot.x, spot.y), style, size=1.4, tip=_tip(spot.point))
    # Where there is no room for all names, those on the front have it first.
    best = {id(point) for point in frontier(shown, "megabytes")}
    draw_labels(canvas, sorted(spots, key=lambda s: id(s.point) not in best), labels)
    return canvas.markup()


def _keys(
    shown: Sequence[TradeoffPoint],
    references: Sequence[TradeoffPoint],
    colours: Mapping[str, str],
    shapes: Mapping[str, str],
) -> list[Key]:
    """Methods, lines and the front."""
    groups = [
        Key(name, f"joined {colour}", shapes[name], f"dot filled {colour}")
        for name, colour in colours.items()
    ]
    lines = [
        Key(f"{point.label} {percent(point.wer)}", style, band="" if index else "band")
        for index, (point, style) in enumerate(zip(references, _REFERENCES, strict=False))
    ]
    front = [Key("best at their size", "frontier")] if len(frontier(shown, "megabytes")) > 1 else []
    return [*groups, *lines, *front]


def _draw_references(canvas: Canvas, references: Sequence[TradeoffPoint], y: Scale) -> None:
    end = canvas.width - _RIGHT
    for index, (point, style) in enumerate(zip(references, _REFERENCES, strict=False)):
        if not index:
            canvas.rect((_LEFT, y(point.high)), (end - _LEFT, y(point.low) - y(point.high)), "band")
        canvas.line((_LEFT, y(point.wer)), (end, y(point.wer)), style)


def _size_scale(sizes: Sequence[float], start: float, end: float) -> Scale:
    """Around the sizes: the float model, which is far from them, is a line."""
    low, high = min(sizes, default=0.0), max(sizes, default=0.0)
    if low > 0 and high / low > _LOG_FROM_RATIO:
        return LogScale(low, high, start, end)
    if low == high:
        return LinearScale(0.9 * low, 1.1 * high or 1.0, start, end)
    return LinearScale(low, high, start, end)


def _name(point: TradeoffPoint) -> str:
    """Group and label, the group once."""
    return point.label if point.label.startswith(point.group) else f"{point.group} {point.label}"


def _spoken(point: TradeoffPoint) -> str:
    size = "" if point.megabytes is None else f", {number(point.megabytes)} MB"
    return f"{_name(point)} {percent(point.wer)}{size}"


def _tip(point: TradeoffPoint) -> str:
    interval = f"({percent(point.low)} to {percent(point.high)})"
    return f"{_name(point)}: {percent(point.wer)} {interval}, {number(point.megabytes or 0.0)}{NBSP}MB"
