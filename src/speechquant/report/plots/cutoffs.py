"""WER against the percentile cut-off."""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from speechquant.report.formats import about, percent, share
from speechquant.report.plots.axes import x_axis, y_axis
from speechquant.report.plots.canvas import Canvas, text_width
from speechquant.report.plots.scales import LinearScale, LogScale, Scale, fitting_scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from speechquant.report.data import CutoffResult

__all__ = ["draw_cutoffs", "upper_limit"]

_TOP = 34
_BOTTOM = 260
_LEFT = 44
_SPREADS = 4
_LEAST_SPREAD = 0.1


def draw_cutoffs(
    cutoffs: Sequence[CutoffResult], p_opt: float | None, float_wer: float | None, width: int
) -> str:
    """The search over p (percent), the chosen p marked, the float WER (percent) as a line where known.

    Estimates are open points.
    """
    results = sorted(cutoffs, key=lambda c: c.p)
    best = next((c for c in results if c.p == p_opt), None)
    spoken = f"; best {percent(best.wer)} at p = {best.p:g} %" if best else ""
    canvas = Canvas(width, _BOTTOM + 40, f"WER against cut-off, {len(results)} candidates{spoken}")
    limit = upper_limit([c.wer for c in results])
    wers = [c.wer for c in results if c.wer <= limit] + ([] if float_wer is None else [float_wer])
    y = fitting_scale(wers, _BOTTOM, _TOP)
    x = LinearScale(results[0].p, max(results[-1].p, results[0].p + 0.01), _LEFT + 8, width - 12)
    log = ", logarithmic" if isinstance(y, LogScale) else ""
    y_axis(canvas, y, _LEFT, width)
    x_axis(canvas, x, (_BOTTOM, _BOTTOM + 4), "cut-off p in %", lambda v: f"{v:g}")
    canvas.text((0, 14), f"WER in %{log}", "axis")
    if float_wer is not None:
        canvas.line((_LEFT, y(float_wer)), (width, y(float_wer)), "reference")
        canvas.text((width - 4, y(float_wer) + 15), f"float {percent(float_wer)}", "label halo", "end")
    canvas.path([(x(c.p), y(c.wer)) for c in results], "curve")
    _mark_outliers(canvas, results, limit, x)
    for c in results:
        if c.wer > limit:
            continue
        style, radius = ("dot fill-quantized", 3.2) if c.share == 1 else ("estimate", 2.2)
        canvas.circle((x(c.p), y(c.wer)), radius, style, _tip(c))
    if best is not None:
        _mark(canvas, best, (x(best.p), y(best.wer)))
    return canvas.markup()


def upper_limit(wers: Sequence[float]) -> float:
    """The largest rate (percent) that is drawn to scale: so far above the best that most of the others fit well.

    Without clipping a model may fail altogether; its rate would press those that matter into one line.
    """
    known = [wer for wer in wers if math.isfinite(wer)]
    if not known:
        return math.inf
    best = min(known)
    spread = float(np.percentile(known, 75)) - best
    return best + _SPREADS * max(spread, _LEAST_SPREAD * best)


def _tip(c: CutoffResult) -> str:
    rate, errors = about(percent(c.wer), c.share), about(f"{c.errors:,}", c.share)
    heard = "" if c.share == 1 else f", from {share(c.share, 1)} of the words"
    return f"p = {c.p:g} %: WER {rate}, {errors} errors{heard}"


def _mark_outliers(canvas: Canvas, results: Sequence[CutoffResult], limit: float, x: Scale) -> None:
    """An arrow at the upper border for each rate beyond it, and the largest of neighbours in words."""
    for beyond, run in groupby(results, key=lambda c: c.wer > limit):
        if not beyond:
            continue
        group = list(run)
        for c in group:
            at = x(c.p)
            style = "outlier" if c.share == 1 else "estimate"
            canvas.circle((at, _TOP), 6, "hit", _tip(c))
            canvas.path([(at - 4.5, _TOP + 5), (at + 4.5, _TOP + 5), (at, _TOP - 4)], style, closed=True)
        highest = max(group, key=lambda c: c.wer)
        worst = about(percent(highest.wer), highest.share)
        text = f"{worst} at p = {group[0].p:g} %" if len(group) == 1 else f"up to {worst}"
        end = x(group[-1].p) + 10
        fits = end + text_width(text) < canvas.width
        canvas.text(
            (end if fits else x(group[0].p) - 10, _TOP + 14), text, "label halo", "start" if fits else "end"
        )


def _mark(canvas: Canvas, best: CutoffResult, at: tuple[float, float]) -> None:
    text = f"p_opt = {best.p:g} %, WER {percent(best.wer)}"
    canvas.line((at[0], _TOP - 8), (at[0], _BOTTOM), "threshold")
    canvas.circle(at, 6.5, "dot fill-selected", text)
    fits = at[0] + 8 + text_width(text) < canvas.width
    canvas.text(
        (at[0] + (6 if fits else -6), _TOP - 2), text, "label halo strong", "start" if fits else "end"
    )
