"""The picture of bits: a cell per matrix, a curve where bits were learned."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from speechquant.report import MatrixBits, ReportData, StoredWeights, bits_file, judge, render
from speechquant.report.plots import draw_bit_history, draw_bits

CHOICES = [
    MatrixBits("transformer.0", "a", 2),
    MatrixBits("transformer.0", "b", 8),
    MatrixBits("transformer.1", "c", 4),
]
SVG = "{http://www.w3.org/2000/svg}"


def test_every_matrix_has_a_cell_in_the_row_of_its_layer():
    picture = ET.fromstring(bits_file(CHOICES))
    cells = [
        (part.get("y"), part.get("class"), part[0].text) for part in picture.iter(f"{SVG}rect") if len(part)
    ]
    assert [(style, tip) for _, style, tip in cells] == [
        ("b2", "a: 2 bits"),
        ("b8", "b: 8 bits"),
        ("b4", "c: 4 bits"),
    ]
    assert cells[0][0] == cells[1][0] != cells[2][0]
    assert not list(picture.iter(f"{SVG}path"))


@pytest.mark.parametrize("width", [326, 912])
def test_a_layer_of_many_matrices_has_several_lines_inside_of_the_width(width):
    many = [MatrixBits(layer, f"{layer}.{place}", 4) for layer in ("a", "b") for place in range(40)]
    picture = ET.fromstring(draw_bits(many, (), width))
    assert picture.get("width") == str(width)
    cells = [
        (float(part.get("x")), float(part.get("y")), part[0].text)
        for part in picture.iter("rect")
        if len(part)
    ]
    assert len({(x, y) for x, y, _ in cells}) == len(cells) == 80
    assert max(x for x, *_ in cells) + 24 <= width
    assert max(y for _, y, tip in cells if tip.startswith("a.")) + 24 < min(
        y for _, y, tip in cells if tip.startswith("b.")
    )
    name = next(text for text in picture.iter("text") if text.text == "b")
    assert float(name.get("y")) < next(y for *_, y, tip in cells if tip.startswith("b.")) + 24


def test_fractions_have_the_colour_of_the_next_width():
    picture = ET.fromstring(
        bits_file([MatrixBits("head", "a", 1.5), MatrixBits("head", "b", 2.5), MatrixBits("head", "c", 3.0)])
    )
    cells = [(part.get("class"), part[0].text) for part in picture.iter(f"{SVG}rect") if len(part)]
    assert cells == [("b2", "a: 1.5 bits"), ("b3", "b: 2.5 bits"), ("b3", "c: 3 bits")]


def test_the_curve_has_a_point_for_every_update():
    rows = [{"step": step, "average_bits": 5 - step / 2} for step in (1, 2, 3)] + [{"step": 3, "dev": {}}]
    (curve,) = ET.fromstring(bits_file(CHOICES, rows)).iter(f"{SVG}path")
    assert curve.get("d").count("L") == 2


def test_every_shade_is_explained():
    picture = ET.fromstring(bits_file(CHOICES))
    shades = [part.get("class") for part in picture.iter(f"{SVG}rect") if not len(part)]
    assert shades == [f"b{bits}" for bits in range(2, 9)]


def test_the_history_has_a_cell_for_every_matrix_and_evaluation():
    rows = [
        {"step": 0, "bits": {"a": 4.0, "b": 4.0}},
        {"step": 5, "loss": 1.0},
        {"step": 10, "bits": {"a": 7.5, "b": 2.2}, "dev": {"wer": 3.0}},
    ]
    picture = ET.fromstring(draw_bit_history(rows, 600))
    cells = [part for part in picture.iter("rect") if len(part)]
    assert [(part.get("class"), part[0].text) for part in cells] == [
        ("b4", "a, update 0: 4 bits"),
        ("b4", "b, update 0: 4 bits"),
        ("b8", "a, update 10: 7.5 bits"),
        ("b3", "b, update 10: 2.2 bits"),
    ]
    lefts, tops = ([float(part.get(name)) for part in cells] for name in ("x", "y"))
    assert lefts[0] == lefts[1] < lefts[2] == lefts[3]
    assert tops[0] == tops[2] < tops[1] == tops[3]


def test_a_long_history_is_thinned_but_keeps_its_ends():
    rows = [{"step": step, "bits": {"a": 4.0}} for step in range(1000)]
    picture = ET.fromstring(draw_bit_history(rows, 600))
    tips = [part[0].text for part in picture.iter("rect") if len(part)]
    assert len(tips) == 60
    assert (tips[0], tips[-1]) == ("a, update 0: 4 bits", "a, update 999: 4 bits")


def learned(**more: object) -> ReportData:
    return ReportData(
        title="m", model="m", method="one-stage", bits="W3A16", references="transcripts", systems=(), **more
    )


def test_the_page_shows_bits_and_what_the_file_takes():
    rows = ({"step": 1, "bits": {"a": 3.0, "b": 8.0, "c": 4.0}, "average_bits": 5.0},)
    size = StoredWeights(100_000_000, 10_000_000, 16_000_000, 3.0, 5.25)
    data = learned(matrix_bits=tuple(CHOICES), learning=rows, stored=size)
    page = render(data)
    assert 'id="bits"' in page
    assert 'href="#bits"' in page
    assert "Expected bits of every matrix by update" in page
    assert "<code>b</code></th><td>transformer.0</td><td>8</td>" in page
    assert "10.0\N{MULTIPLICATION SIGN} smaller than in float32" in page
    assert "6.2\N{MULTIPLICATION SIGN}" in page
    assert "takes 10\N{NARROW NO-BREAK SPACE}% of the space" in judge(data).plain


def test_a_page_without_a_search_has_no_bits():
    page = render(learned())
    assert 'id="bits"' not in page
    assert "Weights on disk" not in page
