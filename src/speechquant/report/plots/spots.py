"""Systems as points with error bars, and the line that joins the best of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from speechquant.report.data import Cost, TradeoffPoint
    from speechquant.report.plots.canvas import Canvas
    from speechquant.report.plots.labels import Labels

__all__ = ["Spot", "draw_frontier", "draw_labels", "draw_whiskers", "frontier", "placed", "spread"]

_APART = 13


@dataclass(frozen=True, slots=True)
class Spot:
    """A point in pixels; `ends` are those of its interval, the lower one on the page first."""

    point: TradeoffPoint
    x: float
    y: float
    ends: tuple[float, float]


def placed(points: Sequence[TradeoffPoint], kind: Cost) -> list[TradeoffPoint]:
    """The points that have this cost and a rate."""
    return [p for p in points if p.cost(kind) is not None and math.isfinite(p.wer)]


def frontier(points: Sequence[TradeoffPoint], kind: Cost) -> list[TradeoffPoint]:
    """The points that no other beats in both rate and cost, cheapest first (the Pareto front).

    A simulation is no system that anybody could run instead, so it is never among them.
    """
    front: list[TradeoffPoint] = []
    real = [point for point in placed(points, kind) if point.key != "simulated"]
    for point in sorted(real, key=lambda p: (p.cost(kind), p.wer)):
        if not front or point.wer < front[-1].wer:
            front.append(point)
    return front


def spread(spots: Sequence[Spot], right: float) -> list[Spot]:
    """Spots that would hide each other move aside and stay in order: to the right, and back from the border `right`."""
    order = sorted(range(len(spots)), key=lambda index: spots[index].x)
    xs = [spot.x for spot in spots]
    for place, index in enumerate(order):
        before = [xs[other] for other in order[:place] if _collide(spots[index], spots[other])]
        xs[index] = max([xs[index], *(x + _APART for x in before)])
    for place, index in reversed(list(enumerate(order))):
        after = [xs[other] for other in order[place + 1 :] if _collide(spots[index], spots[other])]
        xs[index] = min([xs[index], right, *(x - _APART for x in after)])
    return [replace(spot, x=x) for spot, x in zip(spots, xs, strict=True)]


def _collide(one: Spot, other: Spot) -> bool:
    """Whether their intervals overlap on the page."""
    return other.ends[1] <= one.ends[0] and one.ends[1] <= other.ends[0]


def draw_whiskers(canvas: Canvas, spot: Spot, style: str, labels: Labels) -> None:
    """The interval of a spot, which no label is to cover."""
    canvas.line((spot.x, spot.ends[0]), (spot.x, spot.ends[1]), style)
    for y in spot.ends:
        canvas.line((spot.x - 4, y), (spot.x + 4, y), style)
    labels.keep_free((spot.x - 5, spot.ends[1]), (spot.x + 5, spot.ends[0]))


def draw_frontier(canvas: Canvas, spots: Sequence[Spot], kind: Cost) -> None:
    """A dotted line of steps through the spots on the front, where there are two at least."""
    best = frontier([spot.point for spot in spots], kind)
    front = [next((s.x, s.y) for s in spots if s.point is point) for point in best]
    if len(front) > 1:
        canvas.path(_stairs(front), "frontier")


def draw_labels(canvas: Canvas, spots: Sequence[Spot], labels: Labels) -> None:
    """The name of each spot beside it, where there is room."""
    for spot in spots:
        place = labels.place((spot.x, spot.y), spot.point.label, (spot.ends[1], spot.ends[0]))
        if place is not None:
            canvas.text(place.at, spot.point.label, "label halo", place.anchor)


def _stairs(front: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    steps = [front[0]]
    for x, y in front[1:]:
        steps += [(x, steps[-1][1]), (x, y)]
    return steps
