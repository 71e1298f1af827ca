from __future__ import annotations

import math
import re
from itertools import combinations
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechquant.report import TradeoffPoint, draw_tradeoff
from speechquant.report.plots import frontier
from speechquant.report.plots.canvas import text_width
from speechquant.report.plots.labels import Labels

FLOAT = TradeoffPoint("float32", 2.3, 1.6, 3.1, 108.0, 236.0, "float")
INT8 = TradeoffPoint("int8", 3.1, 2.1, 4.1, 27.0, 164.0)
NAIVE = TradeoffPoint("naive", 90.3, 86.0, 95.0, 27.0, None, "naive_max")
SIMULATED = TradeoffPoint("simulated", 2.0, 1.0, 3.0, 27.0, None, "simulated")

costs = st.floats(0.1, 1e4)
points = st.lists(
    st.builds(
        lambda wer, size: TradeoffPoint("x", wer, wer * 0.9, wer * 1.1, size), st.floats(0, 200), costs
    ),
    max_size=12,
)


def names(svg):
    return [e.text for e in ET.fromstring(svg).iter("text") if "halo" in e.get("class")]


@given(points)
def test_the_frontier_is_what_nothing_else_beats(found):
    front = frontier(found, "megabytes")

    def beaten(point):
        return any(
            o.wer <= point.wer
            and o.megabytes <= point.megabytes
            and (o.wer, o.megabytes) != (point.wer, point.megabytes)
            for o in found
        )

    assert {(p.wer, p.megabytes) for p in front} == {(p.wer, p.megabytes) for p in found if not beaten(p)}
    assert [p.megabytes for p in front] == sorted(p.megabytes for p in front)


def test_a_simulation_is_never_on_the_frontier():
    assert frontier([FLOAT, INT8, SIMULATED], "megabytes") == [INT8, FLOAT]


@pytest.mark.parametrize("width", [326, 912])
def test_every_system_is_named_in_every_panel_that_knows_its_cost(width):
    assert sorted(names(draw_tradeoff([FLOAT, INT8, NAIVE], width))) == [
        "float32", "float32", "int8", "int8", "naive",
    ]  # fmt: skip


def test_without_two_latencies_there_is_only_the_size():
    svg = draw_tradeoff([FLOAT, NAIVE], 912)
    assert "size in MB" in svg
    assert "latency in ms" not in svg


def test_the_picture_is_described_in_words_and_names_are_escaped():
    svg = draw_tradeoff([FLOAT, TradeoffPoint("<b>&", 3.0, 2.0, 4.0, 20.0, 90.0)], 912)
    assert "float32 2.30\N{NARROW NO-BREAK SPACE}%, 108 MB, 236 ms" in svg
    assert "<b>" not in svg
    assert "<b>& 3.00" in ET.fromstring(svg).get("aria-label")


def test_equal_systems_stand_side_by_side():
    svg = draw_tradeoff([INT8, TradeoffPoint("twin", 3.1, 2.1, 4.1, 27.0)], 912)
    discs = [float(c.get("cx")) for c in ET.fromstring(svg).iter("circle")]
    assert abs(discs[0] - discs[1]) > 8


def test_far_apart_costs_get_a_logarithmic_axis():
    far = [FLOAT, TradeoffPoint("tiny", 9.0, 8.0, 10.0, 1.0)]
    assert "size in MB, logarithmic" in draw_tradeoff(far, 912)
    assert "size in MB, logarithmic" not in draw_tradeoff([FLOAT, INT8], 912)


@pytest.mark.parametrize(
    "found", [[], [FLOAT], [TradeoffPoint("none", math.nan, math.nan, math.nan, 1.0), FLOAT, INT8]]
)
def test_few_or_unknown_rates_draw(found):
    assert not re.search(r'="[^"]*\b(nan|inf)\b', draw_tradeoff(found, 912))


@given(st.lists(st.tuples(st.floats(0, 300), st.floats(0, 200)), max_size=12))
def test_labels_never_cover_each_other_and_stay_inside(spots):
    labels = Labels((0, 0), (300, 200))
    boxes = []
    for x, y in spots:
        place = labels.place((x, y), "some name", (y - 10, y + 10))
        if place is not None:
            width = text_width("some name")
            left = place.at[0] - {"start": 0, "middle": width / 2, "end": width}[place.anchor]
            boxes.append((left, place.at[1] - 9, left + width, place.at[1]))
    assert all(b[0] >= 0 and b[2] <= 300 and b[1] >= 0 and b[3] <= 200 for b in boxes)
    for a, b in combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
