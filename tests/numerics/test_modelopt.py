"""The baselines against NVIDIA Model Optimizer on the same histograms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy

from speechquant.numerics import Histogram, threshold

torch = pytest.importorskip("torch")
nvidia = pytest.importorskip("modelopt.torch.quantization.calib.histogram", exc_type=ImportError)

BINS = 1024
RNG = np.random.default_rng(11)
# The size is a prime: where a percentile is a whole number of values, the oracle's sums of floating-point
# fractions may miss it by one rounding error and end at the next value.
VALUES = {
    "normal": RNG.normal(size=99_991),
    "laplace": RNG.laplace(size=99_991),
    "student": RNG.standard_t(3, size=99_991),
    "lognormal": RNG.lognormal(0, 1.2, size=99_991),
    "relu": np.maximum(RNG.normal(size=99_991), 0),
    "outliers": np.concatenate([RNG.normal(size=99_981), RNG.normal(0, 20, size=10)]),
    "bimodal": np.concatenate([RNG.normal(0, 0.2, size=50_000), RNG.normal(6, 0.3, size=500)]),
}


@pytest.fixture(params=VALUES)
def case(request):
    """(values, histogram, NVIDIA's counts and edges): theirs ends at the last bin that is not empty."""
    values = VALUES[request.param].astype(np.float32)
    histogram = Histogram.empty(BINS).add(values)
    end = int(np.flatnonzero(histogram.counts)[-1]) + 1
    return values, histogram, histogram.counts[:end].copy(), histogram.edges[: end + 1].copy()


@pytest.mark.parametrize("percentile", [99, 99.9, 99.99, 99.999])
def test_percentile(case, percentile):
    _, histogram, counts, edges = case
    theirs = float(nvidia._compute_amax_percentile(counts, edges, percentile))
    assert abs(threshold("percentile", histogram, 8, percentile=percentile) - theirs) <= histogram.width


@pytest.fixture
def named_bits(monkeypatch):
    """Model Optimizer 0.47 hands bits and unsigned to its quantizer in the places of bias and bits."""

    def quantizer(inputs, amax, num_bits, unsigned):
        return FakeTensorQuantFunction.apply(inputs, amax, None, num_bits, unsigned)

    from modelopt.torch.quantization.tensor_quant import FakeTensorQuantFunction

    monkeypatch.setattr(nvidia, "fake_tensor_quant", quantizer)


@pytest.mark.usefixtures("named_bits")
@pytest.mark.parametrize(("bits", "start"), [(8, 128), (8, 0), (6, 0), (4, 0), (4, 128)])
def test_mse(case, bits, start):
    _, histogram, counts, edges = case
    theirs = float(nvidia._compute_amax_mse(counts, edges, bits, False, 1, start))
    assert abs(threshold("mse", histogram, bits, start_bin=start + 1) - theirs) <= histogram.width


@pytest.mark.parametrize(("bits", "start", "stride"), [(8, 128, 16), (6, 128, 16), (4, 32, 16)])
def test_entropy(case, bits, start, stride):
    _, histogram, counts, edges = case
    theirs = float(nvidia._compute_amax_entropy(counts, edges, bits, False, stride, start))
    ours = threshold("entropy", histogram, bits, start_bin=start, stride=stride)
    assert abs(ours - theirs) <= histogram.width


def test_max(case):
    from modelopt.torch.quantization.calib.max import MaxCalibrator

    values, histogram, _, _ = case
    calibrator = MaxCalibrator(8, None, False)
    calibrator.collect(torch.from_numpy(values))
    assert threshold("max", histogram, 8) == pytest.approx(float(calibrator.compute_amax()), rel=1e-7)


def test_entropy_divergences_are_those_of_scipy():
    """Every divergence, not only the least, on a small histogram with empty bins."""
    from speechquant.numerics.calibrators.entropy import _divergences

    counts = RNG.integers(0, 4, 60) * RNG.integers(0, 100, 60)
    counts[-1] = 5
    for levels in (4, 8, 32, 64, 128):
        kept = np.arange(8, 61)
        found = _divergences(counts.astype(float), kept, levels) / counts.sum()
        for value, i in zip(found, kept, strict=True):
            reference = counts[:i].astype(float)
            reference[-1] += counts[i:].sum()
            quantized = np.zeros(i)
            level_of = np.arange(i) * levels // i
            for level in range(levels):
                members = (level_of == level) & (counts[:i] > 0)
                if members.any():
                    quantized[members] = counts[:i][members].mean()
            assert value == pytest.approx(entropy(reference, quantized), abs=1e-12)
