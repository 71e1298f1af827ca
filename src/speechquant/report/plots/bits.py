"""Bits of every matrix as a picture: by layer, and how they changed while they were learned."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from speechquant.report.plots.axes import x_axis, y_axis
from speechquant.report.plots.canvas import Canvas
from speechquant.report.plots.scales import LinearScale

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["bits_file", "draw_bits"]

_CELL, _LABEL, _GAP, _CURVE = 26, 120, 34, 150
_FEWEST, _MOST = 2, 8
# A colour of its own for each width, dark for many bits, so that neighbours differ in print as well.
_STYLE = """
text{font:12px system-ui,sans-serif;fill:#333}.grid{stroke:#ddd}.on{fill:#fff}.curve{fill:none;stroke:#1f5fbf;
stroke-width:1.6}.b2{fill:#e3eefb}.b3{fill:#b9d4f1}.b4{fill:#85b3e3}.b5{fill:#5d97d3}.b6{fill:#3b77bb}.b7{fill:#265a97}
.b8{fill:#143a6b}@media (prefers-color-scheme:dark){svg{background:#16181d}text{fill:#ddd}.off{fill:#222}.grid
{stroke:#333}.curve{stroke:#7db0ff}}
"""

Choice = tuple[str, str, float]
"""Layer, module and bits."""


def draw_bits(choices: Sequence[Choice], rows: Sequence[Mapping[str, Any]], width: int) -> str:
    """A row of cells per layer, and below it the average bits by update where they were learned.

    Args:
        choices: the searched matrices in the order of the model.
        rows: lines of the history; those with `average_bits` are drawn.
        width: in pixels, if the rows need no more.
    """
    layers: dict[str, list[tuple[str, float]]] = {}
    for layer, module, bits in choices:
        layers.setdefault(layer, []).append((module, bits))
    points = [(row["step"], row["average_bits"]) for row in rows if "average_bits" in row]
    below = _GAP + _CELL * len(layers)
    most = max((len(cells) for cells in layers.values()), default=0)
    size = (max(width, _LABEL + _CELL * most + 4), below + (_GAP + _CURVE + 40 if points else 8))
    canvas = Canvas(*size, "Bits of every matrix by layer")
    canvas.text((0, 14), "bits of the matrices of each layer, in the order of the model")
    for index, (layer, cells) in enumerate(layers.items()):
        top = _GAP - 6 + _CELL * index
        canvas.text((0, top + 17), layer)
        for place, (module, bits) in enumerate(cells):
            left = _LABEL + _CELL * place
            canvas.rect(
                (left, top), (_CELL - 2, _CELL - 2), f"b{_shade(bits)}", f"{module}: {bits:g} bits", 3
            )
            style = "on" if _shade(bits) > _MOST // 2 else "off"
            canvas.text((left + _CELL / 2 - 1, top + 17), f"{bits:g}", style, "middle")
    if points:
        _curve(canvas, points, below + _GAP)
    return canvas.markup()


def bits_file(choices: Sequence[Choice], rows: Sequence[Mapping[str, Any]] = (), width: int = 760) -> str:
    """The same as the text of an SVG file."""
    opening, rest = draw_bits(choices, rows, width).split(">", 1)
    return f'{opening} xmlns="http://www.w3.org/2000/svg"><style>{_STYLE}</style>{rest}\n'


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
