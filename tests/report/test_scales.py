from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechquant.report.plots.scales import LinearScale, LogScale, SymLogScale, fitting_scale

SCALES = [
    LinearScale(0, 10, 50, 350),
    LinearScale(0, 10, 350, 50),
    LogScale(0.5, 200, 50, 350),
    SymLogScale(-3, 75, 0.25, 50, 350),
]
wers = st.floats(0, 500, allow_nan=False)


@pytest.mark.parametrize("scale", SCALES)
def test_ends_and_order(scale):
    assert scale(scale.low) == pytest.approx(scale.start)
    assert scale(scale.high) == pytest.approx(scale.end)
    steps = [scale.low + (scale.high - scale.low) * i / 99 for i in range(100)]
    pixels = [scale(v) for v in steps]
    assert pixels == sorted(pixels, reverse=scale.end < scale.start)
    assert scale(1e9) == pytest.approx(scale.end)
    assert scale(-1e9) == pytest.approx(scale.start)


@pytest.mark.parametrize("scale", SCALES)
def test_ticks_lie_inside_and_rise(scale):
    ticks = scale.ticks()
    assert 3 <= len(ticks) <= 12
    assert ticks == sorted(set(ticks))
    assert all(scale.low <= t <= scale.high for t in ticks)


def test_log_scale_shows_equal_ratios_as_equal_lengths():
    scale = LogScale(1, 100, 0, 200)
    assert scale(10) == pytest.approx(100)
    assert scale(0) == 0


def test_symlog_is_linear_to_the_threshold_and_continuous():
    scale = SymLogScale(0, 75, 0.25, 0, 300)
    assert scale(0.125) == pytest.approx(scale(0.25) / 2)
    assert scale(0.25 + 1e-9) == pytest.approx(scale(0.25), abs=1e-3)
    assert scale(10) - scale(1) == pytest.approx(scale(50) - scale(5))


@given(st.lists(wers, min_size=1, max_size=8))
def test_a_fitting_scale_keeps_every_value_on_the_page_in_order(values):
    scale = fitting_scale(values, 0, 300)
    pixels = [scale(v) for v in sorted(values)]
    assert pixels == sorted(pixels)
    assert all(0 <= p <= 300 and math.isfinite(p) for p in pixels)
    assert len(scale.ticks()) <= 16


def test_far_apart_values_get_a_logarithmic_axis():
    assert isinstance(fitting_scale([2.3, 105.0], 0, 1), LogScale)
    assert isinstance(fitting_scale([2.3, 3.4], 0, 1), LinearScale)
