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

_TOP, _HEIGHT, _LEFT, _LINE = 40, 280, 70, 18
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
    lines = {s.name: _points(s) for s in figure.series}
    places = _legend(list(lines), width)
    top = _TOP + _LINE * max((line for _, line in places), default=0)
    bottom = top + _HEIGHT
    canvas = Canvas(width, bottom + 44, f"{figure.title}: {spoken}")
    xs = [x for points in lines.values() for x, _ in points]
    ys = [y for points in lines.values() for _, y in points]
    x = LogScale(min(xs, default=0.1), max(xs, default=1.0), _LEFT + 4, width - 8)
    y = LogScale(max(min(ys, default=_RAREST), _RAREST), max(ys, default=1.0) * 1.5, bottom, top)
    y_axis(canvas, y, _LEFT, width, _share)
    x_axis(canvas, x, (top, bottom), "|x|, logarithmic")
    for index, ((name, points), (at, line)) in enumerate(zip(lines.items(), places, strict=True)):
        colour = f"s{index % _COLOURS}" + (" dashed" if index % 2 else "")
        if points:
            canvas.path([(x(value), y(share)) for value, share in points], f"series {colour}")
        height = 12 + _LINE * line
        canvas.path([(at, height - 4), (at + 22, height - 4)], f"series {colour}")
        canvas.text((at + 28, height), name, f"key {colour}")
    return canvas.markup()


def _legend(names: Sequence[str], width: int) -> list[tuple[float, int]]:
    """Where each name begins, and in which line."""
    places: list[tuple[float, int]] = []
    at, line = float(_LEFT), 0
    for name in names:
        if at + text_width(name) + 30 > width and at > _LEFT:
            at, line = float(_LEFT), line + 1
        places.append((at, line))
        at += text_width(name) + _KEY
    return places


def _points(series: AmplitudeSeries) -> list[tuple[float, float]]:
    """The geometric centre of each bin that is not empty, and its share."""
    bins: Sequence[tuple[float, float, float]] = tuple(
        zip(series.edges[1:-1], series.edges[2:], series.shares[1:], strict=True)
    )
    return [(math.sqrt(low * high), share) for low, high, share in bins if share > 0]


def _share(value: float) -> str:
    return f"{100 * value:.9f}".rstrip("0").rstrip(".") + "\N{NARROW NO-BREAK SPACE}%"
