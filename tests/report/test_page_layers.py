"""The page layer by layer: tabs, panels, bars, and what is said where there is nothing to say."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from page_parser import Page

from speechquant.report import CutoffResult, render


@pytest.fixture(scope="module")
def html(report_data):
    return render(report_data)


def tabs(html):
    """Name, id of the panel and the panel's text by tab."""
    found = re.findall(
        r'role="tab" id="([\w-]+)" aria-controls="([\w-]+)".*?<span class="name">(.*?)</span>',
        html,
        re.DOTALL,
    )
    panels = dict(
        re.findall(r'role="tabpanel" id="([\w-]+)"(.*?)(?=role="tabpanel"|</section>)', html, re.DOTALL)
    )
    return [(name.replace("<wbr>", ""), panel, panels[panel]) for _, panel, name in found]


def test_every_layer_has_a_tab_and_a_panel_with_its_figures(html, report_data):
    found = tabs(html)
    assert [name for name, *_ in found] == [layer.layer for layer in report_data.layers]
    panel = next(text for name, _, text in found if name == "conv.2")
    plain = " ".join(re.sub(r"<[^>]+>", "", panel).replace("\N{NARROW NO-BREAK SPACE}", " ").split())
    for text in (
        "conv.2 clipped",
        "82.87 % (+75.11)",
        "cut-off p0.05 %",
        "activations8 bits",
        "a scale per output channel",
    ):
        assert text in plain, text
    assert "featured" in panel
    assert panel.count("<svg") == 2
    assert "curve-error" in panel
    assert "not clipped" in next(text for name, _, text in found if name == "head")


def test_bars_are_as_long_as_the_layers_cost(html, report_data):
    bars = re.findall(r'<rect class="fill-(\w+)" x="([\d.]+)" y="4" width="([\d.]+)"', html)
    deltas = [layer.delta for layer in report_data.layers]
    assert [kind == "selected" for kind, *_ in bars] == [delta > 0.25 for delta in deltas]
    lengths = [float(width) for *_, width in bars]
    positive = sorted((d, length) for d, length in zip(deltas, lengths, strict=True) if d > 0.01)
    assert [length for _, length in positive] == sorted(length for _, length in positive)


def section(html, name):
    return re.search(rf'<section id="{name}".*?</section>', html, re.DOTALL)[0]


def test_without_a_selection_bars_show_the_tails(report_data):
    html = render(replace(report_data, layers=(), selected_layers=(), cutoffs=(), p_opt=None, method="max"))
    layers = section(html, "layers")
    assert "Maximum of |x| over its 99.9th percentile" in layers
    assert not re.search(r"gamma|>(not )?clipped<", layers)
    assert len(tabs(html)) == len(report_data.layers)


def test_weights_alone_read_as_such(report_data):
    changes = {
        "layers": (),
        "selected_layers": (),
        "cutoffs": (),
        "p_opt": None,
        "histograms": (),
        "bits": "W4A16",
    }
    weights = tuple(
        replace(w, bits=4, sharing="64 weights", nearest=0.02, rounded=0.013) for w in report_data.weights
    )
    page = Page(render(replace(report_data, **changes, weights=weights, method="weight-only")))
    assert "Activations stay in float" in page.text
    assert not any("ms int8" in label for label in (page.text, *page.having("aria-label")))
    assert "66.8 ms quantized" in page.text
    assert "4 bits, a scale per 64 weights" in page.text
    assert "0.013" in page.text
    for absent in ("clipped", "gamma =", "cut-off", "amplitude"):
        assert absent not in page.text
    assert "ranges" not in page.having("id")


def test_what_was_stopped_early_is_marked_as_an_estimate(html, report_data):
    data = replace(
        report_data,
        layers=tuple(
            replace(layer, share=0.126) if layer.layer == "conv.2" else layer for layer in report_data.layers
        ),
        cutoffs=(*(replace(c, share=0.5) for c in report_data.cutoffs if c.p == 0), *report_data.cutoffs[1:]),
    )
    marked = render(data).replace("\N{NARROW NO-BREAK SPACE}", " ")
    panels = {name: " ".join(re.sub(r"<[^>]+>", "", text).split()) for name, _, text in tabs(marked)}
    assert "≈ 82.87 % (≈ +75.11), from 12.6 % of the words" in panels["conv.2"]
    assert [name for name, text in panels.items() if "≈" in text] == ["conv.2"]
    assert '<span class="value" aria-hidden="true">≈ +75.11</span><span class="sr"> ≈ +75.11 points' in marked
    assert re.search(r"≈: an estimate from a part of the dev set", section(marked, "layers"))
    cutoffs = section(marked, "cutoffs")
    assert "Open points (≈) are estimates from a part of the set" in cutoffs
    (row,) = re.findall(r'<tr><th scope="row">0</th>.*?</tr>', cutoffs)
    assert "<td>≈ 87.50 %</td><td>≈ 3,587</td>" in row
    assert len(re.findall(r"<td>≈", cutoffs)) == 2
    assert "≈" not in html


def test_cutoffs_of_single_layers_stand_with_their_layer(report_data):
    own = tuple(
        CutoffResult(p, 9.0 + p, 300, "conv.1", share) for p, share in ((0.0, 0.5), (0.1, 1.0), (0.2, 0.5))
    )
    data = replace(
        report_data,
        cutoffs=(*report_data.cutoffs, *own),
        p_opt=None,
        p_by_layer={"conv.0": 0.05, "conv.1": 0.1, "conv.2": 0.05},
    )
    html = render(data)
    found = {name: text for name, _, text in tabs(html)}
    assert "Search for the cut-off of this layer" in found["conv.1"]
    assert "p_opt = 0.1" in found["conv.1"]
    assert "0.1 %</dd>" in found["conv.1"]
    assert "Search for the cut-off of this layer" not in found["conv.0"]
    assert "conv.1 0.1 %" in Page(html).text
    assert html.count("candidates") == 3  # wide and narrow for all layers, one for conv.1
    assert html.count("open points are estimates") == 1


def test_a_layer_left_in_float_says_so(report_data):
    histograms = tuple(
        replace(site, scale=None, thresholds={n: v for n, v in site.thresholds.items() if n != "chosen"})
        if site.layer == "conv.1"
        else site
        for site in report_data.histograms
    )
    data = replace(
        report_data,
        selected_layers=("conv.0", "conv.2"),
        float_layers=("conv.1",),
        max_drop=0.5,
        histograms=histograms,
        weights=tuple(weight for weight in report_data.weights if weight.layer != "conv.1"),
    )
    html = render(data)
    panels = {name: " ".join(re.sub(r"<[^>]+>", "", text).split()) for name, _, text in tabs(html)}
    assert "conv.1 left in float" in panels["conv.1"]
    assert "activations and weightsfloat" in panels["conv.1"]
    assert "in float" in panels["conv.1"].split("max")[-1]
    assert not re.search(r"clips|cut-off|bits|chosen", panels["conv.1"])
    assert [name for name, text in panels.items() if "left in float" in text] == ["conv.1"]
    assert "left in float" not in render(report_data)
    text = re.sub(r"\s+(?=[.,])", "", Page(html).text)
    assert "are clipped: conv.0, conv.2. Left in float" in text
    assert "because with it the model stayed more than 0.5 points worse than float: conv.1" in text
    assert "The search left in float what no cut-off saved: conv.1." in text
    assert "Shown is the search with conv.1 in float. On the dev set" in text
    bars = re.findall(r'<rect class="fill-(\w+)" x="[\d.]+" y="4"', html)
    assert [name for name, bar in zip(panels, bars, strict=True) if bar == "float"] == ["conv.1"]
