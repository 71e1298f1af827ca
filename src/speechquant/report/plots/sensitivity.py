"""What each layer costs when it alone is quantized (StableQuant, Algorithm 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechquant.report.formats import number, points
from speechquant.report.plots.axes import x_axis
from speechquant.report.plots.canvas import Canvas, text_width
from speechquant.report.plots.scales import SymLogScale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from speechquant.report.data import LayerResult

__all__ = ["draw_sensitivity"]

_ROW = 24
_TOP = 22
_COLUMN_BELOW = 600


def draw_sensitivity(layers: Sequence[LayerResult], gamma: float, width: int) -> str:
    """WER increase in points, linear up to gamma and logarithmic beyond; selected layers stand out."""
    left = max(text_width(layer.layer) for layer in layers) + 12
    bottom = _TOP + _ROW * len(layers) + 4
    worst = max(layers, key=lambda layer: layer.delta)
    chosen = ", ".join(layer.layer for layer in layers if layer.selected) or "none"
    canvas = Canvas(
        width,
        bottom + 40,
        f"WER increase by layer; largest {points(worst.delta)} points at {worst.layer}; clipped: {chosen}",
    )
    lowest = min(0.0, *(layer.delta for layer in layers))
    highest = max(2 * gamma, *(layer.delta for layer in layers))
    # Values stand at the ends of the bars, on phones in a column of their own.
    column = width if width < _COLUMN_BELOW else None
    scale = SymLogScale(lowest, highest, gamma, left + (52 if lowest < 0 and not column else 0), width - 58)
    x_axis(canvas, scale, (_TOP, bottom), "WER increase in points, logarithmic beyond gamma", number)
    x = scale(gamma)
    canvas.line((x, _TOP - 6), (x, bottom), "threshold")
    canvas.text((x + 5, _TOP - 8), f"gamma = {gamma:g}", "label strong")
    for row, layer in enumerate(layers):
        _draw_row(canvas, layer, scale, (left - 12, _TOP + 4 + _ROW * row), column)
    zero = scale(0)
    canvas.line((zero, _TOP), (zero, bottom), "baseline")
    return canvas.markup()


def _draw_row(
    canvas: Canvas, layer: LayerResult, scale: SymLogScale, corner: tuple[float, float], column: float | None
) -> None:
    name_end, y = corner
    zero, end = scale(0), scale(layer.delta)
    fill = "fill-selected" if layer.selected else "fill-muted"
    tip = f"{layer.layer}: {points(layer.delta)} points{', clipped' if layer.selected else ''}"
    canvas.text((name_end, y + 13), layer.layer, "label strong" if layer.selected else "label", "end")
    canvas.rect((min(zero, end), y + 1), (max(abs(end - zero), 1), _ROW - 8), fill, tip, radius=2)
    text = points(layer.delta)
    style = "label halo strong" if layer.selected else "label halo"
    if column is not None:
        canvas.text((column, y + 13), text, style, "end")
    elif layer.delta < 0:
        canvas.text((end - 5, y + 13), text, style, "end")
    else:
        canvas.text((end + 5, y + 13), text, style)
