from __future__ import annotations

import numpy as np
import pytest

from speechquant.numerics import Histogram, threshold
from speechquant.report.curves import error_curve, mean_squared_errors


@pytest.fixture(scope="module")
def histogram():
    values = np.abs(np.random.default_rng(11).standard_normal(5000)) ** 2.5
    return Histogram.empty(256).add(values)


def brute_force(centers, counts, limit, bits):
    """Value by value, as a quantizer with saturation would do it."""
    qmax = 2 ** (bits - 1) - 1
    total = 0.0
    for center, count in zip(centers, counts, strict=True):
        level = min(round(center / (limit / qmax)), qmax)
        total += count * (level * limit / qmax - center) ** 2
    return total / sum(counts)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_errors_are_those_of_quantizing_every_value(histogram, bits):
    limits = np.array([3.0, 17.5, 100.25])
    found = mean_squared_errors(histogram.counts.astype(float), histogram.width, bits, limits)
    expected = [
        brute_force(histogram.centers, histogram.counts.tolist(), limit * histogram.width, bits)
        for limit in limits
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize(("cutoff", "fold"), [(0.0, False), (0.5, False), (5.0, False), (5.0, True)])
@pytest.mark.parametrize("bits", [4, 8])
def test_the_curve_counts_what_the_cutoff_leaves(histogram, bits, cutoff, fold):
    counts = histogram.counts.copy()
    end = int(np.argmax(counts.cumsum() >= (1 - cutoff / 100) * counts.sum())) + 1
    if fold:
        counts[end - 1] = counts[end - 1 :].sum()
    counts[end:] = 0
    curve = error_curve(histogram, bits, cutoff=cutoff, fold=fold)
    limits = curve.thresholds[::10]
    expected = [brute_force(histogram.centers, counts.tolist(), limit, bits) for limit in limits]
    np.testing.assert_allclose(curve.clipped[::10], expected, rtol=1e-9)


@pytest.mark.parametrize(("cutoff", "fold"), [(0.0, False), (2.0, False), (2.0, True)])
@pytest.mark.parametrize("bits", [4, 8])
def test_the_calibrators_choice_is_the_lowest_point(histogram, bits, cutoff, fold):
    chosen = threshold("stablequant", histogram, bits, cutoff=cutoff, fold=fold)
    curve = error_curve(histogram, bits, cutoff=cutoff, fold=fold, also=[chosen])
    assert curve.thresholds[np.argmin(curve.clipped)] == pytest.approx(chosen)
    assert (np.diff(curve.thresholds) > 0).all()


def test_without_a_cutoff_both_errors_are_the_same(histogram):
    curve = error_curve(histogram, 8)
    np.testing.assert_array_equal(curve.clipped, curve.whole)
    cut = error_curve(histogram, 8, cutoff=5.0)
    assert (cut.whole > cut.clipped).any()


def test_a_start_bin_leaves_out_small_candidates(histogram):
    curve = error_curve(histogram, 8, start_bin=50)
    assert curve.thresholds[0] == pytest.approx(49.5 * histogram.width)


@pytest.mark.parametrize("values", [[], [0.0, 0.0]])
def test_nothing_or_zeros_have_no_curve(values):
    assert error_curve(Histogram.empty().add(values), 8) is None
