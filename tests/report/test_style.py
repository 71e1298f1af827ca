"""Contrast of both themes by the WCAG 2 formula."""

from __future__ import annotations

import re
from importlib import resources

import pytest
from contrast import contrast

from speechquant.report.plots.standalone import plain_style

STYLE = resources.files("speechquant.report").joinpath("templates/style.css").read_text("utf-8")
COLOURS = {name: pair for name, *pair in re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", STYLE)}
SERIES = re.findall(
    r"\.s\d \{ --series: light-dark\((#\w{6}), (#\w{6})\)",
    resources.files("speechquant.report").joinpath("templates/compare.css").read_text("utf-8"),
)
TEXT = ("ink", "muted", "accent", "naive", "good", "unclear", "bad")
GRAPHICS = ("float", "naive", "simulated", "conv", "transformer", "quiet", "accent", "edge")


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


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_digits_are_readable_on_every_shade_of_bits(theme):
    fills = dict(re.findall(r"\.plot \.(\w+) \{ fill: (#\w{6})", plain_style(theme)))
    shades = {bits: fills[f"b{bits}"] for bits in range(2, 9)}
    assert len(set(shades.values())) == 7
    for bits, shade in shades.items():
        assert contrast(fills["on" if bits > 4 else "off"], shade) >= 4.5, bits


def test_a_file_needs_nothing_that_only_browsers_know():
    for theme in (0, 1):
        assert "light-dark" not in plain_style(theme)
        assert "var(" not in plain_style(theme)
        assert COLOURS["accent"][theme] in plain_style(theme)
