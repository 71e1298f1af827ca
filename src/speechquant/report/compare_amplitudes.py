"""How large the values of several tensors are, in one picture (StableQuant, Figure 1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from speechquant.report.formats import number
from speechquant.report.plots.axes import x_axis, y_axis
from speechquant.report.plots.canvas import Canvas, text_width
from speechquant.report.plots.scales import LogScale

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["AmplitudeFigure", "AmplitudeSeries", "draw_amplitudes"]

_TOP, _BOTTOM, _LEFT, _LINE = 40, 320, 62, 18
_KEY = 60
_COLOURS = 7
_RAREST = 1e-7


@dataclass(frozen=True, slots=True)
class AmplitudeSeries:
    """Counts of |x| by bin: `edges` has one entry more than `counts`, the first bin begins at 0.

    Counts may be fractions, where values were taken as evenly spread over a coarser bin.
    """

    name: str
    edges: tuple[float, ...]
    counts: tuple[float, ...]

    @property
    def shares(self) -> tuple[float, ...]:
        """Counts over their sum."""
        total = sum(self.counts) or 1.0
        return tuple(count / total for count in self.counts)

    @property
    def largest(self) -> float:
        """The upper edge of the last bin that is not empty, 0 where all are."""
        return max(
            (top for top, count in zip(self.edges[1:], self.counts, strict=True) if count), default=0.0
        )


@dataclass(frozen=True, slots=True)
class AmplitudeFigure:
    """Series to be drawn together; `key` names the file."""

    key: str
    title: str
    series: tuple[AmplitudeSeries, ...]


def draw_amplitudes(figure: AmplitudeFigure, width: int) -> str:
    """One line per series, share of its values against |x|; the first bin, which has no lower end, is left out."""
    spoken = "; ".join(f"{s.name} up to {number(s.largest)}" for s in figure.series)
    rows = math.ceil(sum(text_width(s.name) + _KEY for s in figure.series) / (width - _LEFT))
    top = _TOP + _LINE * (rows - 1)
    canvas = Canvas(width, _BOTTOM + 44, f"{figure.title}: {spoken}")
    lines = {s.name: _points(s) for s in figure.series}
    xs = [x for points in lines.values() for x, _ in points]
    ys = [y for points in lines.values() for _, y in points]
    x = LogScale(min(xs, default=0.1), max(xs, default=1.0), _LEFT + 4, width - 8)
    y = LogScale(max(min(ys, default=_RAREST), _RAREST), max(ys, default=1.0) * 1.5, _BOTTOM, top)
    y_axis(canvas, y, _LEFT, width, _share)
    x_axis(canvas, x, (top, _BOTTOM), "|x|, logarithmic")
    at, line = float(_LEFT), 0
    for index, (name, points) in enumerate(lines.items()):
        colour = f"s{index % _COLOURS}" + (" dashed" if index % 2 else "")
        if points:
            canvas.path([(x(value), y(share)) for value, share in points], f"series {colour}")
        if at + text_width(name) + 30 > width and at > _LEFT:
            at, line = float(_LEFT), line + 1
        height = 12 + _LINE * line
        canvas.path([(at, height - 4), (at + 22, height - 4)], f"series {colour}")
        canvas.text((at + 28, height), name, f"key {colour}")
        at += text_width(name) + _KEY
    return canvas.markup()


def _points(series: AmplitudeSeries) -> list[tuple[float, float]]:
    """The geometric centre of each bin that is not empty, and its share."""
    bins: Sequence[tuple[float, float, float]] = tuple(
        zip(series.edges[1:-1], series.edges[2:], series.shares[1:], strict=True)
    )
    return [(math.sqrt(low * high), share) for low, high, share in bins if share > 0]


def _share(value: float) -> str:
    return f"{100 * value:.9f}".rstrip("0").rstrip(".") + "\N{NARROW NO-BREAK SPACE}%"
