"""The picture of bits: a cell per matrix, a curve where bits were learned."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from speechquant.report import bits_file

CHOICES = [("transformer.0", "a", 2), ("transformer.0", "b", 8), ("transformer.1", "c", 4)]
SVG = "{http://www.w3.org/2000/svg}"


def test_every_matrix_has_a_cell_in_the_row_of_its_layer():
    picture = ET.fromstring(bits_file(CHOICES))
    cells = [(part.get("y"), part.get("class"), part[0].text) for part in picture.iter(f"{SVG}rect")]
    assert [(style, tip) for _, style, tip in cells] == [
        ("b2", "a: 2 bits"),
        ("b8", "b: 8 bits"),
        ("b4", "c: 4 bits"),
    ]
    assert cells[0][0] == cells[1][0] != cells[2][0]
    assert not list(picture.iter(f"{SVG}path"))


def test_fractions_have_the_colour_of_the_next_width():
    picture = ET.fromstring(bits_file([("head", "a", 1.5), ("head", "b", 2.5), ("head", "c", 3.0)]))
    cells = [(part.get("class"), part[0].text) for part in picture.iter(f"{SVG}rect")]
    assert cells == [("b2", "a: 1.5 bits"), ("b3", "b: 2.5 bits"), ("b3", "c: 3 bits")]


def test_the_curve_has_a_point_for_every_update():
    rows = [{"step": step, "average_bits": 5 - step / 2} for step in (1, 2, 3)] + [{"step": 3, "dev": {}}]
    (curve,) = ET.fromstring(bits_file(CHOICES, rows)).iter(f"{SVG}path")
    assert curve.get("d").count("L") == 2
