"""Fake quantization against the integer reference, torch's own, and the closed form of its gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechquant.numerics import QuantSpec, dequantize, quantize
from speechquant.simulation import fake_quantize


def tensor(array):
    return torch.from_numpy(np.asarray(array, np.float32))


def reference(x, scale, spec, axis=0):
    return dequantize(quantize(x, scale, spec, axis), scale, axis)


def same_bits(found, expected):
    # Adding 0 turns -0 into 0: integers have one zero only.
    np.testing.assert_array_equal((found.numpy() + np.float32(0)).view(np.int32), expected.view(np.int32))


def hard_values(scale, spec, rng):
    """Half-way points and their neighbours, both ends and beyond, and noise."""
    limit = min(spec.qmax + 2, 600)
    halves = (np.arange(-limit, limit + 1) + 0.5).astype(np.float32) * np.float32(scale)
    ends = np.array([spec.qmin - 0.5, spec.qmin, spec.qmax, spec.qmax + 0.5], np.float32) * np.float32(scale)
    near = np.concatenate([halves, ends])
    noise = (rng.standard_normal(2000) * scale * spec.qmax).astype(np.float32)
    parts = near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, np.float32(-np.inf)), noise
    return np.concatenate([*parts, np.array([0, 1e30, -1e30, np.inf, -np.inf], np.float32)])


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("bits", range(2, 17))
def test_equals_the_integer_reference_bit_for_bit(bits, narrow):
    spec, rng = QuantSpec(bits, narrow=narrow), np.random.default_rng(bits)
    for scale in np.float32([0.1, 1.0, 0.0123, 3e-7, rng.uniform(0.01, 5)]):
        x = hard_values(scale, spec, rng)
        same_bits(fake_quantize(tensor(x), tensor(scale), spec), reference(x, scale, spec))


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_per_channel_scales_go_along_their_axis(axis, bits):
    spec, rng = QuantSpec(bits, "channel", narrow=True), np.random.default_rng(axis + bits)
    x = rng.standard_normal((5, 6, 7)).astype(np.float32)
    scale = rng.uniform(0.001, 0.5, x.shape[axis]).astype(np.float32)
    found = fake_quantize(tensor(x), tensor(scale), spec, axis=axis)
    same_bits(found, reference(x, scale, spec, axis))
    for index in range(x.shape[axis]):
        one = np.take(x, index, axis)
        same_bits(found.select(axis, index), reference(one, scale[index], spec))


@pytest.mark.parametrize("shape", [(5, 64), (5, 100), (3, 7, 9), (2, 3)])
@pytest.mark.parametrize("size", [16, 64])
def test_groups_follow_one_another_through_an_output_channel(shape, size):
    spec, rng = QuantSpec(4, "group", group_size=size), np.random.default_rng(size)
    x = rng.standard_normal(shape).astype(np.float32)
    flat = x.reshape(shape[0], -1)
    scale = rng.uniform(0.05, 0.5, (shape[0], -(-flat.shape[1] // size))).astype(np.float32)
    found = fake_quantize(tensor(x), tensor(scale), spec, axis=0).reshape(flat.shape)
    for row in range(shape[0]):
        for group in range(scale.shape[1]):
            part = slice(group * size, (group + 1) * size)
            same_bits(found[row, part], reference(flat[row, part], scale[row, group], QuantSpec(4)))


@settings(max_examples=200, deadline=None)
@given(
    st.floats(-1e6, 1e6, width=32),
    st.floats(2.0**-20, 1e3, width=32),
    st.integers(2, 16),
)
def test_any_value_and_scale(value, scale, bits):
    spec = QuantSpec(bits)
    x, step = np.float32([value]), np.float32(scale)
    same_bits(fake_quantize(tensor(x), tensor(step), spec), reference(x, step, spec))


@pytest.mark.parametrize("bits", [2, 4, 8, 12])
def test_agrees_with_torch_away_from_ties(bits):
    spec, rng = QuantSpec(bits), np.random.default_rng(bits)
    scale = 0.037
    x = (rng.standard_normal(20_000) * scale * spec.qmax).astype(np.float32)
    # Torch multiplies by the reciprocal, which differs within rounding of a tie.
    away = np.abs(np.abs(x / scale % 1) - 0.5) > 1e-3
    expected = torch.fake_quantize_per_tensor_affine(tensor(x[away]), scale, 0, spec.qmin, spec.qmax)
    torch.testing.assert_close(
        fake_quantize(tensor(x[away]), tensor(scale), spec), expected, rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("axis", [None, 0])
def test_gradient_is_straight_through_and_zero_where_clamped(axis, narrow):
    spec = QuantSpec(4, "tensor" if axis is None else "channel", narrow=narrow)
    scale = np.float32(0.5) if axis is None else np.float32([0.5, 0.25, 1.0])
    steps = np.float32([-9.6, -8.4, -7.6, -7.4, -0.5, 0.0, 0.49, 3.2, 7.4, 7.6, 40.0])
    x = np.outer(np.broadcast_to(scale, 3), steps).astype(np.float32)
    leaf = tensor(x).requires_grad_()
    upstream = torch.arange(1.0, x.size + 1).reshape(x.shape)
    fake_quantize(leaf, tensor(scale), spec, axis=axis).backward(upstream)
    levels = np.rint(steps)
    inside = (levels >= spec.qmin) & (levels <= spec.qmax)
    assert inside.tolist().count(False) == (5 if narrow else 3)
    torch.testing.assert_close(leaf.grad, upstream * tensor(inside), rtol=0, atol=0)


def test_the_same_values_with_and_without_gradient_and_the_input_is_left_alone():
    x = torch.linspace(-3, 3, 101)
    kept = x.clone()
    spec, scale = QuantSpec(4), torch.tensor(0.3)
    plain = fake_quantize(x, scale, spec)
    learned = fake_quantize(x.clone().requires_grad_(), scale, spec)
    assert torch.equal(plain, learned.detach())
    assert torch.equal(x, kept)


def test_a_group_may_be_as_large_as_it_likes():
    x, scale = torch.arange(-6.0, 6.0).reshape(3, 4), torch.tensor([[1.0], [0.5], [2.0]])
    found = fake_quantize(x, scale, QuantSpec(8, "group", narrow=True, group_size=10**12))
    torch.testing.assert_close(found, torch.round(x / scale) * scale, rtol=0, atol=0)
