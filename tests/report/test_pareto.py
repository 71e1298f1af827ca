"""Error rate against size: what is joined, what is on the front, where the float model lies."""

from __future__ import annotations

import re
from itertools import combinations, pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechquant.report import TradeoffPoint
from speechquant.report.plots.canvas import Canvas, text_width
from speechquant.report.plots.legend import ROW, Key, draw_legend, legend_rows
from speechquant.report.plots.pareto import draw_pareto
from speechquant.report.plots.spots import Spot, spread


def point(label, group, wer, megabytes, reach=0.5):
    return TradeoffPoint(label, wer, wer - reach, wer + reach, megabytes, group=group)


POINTS = (
    point("one-4", "one-stage", 3.0, 12.0),
    point("one-3", "one-stage", 5.0, 9.0),
    point("one-2", "one-stage", 9.0, 7.0),
    point("uni-4", "uniform", 3.4, 12.4),
    point("uni-3", "uniform", 6.5, 9.4),
    point("kl-4", "allocate (kl)", 8.0, 11.0),
)
FLOAT = TradeoffPoint("float", 2.3, 1.6, 3.1, 108.0)
CONTROL = TradeoffPoint("control", 2.1, 1.4, 2.9)


def draw(points=POINTS, references=(FLOAT, CONTROL), width=912):
    return ET.fromstring(draw_pareto(points, references, width, "size in MB"))


def of(picture, *styles):
    return [e for e in picture.iter() if set(styles) <= set(e.get("class", "").split())]


def tip(element):
    title = element.find("title")
    return None if title is None else title.text.replace("\N{NARROW NO-BREAK SPACE}", " ")


