"""Where names go beside the points of a plot so that they do not cover each other."""

from __future__ import annotations

from dataclasses import dataclass

from speechquant.report.plots.canvas import Anchor, text_width

__all__ = ["Labels", "Place"]

_ABOVE, _BELOW = 11, 4
_MARGIN = 2


@dataclass(frozen=True, slots=True)
class Place:
    """The baseline point of a label and the end of it that stands there."""

    at: tuple[float, float]
    anchor: Anchor


Box = tuple[float, float, float, float]


class Labels:
    """Places labels one after another inside an area given by its upper left and lower right corner."""

    def __init__(self, upper_left: tuple[float, float], lower_right: tuple[float, float]) -> None:
        self._area: Box = (*upper_left, *lower_right)
        self._taken: list[Box] = []

    def keep_free(self, upper_left: tuple[float, float], lower_right: tuple[float, float]) -> None:
        """No label covers this rectangle."""
        self._taken.append((*upper_left, *lower_right))

    def place(self, point: tuple[float, float], text: str, reach: tuple[float, float]) -> Place | None:
        """Beside the point, else above or below what belongs to it, nearest first; None where there is no room.

        `reach` is the upper and the lower end of what belongs to the point.
        """
        x, y = point
        top, bottom = reach
        wanted: list[Place] = []
        for shift in (0, -14, 14):
            wanted += [Place((x + 10, y + 4 + shift), "start"), Place((x - 10, y + 4 + shift), "end")]
        for level in (top - 7, bottom + 15, top - 21, bottom + 29, top - 35):
            wanted += [
                Place((x, level), "middle"),
                Place((x - 6, level), "start"),
                Place((x + 6, level), "end"),
            ]
        for place in wanted:
            box = _box(place, text)
            if self._inside(box) and not any(_overlap(box, other) for other in self._taken):
                self._taken.append(box)
                return place
        return None

    def _inside(self, box: Box) -> bool:
        left, top, right, bottom = self._area
        return box[0] >= left and box[1] >= top and box[2] <= right and box[3] <= bottom


def _box(place: Place, text: str) -> Box:
    x, y = place.at
    width = text_width(text)
    left = x - {"start": 0.0, "middle": width / 2, "end": width}[place.anchor]
    return (left - _MARGIN, y - _ABOVE, left + width + _MARGIN, y + _BELOW)


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
