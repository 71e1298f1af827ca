"""Latency against length of audio, a line per system (Figure 2 of the StableQuant paper)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from speechquant.report.formats import number
from speechquant.report.plots.axes import x_axis, y_axis
from speechquant.report.plots.canvas import Canvas, text_width
from speechquant.report.plots.legend import ROW, Key, draw_legend, legend_rows
from speechquant.report.plots.scales import LogScale, fitting_scale

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from speechquant.report.plots.scales import Scale

__all__ = ["LatencyFigure", "LatencyLine", "draw_latency_lines"]

_TOP, _HEIGHT, _LEFT, _RIGHT, _BELOW = 56, 374, 56, 18, 42
_LABEL_HEIGHT = 16
_BOLD = 1.12
_BESIDE_FROM = 600
"""From this width on the names stand beside the lines, otherwise in a legend above."""


@dataclass(frozen=True, slots=True)
class LatencyLine:
    """One system: its `milliseconds` at each of the lengths, and what names it beside the line.

    Engines differ by colour, kinds (`f32`, `bf16`, ...) by dashes, so that the figure can be read in grey too.
    """

    name: str
    engine: str
    kind: str
    milliseconds: tuple[float, ...]
    label: str = ""

    @property
    def shown(self) -> str:
        """The text beside the line."""
        return self.label or self.name


@dataclass(frozen=True, slots=True)
class LatencyFigure:
    """Lines over the same `lengths`, in seconds of audio."""

    lengths: tuple[float, ...]
    lines: tuple[LatencyLine, ...]


@dataclass(frozen=True, slots=True)
class _Measured:
    """A scale whose ticks are the lengths that were measured."""

    scale: Scale
    lengths: tuple[float, ...]

    def __call__(self, value: float) -> float:
        return self.scale(value)

    def ticks(self) -> list[float]:
        return list(self.lengths)


def draw_latency_lines(
    figure: LatencyFigure, width: int, colours: Sequence[str], *, title: str | None = None
) -> str:
    """Both axes are logarithmic where values lie far apart; lines of equal slope then differ by a factor.

    Args:
        figure: what was measured.
        width: in pixels.
        colours: classes of the style sheet, one per engine in the order of the lines.
        title: for a file of its own, which then has a card behind the picture.
    """
    styles = _styles(figure.lines, colours)
    beside = width >= _BESIDE_FROM
    keys = [
        Key(line.shown, f"series {styles[line.name]}", "disc", f"dot {styles[line.name]}")
        for line in figure.lines
    ]
    above = [] if beside else legend_rows(keys, width)
    top = _TOP + ROW * len(above) - (20 if title is None else 0)
    bottom = top + max(_HEIGHT, _LABEL_HEIGHT * len(figure.lines) if beside else 0)
    right = width - _RIGHT - (max(map(_name_width, figure.lines)) if beside else 0)
    values = [value for line in figure.lines for value in line.milliseconds]
    x, y = fitting_scale(figure.lengths, _LEFT + 10, right - 10), fitting_scale(values, bottom, top)
    canvas = Canvas(width, bottom + _BELOW, f"Latency against length of audio: {_spoken(figure)}")
    if title is not None:
        canvas.rect((0, 0), (width, bottom + _BELOW), "card", radius=8)
        canvas.text((10, 22), title, "strong")
    draw_legend(canvas, above)
    canvas.text((10 if title else 0, top - 14), f"latency in ms{_log(y)}", "axis")
    y_axis(canvas, y, _LEFT, right)
    x_axis(canvas, _Measured(x, figure.lengths), (top, bottom), "", lambda v: f"{v:g}")
    canvas.text((right, bottom + 34), f"seconds of audio{_log(x)}", "axis", "end")
    _draw(canvas, figure, styles, x, y)
    if beside:
        wanted = {line.name: y(line.milliseconds[-1]) for line in figure.lines}
        heights = _label_heights(wanted, bottom)
        for line in figure.lines:
            canvas.text((right + 8, heights[line.name] + 4), line.shown, f"name {styles[line.name]}")
    return canvas.markup()


def _draw(canvas: Canvas, figure: LatencyFigure, styles: Mapping[str, str], x: Scale, y: Scale) -> None:
    for line in figure.lines:
        points = list(zip(figure.lengths, line.milliseconds, strict=True))
        canvas.path([(x(seconds), y(value)) for seconds, value in points], f"series {styles[line.name]}")
        for seconds, value in points:
            tip = f"{line.name}, {seconds:g} s: {number(value)} ms"
            canvas.circle((x(seconds), y(value)), 3.2, f"dot {styles[line.name]}", tip)


def _name_width(line: LatencyLine) -> float:
    """Names of integers are bold."""
    return text_width(line.shown) * (_BOLD if line.kind == "int8" else 1)


def _log(scale: Scale) -> str:
    return ", logarithmic" if isinstance(scale, LogScale) else ""


def _styles(lines: Sequence[LatencyLine], colours: Sequence[str]) -> dict[str, str]:
    """Classes by system; a second system of the same engine and kind is drawn in another way."""
    engines = list(dict.fromkeys(line.engine for line in lines))
    found: dict[str, str] = {}
    for line in lines:
        style = f"{colours[engines.index(line.engine) % len(colours)]} kind-{line.kind}"
        found[line.name] = f"{style} other" if style in found.values() else style
    return found


def _label_heights(wanted: Mapping[str, float], bottom: float) -> dict[str, float]:
    """Where labels stand that want to be at these heights: close to them, apart from each other."""
    order = sorted(wanted, key=wanted.__getitem__)
    heights = [wanted[name] for name in order]
    for index in range(1, len(heights)):
        heights[index] = max(heights[index], heights[index - 1] + _LABEL_HEIGHT)
    # What was pushed out at the bottom pushes the others up.
    heights[-1] = min(heights[-1], bottom)
    for index in reversed(range(len(heights) - 1)):
        heights[index] = min(heights[index], heights[index + 1] - _LABEL_HEIGHT)
    assert all(two - one >= _LABEL_HEIGHT - 1e-6 for one, two in pairwise(heights))
    return dict(zip(order, heights, strict=True))


def _spoken(figure: LatencyFigure) -> str:
    values = ", ".join(f"{line.name} {number(line.milliseconds[-1])} ms" for line in figure.lines)
    return f"at {figure.lengths[-1]:g} s {values}"