def centre(element):
    """Of a marker, whatever its shape."""
    if element.tag == "circle":
        return float(element.get("cx")), float(element.get("cy"))
    if element.tag == "rect":
        x, y, side = (float(element.get(name)) for name in ("x", "y", "width"))
        return x + side / 2, y + side / 2
    corners = vertices(element)
    xs, ys = zip(*corners, strict=True)
    return (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2


def vertices(path):
    return [tuple(map(float, pair.split())) for pair in re.findall(r"[-\d.]+ [-\d.]+", path.get("d"))]


def places(picture):
    """Where the marker of each point is, by its label."""
    found = {tip(e).split(":")[0]: centre(e) for e in of(picture, "dot") if tip(e)}
    return {name.split()[-1]: at for name, at in found.items()}


@pytest.mark.parametrize("width", [340, 912])
def test_points_of_one_method_are_joined_in_the_order_of_their_sizes(width):
    picture = draw(width=width)
    at = places(picture)
    lines = [vertices(path) for path in of(picture, "joined") if path.tag == "path"]
    wanted = [[at[name] for name in names] for names in (("one-2", "one-3", "one-4"), ("uni-3", "uni-4"))]
    assert len(lines) == 2
    for line, expected in zip(lines, wanted, strict=True):
        assert [x for x, _ in line] == sorted(x for x, _ in line)
        for (x, y), (a, b) in zip(line, expected, strict=True):
            assert (x, y) == pytest.approx((a, b), abs=1)


def test_methods_differ_in_colour_and_shape():
    signs = {}
    for marker in of(draw(), "dot", "filled"):
        if tip(marker):
            group = " ".join(tip(marker).split(":")[0].split()[:-1])
            signs.setdefault(group, set()).add((marker.get("class"), marker.tag))
    assert set(signs) == {"one-stage", "uniform", "allocate (kl)"}
    assert all(len(found) == 1 for found in signs.values())
    classes, tags = zip(*(next(iter(found)) for found in signs.values()), strict=True)
    assert len(set(classes)) == len(set(tags)) == 3


def test_the_front_runs_over_what_nothing_beats():
    picture = draw()
    at = places(picture)
    best = {
        p.label
        for p in POINTS
        if not any(o.wer < p.wer and o.megabytes < p.megabytes for o in POINTS)
        and not any(o is not p and o.wer <= p.wer and o.megabytes <= p.megabytes for o in POINTS)
    }
    assert best == {"one-2", "one-3", "one-4"}
    (front,) = [e for e in of(picture, "frontier") if e.tag == "path"]
    corners = vertices(front)
    for name, (x, y) in at.items():
        on = any((a, b) == pytest.approx((x, y), abs=0.2) for a, b in corners)
        assert on == (name in best), name


def scale_of(picture):
    """From rates to heights, by the ticks of the axis."""
    ticks = [
        (float(t.text), float(t.get("y")) - 4) for t in of(picture, "tick") if t.get("text-anchor") == "end"
    ]
    (a, one), (b, two) = ticks[0], ticks[-1]
    return lambda wer: one + (wer - a) * (two - one) / (b - a)


def test_the_float_model_is_a_line_with_its_interval_as_a_band():
    picture = draw()
    y = scale_of(picture)
    (line,) = [e for e in of(picture, "reference") if float(e.get("x2")) > 500]
    assert float(line.get("y1")) == float(line.get("y2")) == pytest.approx(y(2.3), abs=1)
    (band,) = [e for e in of(picture, "band") if float(e.get("width")) > 500]
    top, height = float(band.get("y")), float(band.get("height"))
    assert top == pytest.approx(y(3.1), abs=1)
    assert top + height == pytest.approx(y(1.6), abs=1)
    (control,) = [e for e in of(picture, "control") if float(e.get("x2")) > 500]
    assert float(control.get("y1")) == pytest.approx(y(2.1), abs=1)
    for name, (_, height) in places(picture).items():
        wer = next(p.wer for p in POINTS if p.label == name)
        assert height == pytest.approx(y(wer), abs=1)


def test_error_bars_reach_over_the_intervals():
    picture = draw((point("a", "m", 5.0, 9.0, reach=1.5),))
    y = scale_of(picture)
    upright = [e for e in of(picture, "limits") if e.get("x1") == e.get("x2")]
    ends = sorted(float(upright[0].get(name)) for name in ("y1", "y2"))
    assert ends == pytest.approx([y(6.5), y(3.5)], abs=1)


def test_everything_is_said_in_words_and_names_stay_names():
    evil = point('<b>"&', "m", 5.0, 9.0)
    picture = draw((evil, *POINTS))
    assert tip(of(picture, "dot")[-6]) == "one-stage one-4: 3.00 % (2.50 % to 3.50 %), 12 MB"
    spoken = picture.get("aria-label").replace("\N{NARROW NO-BREAK SPACE}", " ")
    for words in (
        "float 2.30 %, 108 MB",
        "control 2.10 %",
        'm <b>"& 5.00 %, 9 MB',
        "uniform uni-3 6.50 %, 9.4 MB",
    ):
        assert words in spoken
    assert "<b>" not in draw_pareto((evil,), (FLOAT,), 912, "size in MB")


def test_a_method_in_its_own_label_is_said_once():
    assert tip(of(draw((point("one-stage at 4", "one-stage", 5.0, 9.0),)), "dot")[-1]).startswith(
        "one-stage at 4:"
    )


@pytest.mark.parametrize(
    ("points", "references"),
    [
        ((), ()),
        (POINTS[:1], ()),
        (POINTS[:1], (FLOAT,)),
        ((point("a", "m", 5.0, 9.0), point("b", "n", 5.0, 9.0)), (FLOAT,)),
        ((point("a", "m", 0.0, 0.0, reach=0.0),), (TradeoffPoint("float", 0.0, 0.0, 0.0, 0.0),)),
        ((TradeoffPoint("none", float("nan"), float("nan"), float("nan"), 1.0), *POINTS), (FLOAT,)),
        ((point("a", "m", 5.0, 0.1), point("b", "m", 4.0, 90.0)), (FLOAT,)),
    ],
)
def test_few_or_odd_points_draw(points, references):
    markup = draw_pareto(points, references, 340, "size in MB")
    assert not re.search(r'="[^"]*\b(nan|inf)\b', markup)
    assert ("size in MB, logarithmic" in markup) == (len(points) == 2 and points[1].megabytes == 90)


spots = st.lists(st.tuples(st.floats(50, 300), st.floats(20, 200), st.floats(0, 60)), max_size=10)


@given(spots)
def test_spots_that_would_hide_each_other_stand_apart_and_in_order(found):
    given_ = [
        Spot(point(str(i), "g", 1.0, 1.0), x, y, (y + reach, y - reach))
        for i, (x, y, reach) in enumerate(found)
    ]
    moved = spread(given_, 320)
    assert [s.point for s in moved] == [s.point for s in given_]
    assert all(s.x <= 320 for s in moved)
    for (a, old_a), (b, old_b) in combinations(list(zip(moved, given_, strict=True)), 2):
        assert (a.y, a.ends) == (old_a.y, old_a.ends)
        if max(a.ends[1], b.ends[1]) <= min(a.ends[0], b.ends[0]):
            assert abs(a.x - b.x) > 12.99
            if old_a.x != old_b.x:
                assert (a.x < b.x) == (old_a.x < old_b.x)


def test_a_spot_that_hides_none_stays():
    far = [Spot(point("a", "g", 1, 1), 60.0, 50, (55, 45)), Spot(point("b", "g", 1, 1), 61.0, 90, (95, 85))]
    assert [s.x for s in spread(far, 320)] == [60.0, 61.0]


@given(st.lists(st.text("abcdefgh -", min_size=1, max_size=30), max_size=12), st.integers(330, 912))
def test_the_legend_stays_inside_and_loses_nothing(names, width):
    keys = [Key(name, "reference") for name in names]
    rows = legend_rows(keys, width)
    assert [key for row in rows for key in row] == keys
    canvas = Canvas(width, ROW * len(rows), "")
    draw_legend(canvas, rows)
    drawn = [
        (float(t.get("x")), float(t.get("y")), t.text) for t in ET.fromstring(canvas.markup()).iter("text")
    ]
    assert all(x + text_width(text or "") <= width for x, _, text in drawn)
    assert all(0 < y < ROW * len(rows) for _, y, _ in drawn)
    for (x, y, text), (a, b, _) in pairwise(drawn):
        assert b > y or a >= x + text_width(text or "")
