"""Speed on the page of a comparison: the second panel, Figure 2, and both in a real browser."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from speechquant.report import TradeoffPoint
from speechquant.report.compare import ComparePage, LatencyPart, PageTable, pareto_file, render_compare
from speechquant.report.plots.latency_lines import LatencyFigure, LatencyLine, draw_latency_lines
from speechquant.report.plots.pareto import draw_pareto

SVG = "{http://www.w3.org/2000/svg}"
AXIS = "ms for 10 s, ONNX Runtime, 16 threads"
# Speed and size order them differently: the one of four bits is small and slow.
POINTS = tuple(
    TradeoffPoint(bits, wer, wer - 0.5, wer + 0.5, size, ms, group=method)
    for method, lost in (("max", 1.0), ("stablequant", 0.0))
    for bits, wer, size, ms in (("w8a8", 3 + lost, 27.0, 150.0), ("w4a16", 4 + lost, 15.0, 260.0))
)
UNTIMED = TradeoffPoint("w4a4", 6.0, 5.5, 6.5, 14.0, group="max")
LINES = (TradeoffPoint("float", 2.3, 1.6, 3.1, 108.4, 340.0),)
LENGTHS = (1.0, 5.0, 10.0, 20.0, 30.0)
SYSTEMS = {
    "torch f32": ("torch", "f32", 60.0),
    "onnxruntime f32": ("onnxruntime", "f32", 34.0),
    "openvino f32": ("openvino", "f32", 38.0),
    "openvino bf16": ("openvino", "bf16", 21.0),
    "onnxruntime w8a8": ("onnxruntime", "int8", 15.0),
    "openvino w8a8": ("openvino", "int8", 17.0),
}
FIGURE = LatencyFigure(
    LENGTHS,
    tuple(
        LatencyLine(name, engine, kind, tuple(ms * s for s in LENGTHS), f"{name} {34 / ms:.2f}x")
        for name, (engine, kind, ms) in SYSTEMS.items()
    ),
)
HEAD = (
    "system",
    "ms",
    "quartiles",
    "spread",
    *(f"against {n}" for n in list(SYSTEMS)[:4]),
    "in int8",
    "note",
)
TABLE = PageTable(
    "Latency at 10 s, and times faster than each float system",
    HEAD,
    tuple((n, "349", "327 to 366", "11 %", *4 * ("1.72x",), "34 of 34", "rest in bf16") for n in SYSTEMS),
)
PAGE = ComparePage(
    "Methods compared",
    ("m",),
    (PageTable("Word error rates", ("row", "WER"), (("max", "3"),)),),
    "speechquant compare",
    points=(*POINTS, UNTIMED),
    references=LINES,
    milliseconds=AXIS,
    latency=LatencyPart(FIGURE, (TABLE,), ("CPU threads: 16",)),
)


def tips(root, prefix=""):
    """What belongs to each marker, and its centre."""
    found = {}
    for element in root.iter(f"{prefix}circle"):
        title = element.find(f"{prefix}title")
        if title is not None:
            text = title.text.replace("\N{NARROW NO-BREAK SPACE}", " ")
            found[text] = (float(element.get("cx")), float(element.get("cy")))
    return found


@pytest.mark.parametrize("width", [340, 960])
def test_the_same_rate_is_as_high_in_both_panels(width):
    root = ET.fromstring(draw_pareto((*POINTS, UNTIMED), LINES, width, "size in MB", AXIS))
    # The discs are of the first group.
    found = tips(root)
    assert sum("MB" in tip for tip in found) == 3
    assert sum(" ms" in tip for tip in found) == 2
    axes = {t.text: float(t.get("y")) for t in root.iter("text") if t.get("class") == "axis"}
    down = axes[AXIS] - axes["size in MB"]
    assert (down > 200) == (width == 340)
    for bits in ("w8a8", "w4a16"):
        (one,) = (at for tip, at in found.items() if tip.startswith(f"max {bits}:") and tip.endswith("MB"))
        (two,) = (at for tip, at in found.items() if tip.startswith(f"max {bits}:") and tip.endswith("ms"))
        assert two[1] - one[1] == pytest.approx(down, abs=0.2)
        if width == 960:
            assert one[0] < width / 2 < two[0]


def test_each_panel_has_its_own_order_and_front():
    root = ET.fromstring(draw_pareto(POINTS, LINES, 960, "size in MB", AXIS))
    found = {tip.split(":")[0] + tip[-3:]: at for tip, at in tips(root).items()}
    assert found["max w4a16 MB"][0] < found["max w8a8 MB"][0]
    assert found["max w8a8 ms"][0] < found["max w4a16 ms"][0]
    # By size both widths of StableQuant are on the front, by speed one of them beats everything.
    fronts = [p for p in root.iter("path") if p.get("class") == "frontier"]
    assert len(fronts) == 1
    assert max(float(x) for x in re.findall(r"[ML]([\d.]+) ", fronts[0].get("d"))) < 480
    assert root.get("aria-label").startswith("WER against size and latency: float 2.30")
    assert "340 ms" in root.get("aria-label")


def test_without_latencies_there_is_one_panel():
    points = tuple(TradeoffPoint(p.label, p.wer, p.low, p.high, p.megabytes, group=p.group) for p in POINTS)
    page = ComparePage("t", (), (), "c", points=points, references=LINES[:1])
    text = pareto_file(page)
    assert "latency" not in text.split("</style>")[1]
    html = render_compare(page)
    assert "<h2>Word error rate against size</h2>" in html
    assert 'id="figure2"' not in html


def test_nothing_measured_leaves_the_reason():
    html = render_compare(ComparePage("t", (), (), "c", latency=LatencyPart(None, (), ("<no> engine",))))
    assert 'id="figure2"' in html
    assert "&lt;no&gt; engine" in html
    assert "<svg" not in html


@pytest.mark.parametrize("width", [340, 960])
def test_a_line_has_the_colour_of_its_engine_and_the_dashes_of_its_kind(width):
    root = ET.fromstring(draw_latency_lines(FIGURE, width, ("s6", "s0", "s4")))
    lines = [p.get("class").split() for p in root.iter("path") if "series" in p.get("class", "")]
    assert lines == [
        ["series", colour, f"kind-{kind}"]
        for colour, kind in (
            ("s6", "f32"), ("s0", "f32"), ("s4", "f32"), ("s4", "bf16"), ("s0", "int8"), ("s4", "int8"),
        )
    ]  # fmt: skip
    assert len(tips(root)) == len(LENGTHS) * len(SYSTEMS)
    names = [t for t in root.iter("text") if (t.text or "").endswith("x")]
    assert {t.text for t in names} == {line.label for line in FIGURE.lines}
    assert all(float(t.get("x")) + 6.6 * len(t.text) <= width + 12 for t in names)


def test_names_of_many_lines_stay_apart_and_inside():
    lines = tuple(LatencyLine(f"system {i}", "e", "int8", (1.0, 2.0)) for i in range(40))
    root = ET.fromstring(draw_latency_lines(LatencyFigure((1.0, 2.0), lines), 960, ("s0",)))
    heights = sorted(float(t.get("y")) for t in root.iter("text") if (t.text or "").startswith("system"))
    assert np.diff(heights).min() >= 15
    assert 0 < heights[0] < heights[-1] < float(root.get("height"))


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "compare.html"
    path.write_text(render_compare(PAGE), encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 1100])
def test_both_figures_are_seen_whole_and_nothing_complains(browser, address, width, theme):
    browser.open(address, width=width, prefers_color_scheme=theme)
    assert browser.console == []
    assert [name for name in browser.requests if not name.startswith("file:")] == []
    assert browser.js("document.documentElement.scrollWidth") <= width
    for part in ("tradeoff", "figure2"):
        outside = f"""(() => {{
          const all = [...document.querySelectorAll("#{part} svg")];
          const svg = all.find((e) => e.getBoundingClientRect().width);
          const frame = svg.getBoundingClientRect();
          return [...svg.children].map((e) => [e.outerHTML, e.getBoundingClientRect()]).filter(([, b]) =>
            b.left < frame.left - 1 || b.right > frame.right + 1 ||
            b.top < frame.top - 1 || b.bottom > frame.bottom + 1).map(([html]) => html);
        }})()"""
        assert browser.js(outside) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_lines_have_the_colours_of_the_theme(browser, address, theme):
    browser.open(address, prefers_color_scheme=theme)
    styles = """[...document.querySelectorAll("#figure2 .wide path.series")].map((e) => {
      const s = getComputedStyle(e);
      return [s.stroke, s.strokeDasharray, s.fill];
    })"""
    found = browser.js(styles)
    colours, dashes, fills = zip(*found, strict=True)
    assert len(set(colours)) == 3
    assert colours[1] == colours[4] != colours[2] == colours[3] == colours[5]
    assert dashes[0] == dashes[1] == dashes[2] != dashes[3]
    assert dashes[4] == dashes[5] == "none"
    assert set(fills) == {"none"}
    (names,) = {len(browser.js("[...document.querySelectorAll('#figure2 .wide .name')].map((e) => e.id)"))}
    assert names == len(SYSTEMS)
    dots = "[...document.querySelectorAll('#figure2 .wide circle')].map((e) => getComputedStyle(e).fill)"
    assert set(browser.js(dots)) == set(colours)
