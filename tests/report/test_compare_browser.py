"""The page of a comparison in a real browser: sizes, themes, keys and print."""

from __future__ import annotations

import pytest
from contrast import contrast

from speechquant.report import TradeoffPoint
from speechquant.report.compare import ComparePage, PageTable, render_compare
from speechquant.report.compare_amplitudes import AmplitudeFigure, AmplitudeSeries

HEAD = (
    "row", "method", "bits", "layers", "MB", "dev WER % (95 %), S/D/I", "test WER % (95 %), S/D/I", "against float",
    "against StableQuant", "against control", "average bits", "MB on disk", "ratio", "compressed in",
)  # fmt: skip
WORSE = "dev equal 0.061; test worse < 0.001"
METHODS = ("one-stage", "two-stage", "uniform", "allocate (hessian)")
POINTS = tuple(
    TradeoffPoint(f"{method[:3]}-{bits}", wer, wer - 0.6, wer + 1, 3.0 * bits, group=method)
    for lost, method in enumerate(METHODS)
    for bits, wer in ((bits, 3 + lost + 40 / bits**2) for bits in (2, 3, 4))
)
LINES = (TradeoffPoint("float", 2.3, 1.6, 3.1, 108.4), TradeoffPoint("control", 2.1, 1.4, 2.9))
EDGES = (0.0, *(2.0 ** (step / 4) for step in range(-40, 33)))
FIGURES = tuple(
    AmplitudeFigure(
        f"figure1{letter}",
        f"{what}, a convolution and the rest",
        tuple(
            AmplitudeSeries(
                f"{what.lower()} of conv.{i}",
                EDGES,
                tuple(10.0 ** (9 - abs(j - 30 - 3 * i) / 8) for j in range(73)),
            )
            for i in range(7)
        ),
    )
    for letter, what in (("a", "Weights"), ("b", "Activations"))
)
BRIGHTNESS = "Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    rows = tuple(
        (p.label, p.group, "w3.50a16", "all", f"{p.megabytes:.2f}",
         *2 * (f"{p.wer:.2f} ({p.low:.2f} to {p.high:.2f}), 31/5/12",),
         WORSE, "better 0.02", WORSE, "5.09", "10.12", "7.03", "1 h 12 min")
        for p in POINTS
    )  # fmt: skip
    table = PageTable("Word error rates", HEAD, rows, ("a note",))
    page = ComparePage(
        "Methods compared", ("m",), (table,), "speechquant compare m --row " + "a=b " * 40, (), POINTS, LINES,
        amplitudes=FIGURES,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("page") / "compare.html"
    path.write_text(render_compare(page), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def visit(browser, address):
    def show(**settings):
        browser.open(address, **settings)
        return browser

    return show


@pytest.mark.parametrize(("width", "shown"), [(390, "narrow"), (320, "narrow"), (1100, "wide")])
def test_the_page_never_scrolls_sideways(visit, width, shown):
    page = visit(width=width)
    assert page.js("document.documentElement.scrollWidth") <= width
    for name in ("wide", "narrow"):
        visible = page.js(f"document.querySelector('#tradeoff .{name}').offsetWidth > 0")
        assert visible == (name == shown)
    assert page.console == []
    assert [name for name in page.requests if not name.startswith("file:")] == []


@pytest.mark.parametrize("part", ["tradeoff", "figure1a", "figure1b"])
@pytest.mark.parametrize("width", [390, 1100])
def test_all_of_the_picture_is_inside_of_it(visit, width, part):
    page = visit(width=width)
    outside = """(() => {
      const svg = [...document.querySelectorAll("#%s svg")].find((e) => e.getBoundingClientRect().width);
      const frame = svg.getBoundingClientRect();
      const card = document.getElementById("%s").getBoundingClientRect();
      if (frame.left < card.left || frame.right > card.right) return ["the picture itself"];
      return [...svg.children].map((e) => [e.outerHTML, e.getBoundingClientRect()]).filter(([, b]) =>
        b.left < frame.left - 1 || b.right > frame.right + 1 || b.top < frame.top - 1 || b.bottom > frame.bottom + 1,
      ).map(([html]) => html);
    })()"""
    assert page.js(outside % (part, part)) == []


def test_lines_of_amplitudes_are_drawn_in_colours_of_their_own(visit):
    strokes = visit().js(
        "[...document.querySelectorAll('#figure1b .wide .series')].map((e) => getComputedStyle(e).stroke)"
    )
    assert len(strokes) == 14
    assert len(set(strokes)) == 7


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_better_and_worse_stand_out_in_the_table(visit, theme):
    page = visit(prefers_color_scheme=theme)
    cells = "document.querySelector('#tables tbody tr').cells"
    assert page.js(f"{cells}[7].innerText") == "dev equal 0.061; test worse < 0.001"
    assert page.js(f"{cells}[8].innerText") == "better 0.02"
    words = page.js("""[...document.querySelectorAll("#tables tbody tr:first-child .outcome")].map((e) =>
      [e.innerText, getComputedStyle(e).color, getComputedStyle(e).fontWeight])""")
    assert [text for text, *_ in words] == ["worse", "better", "worse"]
    card = page.js("getComputedStyle(document.querySelector('#tables section')).backgroundColor")
    ink = page.js("getComputedStyle(document.body).color")
    assert words[0][1] == words[2][1]
    assert len({ink, words[0][1], words[1][1]}) == 3
    assert all(contrast(colour, card) >= 4.5 and weight == "600" for _, colour, weight in words)


def test_the_table_scrolls_by_keyboard_on_a_phone(visit):
    page = visit(width=390)
    for _ in range(6):
        page.press("Tab")
        if page.js("document.activeElement.matches('.scroll')"):
            break
    assert page.js("document.activeElement.getAttribute('aria-label')") == "Word error rates"
    assert page.js("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press("ArrowRight", 4)
    moved = """new Promise((done) => {
      const region = document.activeElement, tell = () => done(region.scrollLeft > 0);
      if (region.scrollLeft > 0) tell();
      region.addEventListener("scroll", tell, { once: true });
      setTimeout(tell, 5000);
    })"""
    assert page.js(moved)
    # Cells keep a width at which they can be read.
    assert page.js("Math.max(...[...document.querySelectorAll('tbody tr')].map((e) => e.offsetHeight))") < 90


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_methods_have_the_colours_of_the_theme(visit, theme):
    page = visit(prefers_color_scheme=theme)
    fills = page.js(
        "[...new Set([...document.querySelectorAll('#tradeoff .wide .filled')].map((e) => getComputedStyle(e).fill))]"
    )
    assert len(fills) == len(METHODS)
    page.click("#theme")
    other = page.js("getComputedStyle(document.querySelector('#tradeoff .wide .filled')).fill")
    assert other not in fills
    assert (page.js(BRIGHTNESS) > 127) == (theme == "dark")


def test_print_is_dark_on_white_and_fits_a_sheet(visit):
    page = visit(width=690, prefers_color_scheme="dark")
    page.media("print")
    page.settle()
    try:
        assert max(page.js("getComputedStyle(document.body).color.match(/\\d+/g).map(Number)")) < 80
        assert page.js("document.querySelector('#theme').offsetHeight") == 0
        assert page.js("document.querySelector('#tables table').offsetWidth") <= 690
        assert page.js("document.querySelector('#tradeoff .wide').offsetWidth") > 0
    finally:
        page.media()


def test_the_picture_and_the_table_have_names(visit):
    nodes = visit().call("Accessibility.getFullAXTree")["nodes"]
    found = {}
    for node in nodes:
        if not node.get("ignored"):
            found.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    picture, *amplitudes = found["image"]
    assert picture.startswith("WER against size: float 2.30")
    assert "two-stage two-3" in picture
    assert [name.partition(":")[0] for name in amplitudes] == [figure.title for figure in FIGURES]
    assert all(found["region"])
