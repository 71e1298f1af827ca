from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from html import unescape
from itertools import pairwise
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from markupsafe import escape
from page_parser import Page

from speechquant.errors import MissingExtraError
from speechquant.numerics import Histogram
from speechquant.report import (
    CutoffResult,
    LatencyRow,
    LayerResult,
    ReportData,
    SiteHistogram,
    System,
    TradeoffPoint,
    TranscriptRow,
    WeightSite,
    render,
)
from speechquant.report.formats import breakable

URL_ATTRIBUTES = {"src", "srcset", "href", "xlink:href", "action", "data", "poster", "background"}
EVIL = "<script>alert(1)</script>\"'&"


@pytest.fixture(scope="module")
def html(report_data):
    return render(report_data)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def smallest(**changes) -> ReportData:
    data = ReportData(
        "t", "m", "max", "W8A8", "transcripts", (System("float", "Float", 500, 1, 1, 1, 0.6, 0, 1),)
    )
    return replace(data, **changes)


def test_the_verdict_comes_before_every_other_heading(page):
    assert page.texts["h1"] == ["Moonshine tiny in 8 bits"]
    assert page.texts["h2"][0] == "Same accuracy, but not int8 everywhere"
    assert (
        "WER 2.55 % against 2.32 % in float (p = 0.31, 1,684 words), 25.3 % of the size, "
        "2.1\N{MULTIPLICATION SIGN} faster." in page.text
    )


def test_headings_do_not_skip_levels(page):
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))


def test_one_table_row_per_system_with_its_figures(html, report_data):
    rows = re.findall(r'<tr data-system="(\w+)">(.*?)</tr>', html, re.DOTALL)
    assert [key for key, _ in rows] == [s.key for s in report_data.systems]
    cells = [
        unescape(re.sub(r"<[^>]+>", "", c).strip())
        for c in re.findall(r"<t[hd].*?</t[hd]>", rows[1][1], re.DOTALL)
    ]
    assert [c.replace("\N{NARROW NO-BREAK SPACE}", " ") for c in cells] == [
        "Naive max int8", "105.82 %", "98.20 to 113.90 %", "1,684", "1,109", "301", "372", "< 0.001", "worse",
    ]  # fmt: skip


def test_every_part_of_the_run_is_on_the_page(page, report_data):
    for text in (
        *(layer.layer for layer in report_data.layers),
        *(site.site for site in report_data.histograms),
        *report_data.warnings,
        *report_data.coverage.fallbacks,
        *(f"{name} {version}" for name, version in report_data.versions.items()),
        "p_opt = 0.05 %",
        "gamma = 0.25 points",
        "clips 0.0",
        "58 of 60 weight-bearing operators",
        "repetition limit on 31 utterances",
        "5 min 12 s",
        "2,310.4 MB",
        "speechquant quantize --recipe recipe.yaml",
        "calibration: demo:calibration",
        "WER by speaker (2)",
    ):
        assert text in page.text, text


def embedded(html, name="utterance-data"):
    return json.loads(
        re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', html, re.DOTALL)[1]
    )


def test_every_utterance_is_in_the_page_with_its_errors(html):
    rows = embedded(html)["rows"]
    assert [(row["i"], row["e"]) for row in rows] == [
        ("32-4137-0002", [3, 4]), ("7312-92432-0014", [0, 3]), ("32-21631-0007", [1, 1]),
    ]  # fmt: skip
    assert re.findall(r'value="(\w+)"( disabled)?><span>\w+ <span class="n">(\d+)', html) == [
        ("all", "", "3"), ("changed", "", "2"), ("worse", "", "2"), ("better", " disabled", "0"),
    ]  # fmt: skip


def test_recordings_are_embedded_only_where_given(html, report_data):
    assert "recording-data" not in html.split("<script>")[0]
    loud = render(
        replace(report_data, recordings={"32-4137-0002": "data:audio/mpeg;base64,AAAA"}, left_out=2)
    )
    assert embedded(loud, "recording-data") == {"32-4137-0002": "data:audio/mpeg;base64,AAAA"}
    assert "1 recording of changed utterances is part of this page; 2 more did not fit" in Page(loud).text


