"""A training run as a picture: word error rate on dev speech, and the loss, by update."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from speechquant.report.formats import percent
from speechquant.report.plots.axes import x_axis, y_axis
from speechquant.report.plots.canvas import Canvas, text_width
from speechquant.report.plots.scales import LinearScale, fitting_scale
from speechquant.report.plots.standalone import as_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from speechquant.report.plots.canvas import Anchor

__all__ = ["draw_learning", "learning_file"]

_TOP, _MIDDLE, _NEXT, _BOTTOM, _LEFT = 34, 220, 270, 400, 52
_SMOOTHED = 20


def draw_learning(rows: Sequence[Mapping[str, Any]], float_wer: float | None, width: int) -> str:
    """The lines of a training history; a line marks the float model's rate on the same speech where known.

    Args:
        rows: lines with `step`, and `loss`, or `dev` with `wer` in percent and `best`.
        float_wer: in percent.
        width: in pixels.
    """
    judged = [(row["step"], row["dev"]["wer"], row.get("best")) for row in rows if "dev" in row]
    known = [(step, wer, best) for step, wer, best in judged if wer is not None and math.isfinite(wer)]
    last = max((row["step"] for row in rows), default=1) or 1
    spoken = min((wer for _, wer, _ in known), default=None)
    canvas = Canvas(width, _BOTTOM + 44, "Training" + (f": best dev WER {percent(spoken)}" if spoken else ""))
    x = LinearScale(0, last, _LEFT + 8, width - 12)
    _rates(canvas, known, float_wer, x)
    _losses(canvas, rows, x)
    x_axis(canvas, x, (_BOTTOM, _BOTTOM + 4), "updates", lambda value: f"{value:g}")
    return canvas.markup()


def learning_file(rows: Sequence[Mapping[str, Any]], float_wer: float | None, width: int = 760) -> str:
    """The same as the text of an SVG file."""
    return as_file(draw_learning(rows, float_wer, width))


def _rates(
    canvas: Canvas, known: list[tuple[int, float, bool | None]], float_wer: float | None, x: LinearScale
) -> None:
    y = fitting_scale([wer for _, wer, _ in known] + ([float_wer] if float_wer else []), _MIDDLE, _TOP)
    y_axis(canvas, y, _LEFT, canvas.width)
    canvas.text((0, 14), "WER on dev in %", "axis")
    if float_wer is not None:
        canvas.line((_LEFT, y(float_wer)), (canvas.width, y(float_wer)), "reference")
        canvas.text((canvas.width - 4, y(float_wer) + 15), f"float {percent(float_wer)}", "label", "end")
    if known:
        canvas.path([(x(step), y(wer)) for step, wer, _ in known], "curve")
    chosen = max((step for step, _, best in known if best), default=None)
    for step, wer, _ in known:
        tip = f"update {step}: WER {percent(wer)}"
        radius, colour = (5.5, "best") if step == chosen else (3.2, "fill-quantized")
        canvas.circle((x(step), y(wer)), radius, f"dot {colour}", tip)
        if step == chosen:
            text = f"chosen: {percent(wer)}"
            fits = x(step) + 8 + text_width(text) < canvas.width
            anchor: Anchor = "start" if fits else "end"
            at = (x(step) + (8 if fits else -8), y(wer) + 18)
            canvas.text(at, text, "label strong halo", anchor)


def _losses(canvas: Canvas, rows: Sequence[Mapping[str, Any]], x: LinearScale) -> None:
    points = [(row["step"], row["loss"]) for row in rows if row.get("loss") is not None]
    if not points:
        return
    y = fitting_scale([loss for _, loss in points], _BOTTOM, _NEXT)
    y_axis(canvas, y, _LEFT, canvas.width)
    canvas.text((0, _NEXT - 20), f"loss, and its mean over {_SMOOTHED} updates", "axis")
    canvas.path([(x(step), y(loss)) for step, loss in points], "faint")
    means = []
    for index, (step, _) in enumerate(points):
        window = [loss for _, loss in points[max(0, index + 1 - _SMOOTHED) : index + 1]]
        means.append((x(step), y(sum(window) / len(window))))
    canvas.path(means, "curve")
