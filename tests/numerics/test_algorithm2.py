"""`stablequant` and `mse` against StableQuant's Algorithm 2, written down line by line in exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from speechquant.numerics import Histogram, calibrate

BINS = 32


def algorithm2(counts, width, p, m, b, *, start=1, fold=False):
    """S_c(p, m; D) of the paper with the clamp. `counts` end at the largest value, as Histogram(X) does."""
    qmax = 2 ** (b - 1) - 1
    total = sum(counts)
    # Line 2: keep bins from zero upwards until no more than p percent of the values are left over.
    kept = 0
    B = 0
    while Fraction(total - kept, total) * 100 > Fraction(p):
        kept += counts[B]
        B += 1
    clipped = list(counts[:B])
    if fold:
        clipped[-1] += sum(counts[B:])
    # Line 3
    c = [(Fraction(2 * i + 1, 2)) * width for i in range(B)]
    if m == 1:
        errors = {}
        for i in range(min(start, B) - 1, B):  # line 5
            s_i = c[i] / qmax
            e_i = Fraction(0)
            for j in range(B):
                level = min(round(c[j] / s_i), qmax)  # line 8, clamped; Python rounds half to even
                e_i += (c[j] - level * s_i) ** 2 * clipped[j]
            errors[i] = e_i / B  # line 10
        opt = min(errors, key=errors.__getitem__)  # line 12: the first of equals
        return c[opt] / qmax
    return c[B - 1] / qmax  # line 15


def histogram_of(counts):
    """A histogram over (0, 1] with exactly these counts, of which the upper half must not be empty."""
    last = int(np.flatnonzero(counts)[-1])
    return Histogram.empty(len(counts)).add_counts(np.array(counts), 0, (last + 0.5) / len(counts))


def adversarial():
    rng = np.random.default_rng(5)
    tail = np.sort(rng.pareto(1.2, 5000))[:-3]
    cases = {
        "heavy tail": np.histogram(tail, BINS)[0],
        "half normal": np.histogram(np.abs(rng.normal(size=20_000)), BINS)[0],
        "bimodal": np.histogram(np.concatenate([rng.normal(1, 0.1, 9000), rng.normal(7, 0.2, 40)]), BINS)[0],
        "mostly zeros and an outlier": [10**9, *[0] * (BINS - 2), 1],
        "two spikes": [0] * 5 + [1000] + [0] * (BINS - 7) + [3],
        "single bin at the end": [0] * (BINS - 1) + [7],
        "single bin, range in the upper half": [0] * (BINS // 2) + [7] + [0] * (BINS // 2 - 1),
        "uniform": [10] * BINS,
        "empty bins": [100, 0, 0, 50, 0, 0, 25, 0] * (BINS // 8 - 1) + [0, 0, 0, 0, 0, 0, 0, 1],
    }
    for seed in range(6):
        cases[f"random {seed}"] = np.random.default_rng(seed).integers(0, 10 ** (1 + seed), BINS)
    return {name: [int(count) for count in counts] for name, counts in cases.items()}


CASES = adversarial()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("bits", [2, 4, 6, 8, 16])
def test_equals_the_paper(name, bits):
    counts = CASES[name]
    histogram = histogram_of(counts)
    trimmed = counts[: max(i for i, count in enumerate(counts) if count) + 1]
    width = Fraction(1, BINS)
    for p in ("0", "0.2", "10"):
        for fold in (False, True) if p == "10" else (False,):
            expected = float(algorithm2(trimmed, width, p, 1, bits, fold=fold))
            actual = calibrate("stablequant", histogram, bits, cutoff=float(p), fold=fold)
            assert actual == pytest.approx(expected, rel=1e-12)
        expected = float(algorithm2(trimmed, width, p, 0, bits))
        assert calibrate("stablequant", histogram, bits, cutoff=float(p), mse=False) == pytest.approx(
            expected
        )
    for start in (5, 1000):
        expected = float(algorithm2(trimmed, width, "0", 1, bits, start=start))
        assert calibrate("mse", histogram, bits, start_bin=start) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("bits", [3, 8])
def test_brute_force_in_floating_point_with_all_bins(bits):
    values = np.random.default_rng(2).standard_t(3, 50_000)
    histogram = Histogram.empty(1024).add(values)
    qmax = 2 ** (bits - 1) - 1
    end = int(np.flatnonzero(histogram.counts)[-1]) + 1
    centers, counts = histogram.centers[:end], histogram.counts[:end]
    scales = centers / qmax
    errors = np.array(
        [((np.minimum(np.round(centers / s), qmax) * s - centers) ** 2 @ counts) for s in scales]
    )
    assert calibrate("mse", histogram, bits) == pytest.approx(scales[np.argmin(errors)], rel=1e-14)


def test_without_the_clamp_the_smallest_candidate_wins():
    """Why decision and listing differ: the unclamped error of line 8 has its minimum at the first bin."""
    counts = np.array(CASES["half normal"])
    centers = np.arange(BINS) + 0.5
    scales = centers / 127
    errors = [((np.round(centers / s) * s - centers) ** 2 @ counts) for s in scales]
    assert np.argmin(errors) < 3
    assert calibrate("mse", histogram_of(list(counts)), 8) * 127 * BINS > BINS / 2