def test_a_training_run_shows_its_curve(report_data):
    rows = (
        {"step": 1, "loss": 2.0},
        {"step": 2, "loss": 1.5},
        {"step": 2, "dev": {"wer": 8.1}, "best": True},
    )
    page = Page(render(replace(report_data, learning=rows, learning_float=7.8)))
    assert "Learning curve" in page.texts["h2"]
    assert "chosen: 8.10" in page.text


def test_the_trade_off_has_a_picture_and_a_table(page):
    assert "tradeoff" in page.having("id")
    assert "PyTorch 2.32 % 1.61 % to 3.12 % \N{EN DASH} 241 ms" in page.text


def test_nothing_is_loaded_from_outside(html, page):
    for tag, attrs in page.tags:
        for name in URL_ATTRIBUTES & attrs.keys():
            assert attrs[name].startswith("#") or attrs[name] == "data:,", (tag, attrs)
    assert not re.search(r"https?://|url\(|@import", html)
    assert not any(name.startswith("on") or name == "style" for _, attrs in page.tags for name in attrs)


def test_figures_tables_and_scroll_boxes_have_names(page):
    for tag, attrs in page.tags:
        if tag == "svg" and attrs.get("aria-hidden") != "true":
            assert attrs["role"] == "img"
            assert attrs["aria-label"]
        if attrs.get("tabindex") == "0":
            assert attrs.get("aria-label") or attrs["aria-labelledby"]
    assert len(page.texts["caption"]) == len(page.texts["table"])
    assert all(page.texts["caption"])
    assert all("scope" in attrs for tag, attrs in page.tags if tag == "th")


def test_ids_are_unique_and_links_lead_somewhere(page):
    ids = page.having("id")
    assert len(ids) == len(set(ids))
    links = [h for h in page.having("href") if h.startswith("#")]
    assert {h[1:] for h in links} | set(page.having("aria-labelledby")) <= set(ids)


def test_plots_are_well_formed_and_in_theme_colours(html):
    html = html.replace("<wbr>", "")
    plots = [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]
    assert len(plots) > 20
    for plot in plots:
        for element in plot.iter():
            assert not {"fill", "stroke", "style"} & set(element.keys())
            assert not any(
                "nan" in value or "inf" in value for key, value in element.items() if key in {"x", "y", "d"}
            )


def test_user_text_is_escaped_everywhere():
    histogram = Histogram.empty().add([0.5, 1.0, 2.0])
    data = ReportData(
        title=EVIL,
        model=EVIL,
        method=EVIL,
        bits=EVIL,
        references="transcripts",
        systems=(
            System("float", EVIL, 500, 1, 1, 1, 2.0, 1.0, 3.0),
            System("quantized", EVIL, 500, 1, 1, 1, 2.0, 1.0, 3.0, 0.5),
        ),
        layers=(LayerResult(EVIL, 5.0, 1.0, selected=True),),
        selected_layers=(EVIL,),
        cutoffs=(CutoffResult(0.1, 3.0, 4),),
        histograms=(SiteHistogram(EVIL, EVIL, histogram, {EVIL: 1.0, "chosen": 1.5}),),
        latency=(LatencyRow(1, 2, 1, 2, EVIL),),
        transcripts=(TranscriptRow(EVIL, EVIL, EVIL, f"x {EVIL}", EVIL),),
        normalizer="none",
        recordings={EVIL: EVIL},
        weights=(WeightSite(EVIL, EVIL, 4, EVIL, 1, 0.1, 0.05),),
        tradeoff=(
            TradeoffPoint(EVIL, 2.0, 1.0, 3.0, 9.0, 9.0, "float"),
            TradeoffPoint(EVIL, 2.0, 1.0, 3.0, 5.0, 5.0),
        ),
        recipe_yaml=EVIL,
        versions={EVIL: EVIL},
        warnings=(EVIL,),
        seconds={EVIL: 1.0},
        command=EVIL,
    )  # fmt: skip
    html = render(data)
    page = Page(html)
    assert [tag for tag, _ in page.tags].count("script") == 3
    assert "<script>alert" not in html
    assert html.count("</script>") == 3
    assert "&amp;lt;" not in html
    assert page.text.count("<script>alert(1)</script>\"'&") > 20
    assert embedded(html)["rows"][0]["i"] == EVIL
    assert embedded(html)["rows"][0]["t"] == [EVIL, EVIL, f"x {EVIL}", EVIL]
    assert embedded(html, "recording-data") == {EVIL: EVIL}


