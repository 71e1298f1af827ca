"""The picture of the cut-off search shows the candidates that matter, and says what lies beyond."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from speechquant.report import CutoffResult
from speechquant.report.plots import draw_cutoffs

# Without clipping the model fails; with it the rates differ by a few points.
RATES = (60.0, 8.71, 8.65, 8.9, 9.4, 10.2, 11.0, 11.6, 12.1, 12.8, 13.0)


def draw(rates, float_wer=7.8, width=912):
    results = [CutoffResult(round(0.05 * i, 2), wer, int(10 * wer)) for i, wer in enumerate(rates)]
    best = min(results, key=lambda c: c.wer)
    return ET.fromstring(draw_cutoffs(results, best.p, float_wer, width))


def heights(picture):
    return [float(c.get("cy")) for c in picture.iter() if "fill-quantized" in c.get("class", "")]


def words(picture):
    return [
        t.text.replace("\N{NARROW NO-BREAK SPACE}", " ")
        for t in picture.iter()
        if t.get("class", "").startswith("label")
    ]


@pytest.mark.parametrize("width", [912, 326])
def test_one_failure_does_not_flatten_the_rest(width):
    found = heights(draw(RATES, width=width))
    assert len(found) == len(RATES) - 1
    # 8.65 to 13 % fill more than half of the 226 pixels.
    assert max(found) - min(found) > 113


def test_estimates_are_open_points_and_say_how_much_was_heard():
    results = [CutoffResult(0.0, 9.0, 1234, share=0.125), CutoffResult(0.1, 8.0, 1000)]
    picture = ET.fromstring(draw_cutoffs(results, 0.1, None, 912))
    points = {e.get("class"): e.find("title").text for e in picture.iter("circle")}
    assert set(points) == {"estimate", "dot fill-quantized", "dot fill-selected"}
    tips = {style: tip.replace("\N{NARROW NO-BREAK SPACE}", " ") for style, tip in points.items()}
    assert tips["estimate"] == "p = 0 %: WER ≈ 9.00 %, ≈ 1,234 errors, from 12.5 % of the words"
    assert tips["dot fill-quantized"] == "p = 0.1 %: WER 8.00 %, 1,000 errors"


def test_an_estimate_beyond_the_picture_is_open_too():
    results = [CutoffResult(0.05 * i, wer, 10, share=0.5 if wer == 60 else 1) for i, wer in enumerate(RATES)]
    picture = ET.fromstring(draw_cutoffs(results, 0.1, None, 912))
    assert "≈ 60.00 % at p = 0 %" in words(picture)
    assert not [e for e in picture.iter() if e.get("class") == "outlier"]
    assert len([e for e in picture.iter("path") if e.get("class") == "estimate"]) == 1


def test_the_failure_is_named():
    picture = draw(RATES)
    assert "60.00 % at p = 0 %" in words(picture)
    assert len([e for e in picture.iter() if e.get("class") == "outlier"]) == 1
    tips = [title.text for title in picture.iter() if title.tag.endswith("title")]
    assert len([tip for tip in tips if tip.startswith("p = ") and "errors" in tip]) == len(RATES)


def test_neighbouring_failures_share_a_label():
    picture = draw((60.0, 75.5, 8.7, 8.6, 8.9, 9.1, 9.0, 9.2, 9.3, 8.8))
    assert "up to 75.50 %" in words(picture)
    assert len([e for e in picture.iter() if e.get("class") == "outlier"]) == 2


@pytest.mark.parametrize("rates", [(9.0, 9.5, 10.0), (90.0, 95.0, 99.0), (5.0,), (0.0, 0.0), (3.0, 3.0, 3.0)])
def test_without_outliers_all_are_drawn_to_scale(rates):
    picture = draw(rates)
    assert len(heights(picture)) == len(rates)
    assert not [e for e in picture.iter() if e.get("class") == "outlier"]
    assert not re.search("nan|inf", ET.tostring(picture, encoding="unicode"))
