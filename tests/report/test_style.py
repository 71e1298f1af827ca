"""Contrast of both themes by the WCAG 2 formula."""

from __future__ import annotations

import re
from importlib import resources

import pytest

STYLE = resources.files("speechquant.report").joinpath("templates/style.css").read_text("utf-8")
COLOURS = {name: pair for name, *pair in re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", STYLE)}
SERIES = re.findall(
    r"\.s\d \{ --series: light-dark\((#\w{6}), (#\w{6})\)",
    resources.files("speechquant.report").joinpath("templates/compare.css").read_text("utf-8"),
)
TEXT = ("ink", "muted", "accent", "naive", "good", "unclear", "bad")
GRAPHICS = ("float", "naive", "simulated", "conv", "transformer", "quiet", "accent", "edge")


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_formula_gives_the_known_extreme():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("name", TEXT)
def test_text_is_readable(name, theme):
    for background in ("bg", "card"):
        assert contrast(COLOURS[name][theme], COLOURS[background][theme]) >= 4.5


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("name", GRAPHICS)
def test_graphics_stand_out(name, theme):
    assert contrast(COLOURS[name][theme], COLOURS["card"][theme]) >= 3


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_series_stand_out(theme):
    assert len(SERIES) == len(set(SERIES)) == 7
    assert all(contrast(pair[theme], COLOURS["card"][theme]) >= 4.5 for pair in SERIES)
