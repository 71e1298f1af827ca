"""Bits of every matrix as a picture: by layer, and how they changed while they were learned."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from speechquant.report.plots.axes import x_axis, y_axis
from speechquant.report.plots.canvas import Canvas
from speechquant.report.plots.scales import LinearScale
from speechquant.report.plots.standalone import as_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from speechquant.report.data import MatrixBits
    from speechquant.report.plots.canvas import Anchor

__all__ = ["bits_file", "draw_bit_history", "draw_bits"]

_CELL, _LABEL, _NAME, _GAP, _CURVE = 26, 120, 24, 34, 150
_BESIDE_FROM = 600
_FEWEST, _MOST = 2, 8
# Of the picture over time: so many evaluations at most, and the height of all matrices.
_COLUMNS, _LEAST_ROW, _MOST_ROW, _TALL = 60, 2, 14, 480


def draw_bits(choices: Sequence[MatrixBits], rows: Sequence[Mapping[str, Any]], width: int) -> str:
    """Cells by layer, beside its name or on phones below it; then the average bits by update where they were learned.

    Args:
        choices: the searched matrices in the order of the model.
        rows: lines of the history; those with `average_bits` are drawn.
        width: in pixels; a layer with more cells than that has several lines of them.
    """
    layers: dict[str, list[MatrixBits]] = {}
    for choice in choices:
        layers.setdefault(choice.layer, []).append(choice)
    points = [(row["step"], row["average_bits"]) for row in rows if "average_bits" in row]
    left, name = (_LABEL, 0) if width >= _BESIDE_FROM else (0, _NAME)
    each = (width - left) // _CELL
    heights = [name + _CELL * math.ceil(len(cells) / each) for cells in layers.values()]
    below = _GAP + sum(heights)
    canvas = Canvas(width, below + (_GAP + _CURVE + 44 if points else 8), "Bits of every matrix by layer")
    _shades(canvas)
    top = _GAP - 6
    for (layer, cells), height in zip(layers.items(), heights, strict=True):
        canvas.text((0, top + 17), layer)
        for place, choice in enumerate(cells):
            line, column = divmod(place, each)
            _cell(canvas, choice, (left + _CELL * column, top + name + _CELL * line))
        top += height
    if points:
        _curve(canvas, points, below + _GAP)
    return canvas.markup()


def _cell(canvas: Canvas, choice: MatrixBits, corner: tuple[float, float]) -> None:
    left, top = corner
    tip = f"{choice.module}: {choice.bits:g} bits"
    canvas.rect(corner, (_CELL - 2, _CELL - 2), f"b{_shade(choice.bits)}", tip, 3)
    style = "on" if _shade(choice.bits) > _MOST // 2 else "off"
    canvas.text((left + _CELL / 2 - 1, top + 17), f"{choice.bits:.2g}", style, "middle")


def draw_bit_history(rows: Sequence[Mapping[str, Any]], width: int) -> str:
    """Expected bits of every matrix at every evaluation of a search, as shades.

    Args:
        rows: lines of the history; those with `bits`, by module, are drawn, at most 60 of them, evenly chosen.
        width: in pixels.
    """
    known = [row for row in rows if "bits" in row]
    places = sorted(
        {round(i * (len(known) - 1) / max(1, min(len(known), _COLUMNS) - 1)) for i in range(_COLUMNS)}
    )
    shown = [known[place] for place in places if place < len(known)]
    modules = list(dict.fromkeys(module for row in shown for module in row["bits"]))
    high = min(max(_TALL // max(1, len(modules)), _LEAST_ROW), _MOST_ROW)
    bottom = _GAP + high * len(modules)
    canvas = Canvas(width, bottom + 40, "Expected bits of every matrix by update")
    _shades(canvas)
    wide = (width - 16) / max(1, len(shown))
    for column, row in enumerate(shown):
        left = 8 + wide * column
        for line, module in enumerate(modules):
            if (bits := row["bits"].get(module)) is not None:
                tip = f"{module}, update {row['step']}: {bits:.2g} bits"
                canvas.rect((left, _GAP + high * line), (wide - 1, high), f"b{_shade(bits)}", tip)
    for column in {0, len(shown) // 2, len(shown) - 1} if shown else ():
        where = 8 + wide * (column + 0.5)
        anchor: Anchor = "start" if column == 0 else "end" if column == len(shown) - 1 else "middle"
        canvas.text((where, bottom + 18), f"update {shown[column]['step']}", "label", anchor)
    return canvas.markup()


def bits_file(choices: Sequence[MatrixBits], rows: Sequence[Mapping[str, Any]] = (), width: int = 760) -> str:
    """The same as the text of an SVG file."""
    return as_file(draw_bits(choices, rows, width))


def _shades(canvas: Canvas) -> None:
    """What the shades mean."""
    canvas.text((0, 14), "bits:", "label")
    for place, bits in enumerate(range(_FEWEST, _MOST + 1)):
        left = 36 + 38 * place
        canvas.rect((left, 4), (12, 12), f"b{bits}", radius=2)
        canvas.text((left + 16, 14), str(bits), "label")


def _shade(bits: float) -> int:
    """The width with this colour: fractions take that of the next larger one."""
    return min(max(math.ceil(bits), _FEWEST), _MOST)


def _curve(canvas: Canvas, points: Sequence[tuple[int, float]], top: float) -> None:
    bottom = top + _CURVE
    x = LinearScale(0, max(step for step, _ in points) or 1, 60, canvas.width - 12)
    y = LinearScale(min(2.0, *(bits for _, bits in points)), _MOST, bottom, top)
    y_axis(canvas, y, 52, canvas.width)
    canvas.text((0, top - 14), "expected bits on average, then the settled ones")
    canvas.path([(x(step), y(bits)) for step, bits in points], "curve")
    x_axis(canvas, x, (bottom, bottom + 4), "updates", lambda value: f"{value:g}")
