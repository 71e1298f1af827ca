"""A small SVG canvas whose colours come from the style sheet, so that every theme and print works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Anchor", "Canvas", "text_width"]

Anchor = Literal["start", "middle", "end"]

_GLYPH_WIDTH = 6.6
_CORNERS = {
    "triangle": ((-4.5, -4), (4.5, -4), (0, 4)),
    "diamond": ((-5, 0), (0, -5), (5, 0), (0, 5)),
}


def text_width(text: str) -> float:
    """A safe width in pixels for 12 px text in whatever sans-serif font the reader has."""
    return _GLYPH_WIDTH * len(text)


class Canvas:
    """An inline `<svg>` of `width` x `height` CSS pixels; all text and attributes are escaped.

    The picture is announced to screen readers as `label`; the figures stand in a table beside it.
    """

    def __init__(self, width: int, height: float, label: str) -> None:
        self.width = width
        self.height = round(height)
        self._root = ET.Element(
            "svg",
            {
                "class": "plot",
                "viewBox": f"0 0 {width} {self.height}",
                "width": str(width),
                "height": str(self.height),
                "role": "img",
                "aria-label": label,
            },
        )

    def line(self, start: tuple[float, float], end: tuple[float, float], style: str) -> None:
        """A straight line."""
        (x1, y1), (x2, y2) = start, end
        self._add("line", style, x1=x1, y1=y1, x2=x2, y2=y2)

    def rect(
        self,
        corner: tuple[float, float],
        size: tuple[float, float],
        style: str,
        tip: str = "",
        radius: float = 0,
    ) -> None:
        """A rectangle from its upper left corner; `tip` is shown under the mouse."""
        (x, y), (width, height) = corner, size
        self._add("rect", style, tip, x=x, y=y, width=max(width, 0), height=max(height, 0), rx=radius)

    def circle(self, centre: tuple[float, float], radius: float, style: str, tip: str = "") -> None:
        """A disc; `tip` is shown under the mouse."""
        self._add("circle", style, tip, cx=centre[0], cy=centre[1], r=radius)

    def path(
        self, points: Iterable[tuple[float, float]], style: str, *, closed: bool = False, tip: str = ""
    ) -> None:
        """Straight segments through `points`."""
        steps = "L".join(f"{_short(x)} {_short(y)}" for x, y in points)
        element = ET.SubElement(self._root, "path", {"class": style, "d": f"M{steps}{'Z' if closed else ''}"})
        if tip:
            ET.SubElement(element, "title").text = tip

    def marker(
        self, shape: str, at: tuple[float, float], style: str, *, size: float = 1, tip: str = ""
    ) -> None:
        """A small "disc", "square", "triangle" or "diamond": shapes tell apart what colours cannot."""
        if shape == "disc":
            self.circle(at, 4 * size, style, tip)
        elif shape == "square":
            half = 3.5 * size
            self.rect((at[0] - half, at[1] - half), (2 * half, 2 * half), style, tip)
        else:
            points = [(at[0] + size * dx, at[1] + size * dy) for dx, dy in _CORNERS[shape]]
            self.path(points, style, closed=True, tip=tip)

    def text(
        self, at: tuple[float, float], content: str, style: str = "label", anchor: Anchor = "start"
    ) -> None:
        """One line of text, its baseline at `at`."""
        element = self._add("text", style, x=at[0], y=at[1])
        if anchor != "start":
            element.set("text-anchor", anchor)
        element.text = content

    def markup(self) -> str:
        """The `<svg>` element, ready to stand in a page."""
        return ET.tostring(self._root, encoding="unicode")

    def _add(self, name: str, style: str, tip: str = "", **geometry: float) -> ET.Element:
        attributes = {
            key: _short(value) for key, value in geometry.items() if not (key == "rx" and not value)
        }
        element = ET.SubElement(self._root, name, {"class": style, **attributes})
        if tip:
            ET.SubElement(element, "title").text = tip
        return element


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