def test_a_run_with_nothing_but_float_figures_renders():
    page = Page(render(smallest()))
    assert "No accuracy measured" in page.text
    for absent in (
        "tradeoff",
        "layers",
        "cutoffs",
        "ranges",
        "learning",
        "engine",
        "transcripts",
        "warnings",
    ):
        assert absent not in page.having("id")
    assert "svg" in page.texts


def test_a_run_without_any_figures_renders():
    page = Page(render(smallest(systems=())))
    assert "accuracy" not in page.having("id")
    assert "reproduce" in page.having("id")


def test_audio_only_speaks_of_disagreement(report_data):
    page = Page(render(replace(report_data, references="float model")))
    assert page.texts["h2"][0] == "Differs from the float model"
    assert "Disagreement on the test set" in page.text
    assert "No transcripts were given" in page.text
    assert "Against float" not in page.text
    assert "paired" not in page.text
    assert not [attrs for _, attrs in page.tags if "outcome" in attrs.get("class", "")]


def test_sites_that_see_the_same_tensor_share_a_plot():
    rng = np.random.default_rng(1)
    same, other = (Histogram.empty().add(rng.standard_normal(500)) for _ in range(2))
    sites = tuple(
        SiteHistogram("encoder.0", f"attention.{name}_proj:input", histogram, {"chosen": limit})
        for name, histogram, limit in (
            ("q", same, 1.0),
            ("k", same, 1.0),
            ("v", same, 2.0),
            ("o", other, 1.0),
        )
    )
    html = render(smallest(histograms=sites))
    section = html[html.index('class="panels"') : html.index('id="ranges"')]
    assert section.count("<svg") == 3
    assert "attention.<wbr>q_proj:<wbr>input, attention.<wbr>k_proj:<wbr>input</p>" in section


def test_names_break_at_dots_and_nothing_slips_through():
    assert breakable("a.b:c.") == "a.<wbr>b:<wbr>c."
    assert breakable(EVIL) == escape(EVIL)


@pytest.mark.parametrize(
    "changes",
    [
        {"histograms": (SiteHistogram("a", "a:input", Histogram.empty(), {}),)},
        {"histograms": (SiteHistogram("a", "a:input", Histogram.empty().add([0.0, 0.0]), {"max": 0.0}),)},
        {"layers": (LayerResult("a", 0.6, 0.0, selected=False),)},
        {
            "layers": (
                LayerResult("a", 0.6, -3.0, selected=False),
                LayerResult("b", 400.0, 399.4, selected=True),
            )
        },
        {"cutoffs": (CutoffResult(0.0, 0.0, 0),)},
        {"cutoffs": (CutoffResult(0.0, 120.0, 9), CutoffResult(0.5, 0.0, 0)), "p_opt": 0.5},
        {"systems": (System("float", "Float", 500, 0, 0, 0, 0.0, 0.0, 0.0),)},
        {"systems": (System("float", "Float", 0, 0, 0, 0, float("nan"), float("nan"), float("nan")),)},
        {"latency": (LatencyRow(0.0, 0.0, 0.0, float("nan")),)},
        {"transcripts": (TranscriptRow("a", None, "", ""),)},
        {"transcripts": (TranscriptRow("a", "", "", "x"), TranscriptRow("a", "b", "b", ""))},
        {"weights": (WeightSite("a", "a", 4, "64 weights", 9),)},
        {"tradeoff": (TradeoffPoint("a", 1.0, 0.0, 2.0, 3.0),)},
        {"learning": ({"step": 0},)},
    ],
)
def test_extreme_results_render(changes):
    html = render(smallest(**changes))
    Page(html)
    assert not re.search(r'="[^"]*\b(nan|inf)\b', html)


def test_missing_jinja_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"speechquant\[report\]"):
        render(smallest())
