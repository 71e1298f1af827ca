from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from speechquant.numerics import Histogram
from speechquant.report import SiteHistogram
from speechquant.report.amplitudes import by_layer, clipped_share, group_of, layer_amplitudes, rebin


@pytest.fixture
def values():
    rng = np.random.default_rng(3)
    return [np.abs(rng.standard_normal(40_000)), 7 * np.abs(rng.standard_normal(10_000)) ** 2]


def test_quantiles_of_a_layer_are_those_of_its_pooled_values(values):
    sites = [SiteHistogram("conv.0", str(i), Histogram.empty().add(v), {}) for i, v in enumerate(values)]
    found = layer_amplitudes("conv.0", sites)
    pooled = np.concatenate(values)
    widest = max(site.histogram.width for site in sites)
    for got, q in ((found.median, 0.5), (found.q99, 0.99), (found.q999, 0.999)):
        assert got == pytest.approx(np.quantile(pooled, q), abs=2 * widest)
    assert found.maximum == pytest.approx(pooled.max())


def test_an_empty_layer_has_no_amplitudes():
    assert layer_amplitudes("a", [SiteHistogram("a", "a", Histogram.empty(), {})]) is None


def test_clipped_share_is_the_share_of_larger_values(values):
    histogram = Histogram.empty().add(values[0])
    for threshold in (0.5, 1.0, 3.0):
        assert clipped_share(histogram, threshold) == pytest.approx(np.mean(values[0] > threshold), abs=2e-3)
    assert clipped_share(histogram, histogram.maximum) == 0


@pytest.mark.parametrize("bins", [1, 7, 96, 5000])
def test_rebinning_keeps_every_count(values, bins):
    histogram = Histogram.empty().add(values[1])
    edges, counts = rebin(histogram, bins)
    assert len(counts) <= bins
    assert len(edges) == len(counts) + 1
    assert counts.sum() == values[1].size
    assert edges[0] == 0
    assert edges[-1] >= histogram.maximum
    expected = [np.sum((values[1] > a) & (values[1] <= b)) for a, b in pairwise(edges)]
    np.testing.assert_array_equal(counts, expected)


@pytest.mark.parametrize(
    ("layer", "group"),
    [
        ("conv.2", "conv"),
        ("encoder.conv.0", "conv"),
        ("encoder.5", "transformer"),
        ("transformer.11", "transformer"),
        ("head", "other"),
        ("input", "other"),
        ("pos_conv", "other"),
    ],
)
def test_groups(layer, group):
    assert group_of(layer) == group


def test_sites_are_grouped_by_first_appearance():
    sites = [SiteHistogram(layer, site, Histogram.empty(), {}) for layer, site in ("bx", "ay", "bz")]
    found = [(layer, [s.site for s in group]) for layer, group in by_layer(sites)]
    assert found == [("b", ["x", "z"]), ("a", ["y"])]
