"""The page and the pictures of a learned model in a real browser."""

from __future__ import annotations

import math

import pytest
from contrast import contrast

from speechquant.report import (
    MatrixBits,
    ReportData,
    StoredWeights,
    System,
    bits_file,
    learning_file,
    render,
)

SELF = tuple(f"self_attn.{name}_proj" for name in "qkvo")
CROSS = tuple(f"encoder_attn.{name}_proj" for name in "qkvo")
MATRICES = (
    *((f"conv.{i}", f"encoder.conv{i + 1}") for i in range(3)),
    *((f"encoder.{i}", f"encoder.layers.{i}.{name}") for i in range(6) for name in (*SELF, "fc1", "fc2")),
    *(
        (f"decoder.{i}", f"decoder.layers.{i}.{name}")
        for i in range(6)
        for name in (*SELF, *CROSS, "fc1", "fc2")
    ),
    ("head", "proj_out"),
)
BITS = tuple(
    MatrixBits(layer, module, bits)
    for (layer, module), bits in zip(
        MATRICES, [2, 3, 4, 5, 6, 7, 8, 2.35, 3.58, 1.5] * len(MATRICES), strict=False
    )
)
THEMES = ("light", "dark")
SHAPES = """[...document.querySelectorAll("%s")]
  .map((e) => [e.tagName, e.getAttribute("class"), getComputedStyle(e).fill, getComputedStyle(e).stroke])"""


def history(evaluations=13, every=20):
    rows = []
    for step in range(0, evaluations * every, every):
        left = math.exp(-step / 80)
        dev = {"wer": 8.1 + 22 * math.exp(-step / 50) + max(0, step - 180) / 90}
        rows += [{"step": step + i, "loss": 0.4 + 2 * left + 0.1 * (i % 7)} for i in range(1, every)]
        bits = {choice.module: choice.bits + (6 - choice.bits) * left for choice in BITS}
        average = sum(bits.values()) / len(bits)
        rows.append({"step": step, "bits": bits, "average_bits": average, "dev": dev, "best": step <= 180})
    return tuple(sorted(rows, key=lambda row: row["step"]))


@pytest.fixture(scope="module")
def learned():
    return ReportData(
        title="Moonshine tiny in 4 bits on average",
        model="moonshine-tiny",
        method="one-stage",
        bits="W4A16",
        references="transcripts",
        systems=(
            System("float", "Float", 1684, 28, 6, 5, 2.32, 1.61, 3.12),
            System("quantized", "one-stage", 1684, 31, 7, 5, 2.55, 1.80, 3.39, 0.31),
        ),
        stored=StoredWeights(108_400_000, 13_100_000, 14_900_000, 3.96, 4.18),
        matrix_bits=BITS,
        learning=history(),
        learning_float=7.76,
    )


@pytest.fixture(scope="module")
def address(learned, tmp_path_factory):
    folder = tmp_path_factory.mktemp("learned")
    for name, text in (
        ("page.html", render(learned)),
        ("bits.svg", bits_file(learned.matrix_bits, learned.learning)),
        ("curve.svg", learning_file(learned.learning, learned.learning_float)),
    ):
        (folder / name).write_text(text, encoding="utf-8")
    return folder.as_uri()


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", [320, 390, 1100])
def test_bits_and_curve_are_seen_at_any_width(browser, address, width, theme):
    browser.open(f"{address}/page.html", width=width, prefers_color_scheme=theme)
    assert browser.console == []
    assert browser.js("document.documentElement.scrollWidth") <= width
    shown = "narrow" if width < 640 else "wide"
    for section in ("bits", "learning"):
        assert (
            browser.js(f"document.querySelector('#{section} .{shown} svg').getBoundingClientRect().height")
            > 200
        )
    card = browser.js("getComputedStyle(document.getElementById('learning')).backgroundColor")
    dots = browser.js(SHAPES % f"#learning .{shown} circle")
    assert len(dots) == 13
    assert all(contrast(fill, card) >= 3 for _, _, fill, _ in dots)
    # A picture is scaled down on a small phone; its words must stay readable.
    sizes = browser.js("""[...document.querySelectorAll("#bits svg, #learning svg")]
      .filter((svg) => svg.clientWidth).map((svg) => 12 * svg.getScreenCTM().a)""")
    assert len(sizes) == 3
    assert min(sizes) >= 8.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("name", "section"), [("bits.svg", "bits"), ("curve.svg", "learning")])
def test_files_have_the_colours_of_the_page(browser, address, theme, name, section):
    browser.open(f"{address}/page.html", prefers_color_scheme=theme)
    page = browser.js(SHAPES % f"#{section} figure:first-of-type .wide svg *")
    browser.open(f"{address}/{name}", prefers_color_scheme=theme)
    drawn = "svg > :not(style), svg > :not(style) *"
    file = browser.js(SHAPES % drawn)
    colours = {tuple(shape) for shape in file if shape[1]}
    assert len(colours) > 5
    assert colours == {tuple(shape) for shape in page if shape[1]}


def test_all_of_the_bits_are_inside_of_their_picture(browser, address):
    for width in (390, 1100):
        browser.open(f"{address}/page.html", width=width)
        outside = """[...document.querySelectorAll("#bits svg")].filter((svg) => svg.clientWidth).flatMap((svg) => {
          const frame = svg.getBoundingClientRect();
          return [...svg.children].map((e) => [e.outerHTML, e.getBoundingClientRect()]).filter(([, b]) =>
            b.left < frame.left - 1 || b.right > frame.right + 1 || b.bottom > frame.bottom + 1,
          ).map(([html]) => html);
        })"""
        assert browser.js(outside) == []
