"""A legend above a plot, in as many rows as the width asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from speechquant.report.plots.canvas import text_width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from speechquant.report.plots.canvas import Canvas

__all__ = ["ROW", "Key", "draw_legend", "legend_rows"]

ROW = 20
"""Height of a row in pixels."""

_SIGN, _BETWEEN = 26, 18


@dataclass(frozen=True, slots=True)
class Key:
    """One entry: its name, the style of its line, shape and style of its marker, or a band behind the line."""

    name: str
    line: str
    shape: str = ""
    marker: str = ""
    band: str = ""


def legend_rows(keys: Sequence[Key], width: int) -> list[list[Key]]:
    """The entries by row."""
    rows: list[list[Key]] = [[]]
    free = float(width)
    for key in keys:
        needed = _SIGN + text_width(key.name)
        if rows[-1] and needed > free:
            rows.append([])
            free = float(width)
        rows[-1].append(key)
        free -= needed + _BETWEEN
    return rows


def draw_legend(canvas: Canvas, rows: Sequence[Sequence[Key]]) -> None:
    """The entries from the upper left corner on."""
    for index, keys in enumerate(rows):
        x, y = 0.0, ROW * (index + 0.5)
        for key in keys:
            if key.band:
                canvas.rect((x, y - 6), (20, 12), key.band)
            canvas.line((x, y), (x + 20, y), key.line)
            if key.shape:
                canvas.marker(key.shape, (x + 10, y), key.marker, size=1.2)
            canvas.text((x + _SIGN, y + 4), key.name)
            x += _SIGN + text_width(key.name) + _BETWEEN
