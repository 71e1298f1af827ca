"""Grids for entropy coding: the entropy that was asked for, closed forms, and fewer errors for the same bytes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from speechquant.errors import ModelError, RecipeError
from speechquant.numerics import QuantSpec, dequantize, entropy_grids, quantize, smallest, weight_scales

SHAPE = (96, 500)


def weights(kind, seed=0):
    rng = np.random.default_rng(seed)
    drawn = {
        "normal": rng.standard_normal(SHAPE),
        "laplace": rng.laplace(size=SHAPE),
        "student": rng.standard_t(4, size=SHAPE),
    }[kind]
    return (drawn * rng.uniform(0.5, 2.0, (SHAPE[0], 1)) / 30).astype(np.float32)


def entropy_grid(w, bits, granularity="tensor", **axis):
    (found,) = entropy_grids(w, [bits], granularity, **axis).values()
    return found


def information(integers):
    return entropy(np.unique(integers, return_counts=True)[1], base=2)


def error(w, spec, scale):
    return float(np.square(dequantize(quantize(w, scale, spec), scale).astype(np.float64) - w).sum())


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
@pytest.mark.parametrize("kind", ["normal", "laplace", "student"])
@pytest.mark.parametrize("bits", [1.0, 1.5, 2.25, 3.0, 4.0, 5.0])
def test_integers_have_the_entropy_that_was_asked_for(kind, bits, granularity):
    w = weights(kind)
    spec, scale = entropy_grid(w, bits, granularity)
    assert isinstance(scale, np.ndarray)
    assert scale.dtype == np.float32
    assert scale.shape == (() if granularity == "tensor" else SHAPE[:1])
    # What is cut off takes a little of it.
    assert information(quantize(w, scale, spec)) == pytest.approx(bits, abs=0.03)


@pytest.mark.parametrize("bits", [4.0, 5.0])
def test_the_step_of_a_normal_weight_has_a_closed_form(bits):
    w = np.random.default_rng(1).normal(0, 0.02, (200, 2000)).astype(np.float32)
    _, scale = entropy_grid(w, bits)
    # At high rate H = h - log2(step), with the differential entropy h of the normal distribution.
    expected = 0.02 * np.sqrt(2 * np.pi * np.e) / 2**bits
    # Steps are tried 64 to the octave.
    assert float(scale) == pytest.approx(expected, rel=0.015)


@pytest.mark.parametrize("kind", ["normal", "laplace", "student"])
@pytest.mark.parametrize(("bits", "most"), [(2, 1.01), (3, 0.9), (4, 0.9)])
def test_beats_the_least_squared_error_of_as_many_bytes(kind, bits, most):
    w = weights(kind)
    fixed = QuantSpec(bits, "channel", narrow=True)
    scales = weight_scales(w, fixed, "mse")
    integers = quantize(w, scales, fixed)
    spec, scale = entropy_grid(w, information(integers))
    sizes = [smallest(q, s.bits)[0].size for q, s in ((integers, fixed), (quantize(w, scale, spec), spec))]
    assert sizes[1] <= 1.02 * sizes[0]
    assert error(w, spec, scale) < most * error(w, fixed, scales)


@pytest.mark.parametrize("kind", ["normal", "student"])
@pytest.mark.parametrize("bits", [1.5, 3.0, 4.0])
def test_holds_the_integers_in_the_fewest_bits_that_cut_nothing_worth_it(kind, bits):
    w = weights(kind)
    spec, scale = entropy_grid(w, bits)
    errors = {n: error(w, QuantSpec(n, narrow=True), scale) for n in range(2, 9)}
    wide = error(w, QuantSpec(16, narrow=True), scale)
    enough = [n for n, found in errors.items() if found <= 1.0105 * wide]
    assert spec.bits in {
        min(enough, default=8),
        min((n for n in errors if errors[n] <= 1.0095 * wide), default=8),
    }


def test_channels_of_equal_spread_have_equal_steps():
    rng = np.random.default_rng(3)
    w = (rng.standard_normal((8, 4000)) * np.logspace(-3, 0, 8)[:, None]).astype(np.float32)
    spread = np.sqrt(np.square(w).mean(axis=1))
    _, scale = entropy_grid(w, 3.0, "channel")
    assert scale / spread == pytest.approx(np.full(8, scale[0] / spread[0]), rel=1e-5)
    # Entropies of the channels are alike, and a channel of another axis is found too.
    spec, turned = entropy_grid(w.T, 3.0, "channel", axis=1)
    assert turned == pytest.approx(scale)
    each = [information(row) for row in quantize(w, scale, spec)]
    assert max(each) - min(each) < 0.1


@given(st.integers(1, 3), st.floats(0.01, 10.0), st.sampled_from([2.9, 5.0]), st.integers(0, 99))
def test_few_different_values_stay_what_they_are(levels, unit, bits, seed):
    rng = np.random.default_rng(seed)
    w = (rng.integers(-levels, levels + 1, (4, 60)) * unit).astype(np.float32)
    w[0, 0] = levels * unit
    # Seven values at most have log2(7) = 2.8 bits of entropy, less than was asked for.
    spec, scale = entropy_grid(w, bits)
    assert error(w, spec, scale) <= 1e-3 * float(np.square(w).sum())


@pytest.mark.parametrize("bits", [1.0, 1.6])
def test_a_ternary_weight(bits):
    w = np.random.default_rng(2).choice([-0.5, 0.0, 0.5], SHAPE).astype(np.float32)
    spec, scale = entropy_grid(w, bits)
    # It has log2(3) = 1.58 bits: all of it, or nothing that is worth less.
    lost = error(w, spec, scale) / float(np.square(w).sum())
    assert information(quantize(w, scale, spec)) <= bits
    assert lost <= (1e-3 if bits > np.log2(3) else 1.0)


@pytest.mark.parametrize("peak", [70, 300, 1000])
def test_a_peak_costs_no_more_than_it_must(peak):
    w = np.random.default_rng(4).standard_normal(SHAPE).astype(np.float32)
    w[0, 0] = peak
    grids = entropy_grids(w, [1.5, 2, 3, 4, 5, 6])
    errors = [error(w, spec, scale) for spec, scale in grids.values()]
    # More bits are never worse, and none is worse than the best of all scales that 8 bits have.
    assert all(one >= other * 0.999 for one, other in pairwise(errors))
    best = QuantSpec(8, "tensor", narrow=True)
    assert errors[-1] <= 1.05 * error(w, best, weight_scales(w, best, "mse"))
    for bits, (spec, scale) in grids.items():
        assert information(quantize(w, scale, spec)) <= bits + 0.03


@pytest.mark.parametrize("bits", [2.0, 4.0])
def test_a_channel_without_spread_takes_nothing_from_the_others(bits):
    w = weights("normal")
    plain = error(w[1:], *_grid_of_rest(w, bits))
    w[0] = 0.02
    spec, scale = entropy_grid(w, bits, "channel")
    assert error(w[1:], spec, scale[1:]) <= 1.2 * plain


def _grid_of_rest(w, bits):
    return entropy_grid(w[1:], bits, "channel")


def test_a_weight_of_zeros_stays_zero():
    spec, scale = entropy_grid(np.zeros((3, 4), np.float32), 3.0, "channel")
    assert not quantize(np.zeros((3, 4), np.float32), scale, spec).any()


def test_refuses_what_it_cannot_do():
    w = weights("normal")
    with pytest.raises(RecipeError, match=r"an entropy of 9 bits is out of range; choose 0.5 to 7"):
        entropy_grid(w, 9)
    with pytest.raises(RecipeError, match="not per group"):
        entropy_grid(w, 3, "group")
    w[0, 0] = np.nan
    with pytest.raises(ModelError, match="NaN"):
        entropy_grid(w, 3)
