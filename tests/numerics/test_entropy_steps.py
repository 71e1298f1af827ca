"""Grids for entropy coding: the entropy that was asked for, closed forms, and fewer errors for the same bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from speechquant.errors import ModelError, RecipeError
from speechquant.numerics import QuantSpec, dequantize, entropy_grid, quantize, smallest, weight_scales

SHAPE = (96, 500)


def weights(kind, seed=0):
    rng = np.random.default_rng(seed)
    drawn = {
        "normal": rng.standard_normal(SHAPE),
        "laplace": rng.laplace(size=SHAPE),
        "student": rng.standard_t(4, size=SHAPE),
    }[kind]
    return (drawn * rng.uniform(0.5, 2.0, (SHAPE[0], 1)) / 30).astype(np.float32)


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
    assert float(scale) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("kind", ["normal", "laplace", "student"])
@pytest.mark.parametrize(("bits", "most"), [(2, 1.0), (3, 0.9), (4, 0.9)])
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
    _, scale = entropy_grid(w, 3.0, "channel")
    assert scale / w.std(axis=1) == pytest.approx(np.full(8, scale[0] / w[0].std()), rel=1e-5)
    # Entropies of the channels are alike, and a channel of another axis is found too.
    spec, turned = entropy_grid(w.T, 3.0, "channel", axis=1)
    assert turned == pytest.approx(scale)
    each = [information(row) for row in quantize(w, scale, spec)]
    assert max(each) - min(each) < 0.1


@given(st.integers(1, 3), st.floats(0.1, 10.0), st.integers(0, 99))
def test_few_different_values_stay_what_they_are(levels, unit, seed):
    rng = np.random.default_rng(seed)
    w = (rng.integers(-levels, levels + 1, (4, 60)) * unit).astype(np.float32)
    w[0, 0] = levels * unit
    # Seven values at most have less entropy than was asked for.
    spec, scale = entropy_grid(w, 5.0)
    assert spec.bits == 8
    assert error(w, spec, scale) <= 1e-4 * float(np.square(w).sum())


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
