"""Contrast of two colours by the WCAG 2 formula."""

from __future__ import annotations

import re

__all__ = ["contrast"]


def contrast(one: str, other: str) -> float:
    """From 1 to 21; colours as `#rrggbb` or as browsers write them, `rgb(r, g, b)`."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    hexes = re.fullmatch(r"#(\w\w)(\w\w)(\w\w)", colour)
    numbers = [int(h, 16) for h in hexes.groups()] if hexes else map(int, re.findall(r"\d+", colour)[:3])
    channels = [number / 255 for number in numbers]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
