"""How large activations are, layer by layer: convolutions against Transformer blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechquant.report.formats import number
from speechquant.report.plots.axes import x_axis
from speechquant.report.plots.canvas import Canvas, text_width
from speechquant.report.plots.scales import LogScale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from speechquant.report.amplitudes import LayerAmplitudes

__all__ = ["draw_ranges"]

_ROW = 24
_TOP = 6


def draw_ranges(layers: Sequence[LayerAmplitudes], width: int) -> str:
    """A bar from the median to the 99.9th percentile of |x|, a line on to the maximum, on one log axis."""
    known = [layer for layer in layers if layer.maximum > 0 and layer.median > 0]
    left = max((text_width(layer.layer) for layer in known), default=0) + 12
    bottom = _TOP + _ROW * len(known) + 4
    worst = max(known, key=lambda layer: layer.maximum / layer.q999, default=None)
    spoken = f"; longest tail at {worst.layer}" if worst else ""
    canvas = Canvas(width, bottom + 40, f"Amplitudes by layer, median to maximum{spoken}")
    if not known:
        return canvas.markup()
    low, high = min(layer.median for layer in known), max(layer.maximum for layer in known)
    scale = LogScale(low / 1.4, high * 1.4, left, width - 8)
    x_axis(canvas, scale, (_TOP, bottom), "|x|, logarithmic")
    for row, layer in enumerate(known):
        y = _TOP + _ROW * row + 14
        x50, x999, top = scale(layer.median), scale(layer.q999), scale(layer.maximum)
        tip = (
            f"{layer.layer}: median {number(layer.median)}, 99 % {number(layer.q99)}, "
            f"99.9 % {number(layer.q999)}, maximum {number(layer.maximum)}"
        )
        canvas.text((left - 12, y + 4), layer.layer, "label", "end")
        canvas.line((x999, y), (top, y), f"tail stroke-{layer.group}")
        canvas.line((top, y - 5), (top, y + 5), f"tail stroke-{layer.group}")
        canvas.rect((x50, y - 6), (x999 - x50, 12), f"fill-{layer.group}", tip, radius=2)
        canvas.line((scale(layer.q99), y - 6), (scale(layer.q99), y + 6), "cut")
    return canvas.markup()
