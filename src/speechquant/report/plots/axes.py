"""Grid lines and tick labels, the same in every plot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechquant.report.formats import number
from speechquant.report.plots.canvas import text_width

if TYPE_CHECKING:
    from collections.abc import Callable

    from speechquant.report.plots.canvas import Canvas
    from speechquant.report.plots.scales import Scale

__all__ = ["x_axis", "y_axis"]


def x_axis(
    canvas: Canvas,
    scale: Scale,
    span: tuple[float, float],
    label: str,
    text: Callable[[float], str] = number,
    *,
    end: float | None = None,
) -> None:
    """Vertical grid lines over `span` (top, bottom), tick labels below that never touch, the axis' name.

    `end` is where the name ends, the right border of the canvas unless given.
    """
    top, bottom = span
    right = canvas.width if end is None else end
    free_from = float("-inf")
    for tick in scale.ticks():
        x, name = scale(tick), text(tick)
        canvas.line((x, top), (x, bottom), "grid")
        half = text_width(name) / 2
        if x - half >= free_from and x + half <= right + 4:
            canvas.text((x, bottom + 16), name, "tick", "middle")
            free_from = x + half + 8
    canvas.text((right, bottom + 34), label, "axis", "end")


def y_axis(
    canvas: Canvas,
    scale: Scale,
    left: float,
    right: float,
    text: Callable[[float], str] = number,
) -> None:
    """Horizontal grid lines with tick labels at their left."""
    for tick in scale.ticks():
        y = scale(tick)
        canvas.line((left, y), (right, y), "grid")
        canvas.text((left - 8, y + 4), text(tick), "tick", "end")
