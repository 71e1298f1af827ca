"""Word error rates with their 95 % intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechquant.report.formats import percent
from speechquant.report.plots.axes import x_axis
from speechquant.report.plots.canvas import Canvas, text_width
from speechquant.report.plots.scales import LogScale, Scale, fitting_scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from speechquant.report.data import System

__all__ = ["draw_systems"]

_TOP = 8
_BESIDE_FROM = 600
"""From this width on the names stand beside the whiskers, otherwise above them."""


def draw_systems(systems: Sequence[System], rate: str, width: int) -> str:
    """One row per system: its name, a dot at the rate (percent), a whisker over the interval.

    `rate` names what is drawn, "WER" or "disagreement".
    """
    beside = width >= _BESIDE_FROM
    row_height = 36 if beside else 46
    bottom = _TOP + row_height * len(systems)
    spoken = "; ".join(f"{s.label} {percent(s.wer)}" for s in systems)
    canvas = Canvas(width, bottom + 40, f"{rate} with 95 % intervals: {spoken}")
    left = max(text_width(_name(s)) for s in systems) + 20 if beside else 0
    values = [v for s in systems for v in (s.low, s.wer, s.high)]
    scale = fitting_scale(values, left + 8, width - 12)
    log = ", logarithmic" if isinstance(scale, LogScale) else ""
    x_axis(canvas, scale, (_TOP, bottom), f"{rate} in %{log}")
    reference = next((s for s in systems if s.key == "float"), None)
    for row, system in enumerate(systems):
        y = _TOP + row_height * (row + 1) - (18 if beside else 14)
        if reference is not None:
            x, reach = scale(reference.wer), row_height / 2 if beside else 13
            canvas.line((x, y - reach), (x, y + reach), "reference")
        _draw_whisker(canvas, system, scale, y)
        canvas.text((0, y + 4 if beside else y - 18), _name(system), "label strong")
    return canvas.markup()


def _name(system: System) -> str:
    return f"{system.label}  {percent(system.wer)}"


def _draw_whisker(canvas: Canvas, system: System, scale: Scale, y: float) -> None:
    low, high = scale(system.low), scale(system.high)
    canvas.line((low, y), (high, y), f"whisker stroke-{system.key}")
    for x in (low, high):
        canvas.line((x, y - 5), (x, y + 5), f"whisker stroke-{system.key}")
    tip = f"{_name(system)}, 95 % interval {percent(system.low)} to {percent(system.high)}"
    canvas.circle((scale(system.wer), y), 6, f"dot fill-{system.key}", tip)
