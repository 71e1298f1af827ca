"""What all calibrators share, and the promises of each one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from speechquant.errors import ModelError, RecipeError
from speechquant.numerics import (
    MIN_SCALE,
    Calibrator,
    Histogram,
    calibrate,
    calibrate_many,
    calibrator,
    calibrator_names,
    register,
    threshold,
)

RNG = np.random.default_rng(3)
VALUES = {
    "normal": RNG.normal(size=40_009),
    "tail": RNG.standard_t(2, size=40_009) * 30,
    "gelu": np.maximum(RNG.normal(size=40_009), -0.1),
    "tiny": RNG.normal(size=1000) * 1e-6,
    "short": np.array([0.3]),
}
HISTOGRAMS = {name: Histogram.empty(512).add(values) for name, values in VALUES.items()}
NAMES = ("entropy", "max", "mse", "percentile", "stablequant")


def quantization_error(values, scale, bits):
    qmax = 2 ** (bits - 1) - 1
    return np.mean((np.clip(np.rint(values / scale), -qmax, qmax) * scale - values) ** 2)


def test_all_calibrators_are_registered():
    assert set(NAMES) <= set(calibrator_names())


@pytest.mark.parametrize("bits", [2, 5, 8, 11, 16])
@pytest.mark.parametrize("name", NAMES)
def test_many_equals_one_by_one_and_lies_in_the_range(name, bits):
    together = calibrate_many(name, HISTOGRAMS, bits)
    assert list(together) == list(HISTOGRAMS)
    for site, histogram in HISTOGRAMS.items():
        assert together[site] == calibrate(name, histogram, bits)
        assert 0 < threshold(name, histogram, bits) <= histogram.maximum + histogram.width


def test_no_sites_give_no_scales():
    assert all(calibrate_many(name, {}, 8) == {} for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bits", [2, 8, 16])
def test_zero_tensors_get_the_smallest_scale(name, bits):
    assert calibrate(name, Histogram.empty().add(np.zeros(10)), bits) == MIN_SCALE


@pytest.mark.parametrize("name", NAMES)
def test_powers_of_two_scale_with_the_data(name):
    scales = [calibrate(name, Histogram.empty().add(VALUES["tail"] * factor), 8) for factor in (1, 2.0**-9)]
    assert scales[0] == scales[1] * 2.0**9


def test_max_is_exact():
    assert calibrate("max", HISTOGRAMS["tail"], 8) == np.abs(VALUES["tail"]).max() / 127


@pytest.mark.parametrize("percent", [50, 90, 99, 99.9, 99.99, 100])
def test_percentile_agrees_with_numpy_within_a_bin(percent):
    for site in ("normal", "tail", "gelu"):
        exact = np.percentile(np.abs(VALUES[site]), percent, method="inverted_cdf")
        found = threshold("percentile", HISTOGRAMS[site], 8, percentile=percent)
        assert abs(found - exact) <= HISTOGRAMS[site].width / 2


def test_percentile_cuts_exactly_where_decimal_arithmetic_says():
    """29 of 10000 values may go at 0.29 %, although 10000 * 0.29 / 100 is less than 29 in floating point."""
    histogram = Histogram.empty(8).add(np.repeat([0.1, 0.9], [9971, 29]))
    assert calibrate("stablequant", histogram, 8, cutoff=0.29, mse=False) * 127 == pytest.approx(1 / 16)
    assert calibrate("stablequant", histogram, 8, cutoff=0.28, mse=False) * 127 == pytest.approx(15 / 16)
    assert calibrate("percentile", histogram, 8, percentile=99.71) * 127 == pytest.approx(1 / 16)


@pytest.mark.parametrize("bits", [3, 4, 6, 8])
def test_mse_beats_max_and_percentile_on_its_own_objective(bits):
    for site in ("normal", "tail", "gelu"):
        histogram = Histogram.empty().add(VALUES[site])
        errors = {
            name: quantization_error(VALUES[site], calibrate(name, histogram, bits), bits) for name in NAMES
        }
        assert errors["mse"] <= min(errors.values()) * 1.01


def test_stablequant_without_cutoff_is_mse_and_cutting_never_enlarges_the_range():
    for bits in (4, 8):
        assert calibrate_many("stablequant", HISTOGRAMS, bits) == calibrate_many("mse", HISTOGRAMS, bits)
        ends = [
            threshold("stablequant", HISTOGRAMS["tail"], bits, cutoff=p, mse=False)
            for p in np.arange(0, 1, 0.05)
        ]
        assert ends == sorted(ends, reverse=True)
        assert ends[0] > 2 * ends[-1]


def test_entropy_clips_a_lonely_outlier():
    values = np.append(RNG.normal(size=100_000), 60.0)
    assert threshold("entropy", Histogram.empty().add(values), 8) < 10


@pytest.mark.parametrize("bits", [1, 17, 0])
def test_bits_out_of_range(bits):
    with pytest.raises(RecipeError, match="bits"):
        calibrate("max", HISTOGRAMS["normal"], bits)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("median", {}),
        ("max", {"cutoff": 1}),
        ("percentile", {"percentile": 0}),
        ("percentile", {"percentile": 100.1}),
        ("percentile", {"percentile": float("nan")}),
        ("stablequant", {"cutoff": -0.1}),
        ("stablequant", {"cutoff": 100}),
        ("stablequant", {"start_bin": 0}),
        ("mse", {"start_bin": 0}),
        ("entropy", {"stride": 0}),
        ("entropy", {"start_bin": 0}),
    ],
)
def test_bad_names_and_options(name, options):
    with pytest.raises(RecipeError):
        calibrate(name, HISTOGRAMS["normal"], 8, **options)


def test_a_site_without_data_is_named():
    with pytest.raises(ModelError, match="lost:input"):
        calibrate_many("mse", {"a:input": HISTOGRAMS["normal"], "lost:input": Histogram.empty()}, 8)


def test_a_new_calibrator_is_one_registered_class(monkeypatch):
    monkeypatch.setattr("speechquant.numerics.calibrators.base._REGISTER", {})

    @register("half")
    @dataclass(frozen=True)
    class Half(Calibrator):
        part: float = 0.5

        def scale(self, histogram, bits):
            return histogram.maximum * self.part / (2 ** (bits - 1) - 1)

    assert calibrator("half") == Half()
    assert threshold("half", HISTOGRAMS["short"], 8, part=0.25) == pytest.approx(0.075)
    with pytest.raises(ValueError, match="exists"):
        register("half")(Half)
