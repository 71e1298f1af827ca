"""The page of a comparison and the plot of amplitudes."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from speechquant.report.compare import ComparePage, PageTable, amplitude_file, pareto_file, render_compare
from speechquant.report.compare_amplitudes import AmplitudeFigure, AmplitudeSeries, draw_amplitudes
from speechquant.report.data import TradeoffPoint

WIDE = AmplitudeSeries("conv.0", (0.0, 1.0, 2.0, 4.0, 8.0), (10.0, 50.0, 30.0, 10.0))
NARROW = AmplitudeSeries("Transformer", (0.0, 0.5, 1.0), (75.0, 25.0))
FIGURE = AmplitudeFigure("figure1b", "Activations", (WIDE, NARROW))
POINTS = (
    TradeoffPoint("float", 2.3, 1.6, 3.1, 108.5, key="float"),
    TradeoffPoint("stablequant w8a8", 3.1, 2.1, 4.1, 27.8),
)


def page(**changes):
    table = PageTable("Rates", ("method", "WER"), (("<b>max</b>", "2.3"),), ("a & b",))
    values = {"title": "T <1>", "facts": ("m",), "tables": (table,), "command": "speechquant compare"}
    return ComparePage(**{**values, "points": POINTS, "amplitudes": (FIGURE,), **changes})


def paths(markup):
    return [p for p in ET.fromstring(markup).iter() if p.tag.endswith("path")]


def test_names_from_elsewhere_are_escaped():
    text = render_compare(page(warnings=("<script>x</script>",)))
    assert "&lt;b&gt;max&lt;/b&gt;" in text
    assert "<script>x" not in text
    assert "<h1>T &lt;1&gt;</h1>" in text


def test_scripts_and_styles_are_those_of_the_policy():
    import base64
    import hashlib

    text = render_compare(page())
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1]
    for tag, name in (("style", "style-src"), ("script", "script-src")):
        (body,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in policy.replace("&#39;", "'")


def test_parts_without_content_are_left_out():
    text = render_compare(page(points=(), amplitudes=(), tables=()))
    assert "<svg" not in text
    assert "<table" not in text


def test_a_line_has_a_point_for_every_bin_that_is_not_empty_and_closed_below():
    lines = [
        p
        for p in paths(draw_amplitudes(FIGURE, 800))
        if p.get("d").count("L") != 1 or "series" in p.get("class")
    ]
    longest = max(lines, key=lambda p: p.get("d").count("L"))
    assert longest.get("d").count("L") == 2
    assert WIDE.shares == (0.1, 0.5, 0.3, 0.1)
    assert (WIDE.largest, NARROW.largest) == (8.0, 1.0)
    assert AmplitudeSeries("x", (0.0, 1.0), (0.0,)).largest == 0


def test_taller_shares_stand_higher_and_larger_values_further_right():
    (line,) = [p.get("d") for p in paths(draw_amplitudes(FIGURE, 800)) if p.get("d").count("L") == 2]
    points = [tuple(map(float, pair.split())) for pair in re.findall(r"[\d.]+ [\d.]+", line)]
    (x0, y0), (x1, y1), (x2, y2) = points
    assert x0 < x1 < x2
    assert y0 < y1 < y2


@pytest.mark.parametrize("width", [340, 960])
def test_names_of_many_series_stay_inside(width):
    many = AmplitudeFigure(
        "f", "t", tuple(AmplitudeSeries(f"conv.{i}", WIDE.edges, WIDE.counts) for i in range(9))
    )
    root = ET.fromstring(draw_amplitudes(many, width))
    names = [t for t in root.iter() if t.tag.endswith("text") and "key" in t.get("class")]
    assert len(names) == 9
    assert all(float(t.get("x")) < width - 30 for t in names)


@pytest.mark.parametrize("name", ["conv.{}", "weights of conv.{}"])
@pytest.mark.parametrize("width", [340, 960])
def test_names_stand_above_the_lines(width, name):
    many = AmplitudeFigure(
        "f", "t", tuple(AmplitudeSeries(name.format(i), WIDE.edges, WIDE.counts) for i in range(7))
    )
    root = ET.fromstring(draw_amplitudes(many, width))
    lowest = max(float(t.get("y")) for t in root.iter("text") if "key" in t.get("class"))
    grid = [float(g.get("y1")) for g in root.iter("line") if g.get("x1") == g.get("x2")]
    assert lowest + 8 < min(grid)


def test_files_are_documents():
    for text in (pareto_file(page()), amplitude_file(FIGURE)):
        root = ET.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root[0].tag.endswith("style")


def test_rare_shares_are_written_out():
    rare = AmplitudeSeries("x", (0.0, 1.0, 2.0, 4.0), (1.0, 1e7, 0.2))
    drawn = ET.fromstring(draw_amplitudes(AmplitudeFigure("a", "A", (rare,)), 700))
    labels = {one.text.rstrip("\u202f%") for one in drawn.iter() if one.text and one.text.endswith("%")}
    assert {"0.0001", "0.01", "1", "100"} <= labels
    assert all(float(label) and "e" not in label for label in labels)
