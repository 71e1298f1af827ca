"""Scales per group: against loops over single groups, and against the blocked DequantizeLinear of ONNX."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechquant.errors import RecipeError
from speechquant.numerics import Entry, QuantSpec, ScaleTable, Site, dequantize, quantize, weight_scales

RNG = np.random.default_rng(11)


def grouped(size, bits=4, *, narrow=False):
    return QuantSpec(bits, "group", narrow, size)


def slices(count, size):
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def brute_scales(weight, spec, method):
    """One group after the other, every candidate range tried, in float16 scales."""
    rows = weight.reshape(len(weight), -1)
    found = []
    for row in rows:
        for part in slices(row.size, spec.group_size):
            values = row[part].astype(np.float64)
            peak = np.abs(row[part]).max()
            shares = [1.0] if method == "max" else [percent / 100 for percent in range(100, 0, -1)]
            best = None
            for share in shares:
                limit = np.float32(peak) * np.float32(share) / np.float32(spec.qmax)
                scale = max(float(np.float16(limit)), 2.0**-24)
                levels = np.clip(np.rint(row[part] / np.float32(scale)), spec.qmin, spec.qmax)
                error = float(((levels * scale - values) ** 2).sum())
                if best is None or error < best[0] * (1 - 1e-6):
                    best = (error, scale)
            found.append(best)
    shape = len(rows), -1
    return np.reshape([scale for _, scale in found], shape), np.reshape([error for error, _ in found], shape)


@pytest.mark.parametrize("shape", [(3, 128), (3, 100), (2, 31), (4, 6, 11), (2, 1, 10)])
@pytest.mark.parametrize("size", [16, 32, 64])
def test_max_scales_are_those_of_a_loop_over_groups(shape, size):
    weight = RNG.normal(size=shape).astype(np.float32)
    expected, _ = brute_scales(weight, grouped(size), "max")
    assert np.array_equal(weight_scales(weight, grouped(size)), expected.astype(np.float32))


@pytest.mark.parametrize(("bits", "size", "count"), [(4, 32, 96), (4, 64, 150), (2, 16, 40), (3, 128, 130)])
def test_mse_has_the_least_error_of_all_ranges(bits, size, count):
    weight = RNG.laplace(size=(4, count)).astype(np.float32)
    spec = grouped(size, bits)
    scales = weight_scales(weight, spec, "mse")
    wrong = dequantize(quantize(weight, scales, spec), scales, group_size=size).astype(np.float64) - weight
    errors = np.stack([(wrong[:, part] ** 2).sum(axis=1) for part in slices(count, size)], axis=1)
    _, least = brute_scales(weight, spec, "mse")
    assert np.allclose(errors, least, rtol=1e-5)


@given(st.integers(1, 5), st.integers(1, 70), st.integers(1, 40), st.integers(2, 8))
def test_a_group_sees_only_its_own_scale(rows, count, size, bits):
    spec = grouped(size, bits)
    rng = np.random.default_rng(count)
    weight = rng.normal(size=(rows, count)).astype(np.float32)
    scales = rng.uniform(0.05, 0.2, (rows, -(-count // size))).astype(np.float32)
    integers = quantize(weight, scales, spec)
    values = dequantize(integers, scales, group_size=size)
    for row in range(rows):
        for group, part in enumerate(slices(count, size)):
            alone = quantize(weight[row, part], scales[row, group], QuantSpec(bits))
            assert np.array_equal(integers[row, part], alone)
            assert np.array_equal(values[row, part], dequantize(alone, scales[row, group]))


@pytest.mark.parametrize("size", [16, 64])
def test_values_are_those_of_the_blocked_operator_of_onnx(size):
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    weight = RNG.normal(size=(5, 128)).astype(np.float32)
    spec = grouped(size)
    scales = weight_scales(weight, spec, "mse")
    integers = quantize(weight, scales, spec)
    helper, kinds = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [helper.make_node("DequantizeLinear", ["q", "s"], ["y"], axis=1, block_size=size)],
        "blocked",
        [helper.make_tensor_value_info("q", kinds.INT8, None), helper.make_tensor_value_info("s", 1, None)],
        [helper.make_tensor_value_info("y", kinds.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    (expected,) = ReferenceEvaluator(model).run(None, {"q": integers, "s": scales})
    assert np.array_equal(dequantize(integers, scales, group_size=size), expected)


def test_convolutions_are_read_in_c_order_and_other_axes_too():
    weight = RNG.normal(size=(3, 5, 7)).astype(np.float32)
    spec = grouped(16)
    scales = weight_scales(weight, spec)
    flat = quantize(weight.reshape(3, -1), scales, spec)
    assert np.array_equal(quantize(weight, scales, spec), flat.reshape(weight.shape))
    turned = np.moveaxis(weight, 0, 1)
    assert np.array_equal(weight_scales(turned, spec, axis=1), scales)
    again = quantize(turned, scales, spec, axis=1)
    assert np.array_equal(np.moveaxis(again, 1, 0), flat.reshape(weight.shape))
    values = dequantize(again, scales, axis=1, group_size=16)
    assert np.array_equal(
        np.moveaxis(values, 1, 0), dequantize(flat, scales, group_size=16).reshape(weight.shape)
    )


@pytest.mark.parametrize("method", ["max", "mse"])
def test_scales_are_positive_float16_values_whatever_the_weights(method):
    weight = np.stack(
        [np.zeros(64), np.full(64, 1e-12), np.full(64, 3e-7), np.full(64, 1e9), RNG.normal(size=64)]
    )
    scales = weight_scales(weight.astype(np.float32), grouped(32), method)
    assert (scales > 0).all()
    assert np.array_equal(scales, scales.astype(np.float16).astype(np.float32))
    assert not quantize(weight, scales, grouped(32))[0].any()


def test_the_full_range_is_used():
    weight = np.array([[-8.0, 7, 1, 0]], np.float32)
    assert quantize(weight, np.ones((1, 1)), grouped(4)).tolist() == [[-8, 7, 1, 0]]


def test_smaller_groups_and_least_squares_are_better():
    weight = RNG.laplace(size=(16, 512)).astype(np.float32)

    def error(size, method):
        scales = weight_scales(weight, grouped(size), method)
        return float(
            (
                (dequantize(quantize(weight, scales, grouped(size)), scales, group_size=size) - weight) ** 2
            ).sum()
        )

    assert error(32, "max") < error(64, "max") < error(128, "max")
    assert all(error(size, "mse") < error(size, "max") for size in (32, 64, 128))


def test_wrong_sizes_are_refused():
    with pytest.raises(RecipeError, match="group size"):
        QuantSpec(4, "group")
    with pytest.raises(RecipeError, match="group size"):
        QuantSpec(4, "channel", group_size=64)
    with pytest.raises(RecipeError, match="groups of 0"):
        QuantSpec(4, "group", group_size=0)
    with pytest.raises(ValueError, match="do not fit groups of 64"):
        quantize(np.zeros((2, 100)), np.ones((2, 3)), grouped(64))


def test_the_group_size_is_part_of_a_table_s_signature():
    site, scale = Site("a", "weight", "a"), np.ones((2, 2), np.float32)
    signatures = {ScaleTable({site.name: Entry(site, grouped(size), scale)}).signature for size in (33, 64)}
    assert len(signatures) == 2


def test_a_group_may_be_as_large_as_it_likes():
    integers = np.arange(-6, 6, dtype=np.int8).reshape(3, 4)
    scales = np.array([[0.5], [0.25], [2.0]], np.float32)
    # Memory goes by the weight, not by what a file says of it.
    np.testing.assert_array_equal(dequantize(integers, scales, group_size=10**12), integers * scales)
