"""Latency of the float and the quantized engine by length of audio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechquant.report.formats import NBSP, number, ratio
from speechquant.report.plots.canvas import Canvas
from speechquant.report.plots.scales import LinearScale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from speechquant.report.data import LatencyRow

__all__ = ["draw_latency"]

_GROUP = 64


def draw_latency(rows: Sequence[LatencyRow], width: int) -> str:
    """Two bars per length of audio, in milliseconds on one linear axis from zero."""
    spoken = "; ".join(
        f"{number(r.seconds)} s: {number(r.float_ms)} ms float, {number(r.quantized_ms)} ms quantized"
        for r in rows
    )
    canvas = Canvas(width, _GROUP * len(rows), f"Latency: {spoken}")
    scale = LinearScale(0, max(max(r.float_ms, r.quantized_ms) for r in rows), 0, width - 170)
    for index, row in enumerate(rows):
        y = _GROUP * index
        name = f"{number(row.seconds)}{NBSP}s of audio" + (f", {row.label}" if row.label else "")
        canvas.text((0, y + 12), name, "label strong")
        for offset, key, value in ((18, "float", row.float_ms), (36, "quantized", row.quantized_ms)):
            canvas.rect((0, y + offset), (scale(value), 15), f"fill-{key}", radius=2)
            text = f"{number(value)}{NBSP}ms {key}"
            if key == "quantized":
                text += f", {ratio(row.speedup, 1)}"
            canvas.text((scale(value) + 6, y + offset + 12), text, "label")
    return canvas.markup()
