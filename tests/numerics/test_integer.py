"""The reference arithmetic against ONNX Runtime and against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from speechquant.errors import ModelError, RecipeError
from speechquant.numerics import MIN_SCALE, QuantSpec, dequantize, quantize, weight_scales

INT8 = QuantSpec(8)
RNG = np.random.default_rng(7)


def onnx_session(axis=None):
    onnx = pytest.importorskip("onnx")
    ort = pytest.importorskip("onnxruntime")
    helper, kinds = onnx.helper, onnx.TensorProto
    options = {} if axis is None else {"axis": axis}
    scale_shape = [] if axis is None else ["c"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], **options),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], **options),
    ]
    graph = helper.make_graph(
        nodes,
        "qdq",
        [
            helper.make_tensor_value_info("x", kinds.FLOAT, None),
            helper.make_tensor_value_info("s", kinds.FLOAT, scale_shape),
            helper.make_tensor_value_info("z", kinds.INT8, scale_shape),
        ],
        [
            helper.make_tensor_value_info("q", kinds.INT8, None),
            helper.make_tensor_value_info("y", kinds.FLOAT, None),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.intra_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), settings)


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.1, 1 / 3, 3.7e-5, 812.5])
def test_equals_onnx_runtime_with_half_way_values(scale):
    scale = np.asarray(scale, np.float32)
    halves = (np.arange(-300, 300) + np.float32(0.5)) * scale
    x = np.concatenate(
        [halves, np.nextafter(halves, np.float32(0)), RNG.normal(size=5000) * 60 * scale, [0.0]]
    )
    x = x.astype(np.float32)
    q, y = onnx_session().run(None, {"x": x, "s": scale, "z": np.asarray(0, np.int8)})
    ours = quantize(x, scale, INT8)
    assert ours.dtype == np.int8
    assert np.array_equal(ours, q)
    assert np.array_equal(dequantize(ours, scale), y)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_equals_onnx_runtime_per_channel(axis):
    x = RNG.normal(size=(3, 4, 5)).astype(np.float32)
    scale = RNG.uniform(0.005, 0.02, x.shape[axis]).astype(np.float32)
    q, y = onnx_session(axis).run(None, {"x": x, "s": scale, "z": np.zeros(x.shape[axis], np.int8)})
    assert np.array_equal(quantize(x, scale, INT8, axis), q)
    assert np.array_equal(dequantize(q, scale, axis), y)


def test_ties_go_to_even_and_the_range_saturates():
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 200, -200, np.inf, -np.inf])
    assert quantize(x, 1.0, INT8).tolist() == [0, 2, 2, 0, -2, 127, -128, 127, -128]
    assert quantize(x, 1.0, QuantSpec(8, narrow=True)).tolist() == [0, 2, 2, 0, -2, 127, -127, 127, -127]
    assert quantize(x, 1.0, QuantSpec(2, narrow=True)).tolist() == [0, 1, 1, 0, -1, 1, -1, 1, -1]


@pytest.mark.parametrize("bits", range(2, 17))
def test_every_level_survives_a_round_trip(bits):
    spec = QuantSpec(bits)
    q = np.arange(spec.qmin, spec.qmax + 1)
    found = quantize(dequantize(q, 0.037), 0.037, spec)
    assert np.array_equal(found, q)
    assert found.dtype == (np.int8 if bits <= 8 else np.int16)


def test_nan_is_refused():
    with pytest.raises(ModelError, match="NaN"):
        quantize(np.array([1.0, np.nan]), 1.0, INT8)


CHANNEL = QuantSpec(8, "channel", narrow=True)
TENSOR = QuantSpec(8, "tensor", narrow=True)


@pytest.mark.parametrize("axis", [0, 1])
def test_max_scales(axis):
    w = RNG.normal(size=(6, 4, 3)).astype(np.float32)
    others = tuple(i for i in range(3) if i != axis)
    assert np.array_equal(weight_scales(w, CHANNEL, axis=axis), np.abs(w).max(axis=others) / np.float32(127))
    whole = weight_scales(w, TENSOR, axis=axis)
    assert whole.shape == ()
    assert whole.dtype == np.float32
    assert whole == np.abs(w).max() / np.float32(127)


@given(hnp.arrays(np.float32, (3, 8), elements=st.floats(-100, 100, width=32)), st.integers(2, 16))
def test_max_scales_never_clip(w, bits):
    spec = QuantSpec(bits, "channel", narrow=True)
    scale = weight_scales(w, spec)
    restored = dequantize(quantize(w, scale, spec), scale)
    assert (np.abs(restored - w) <= scale[:, None] * 0.5001).all()


def test_percentile_scales_agree_with_numpy():
    w = RNG.standard_t(2, size=(5, 1000)).astype(np.float32)
    expected = np.sort(np.abs(w), axis=1)[:, 899] / 127  # 90 % of 1000 values are kept
    np.testing.assert_allclose(weight_scales(w, CHANNEL, "percentile", percentile=89.95), expected, rtol=1e-6)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_mse_scales_are_the_best_of_the_grid(bits, granularity):
    w = (RNG.standard_t(3, size=(7, 300)) * RNG.uniform(0.1, 5, (7, 1))).astype(np.float32)
    spec = QuantSpec(bits, granularity, narrow=True)
    found = weight_scales(w, spec, "mse")
    rows = w if granularity == "channel" else w.reshape(1, -1)
    for row, scale in zip(rows.astype(np.float64), np.atleast_1d(found), strict=True):
        grid = np.abs(row).max() * np.arange(1, 101) / 100 / spec.qmax
        levels = np.clip(np.rint(row / grid[:, None]), -spec.qmax, spec.qmax)
        errors = ((levels * grid[:, None] - row) ** 2).sum(axis=1)
        ours = ((np.clip(np.rint(row / scale), -spec.qmax, spec.qmax) * scale - row) ** 2).sum()
        assert ours <= errors.min() * (1 + 1e-4)


def test_mse_in_blocks_equals_row_by_row():
    w = RNG.normal(size=(700, 1000)).astype(np.float32)
    rows = [weight_scales(row[None], CHANNEL, "mse")[0] for row in w[::100]]
    assert np.array_equal(weight_scales(w, CHANNEL, "mse")[::100], rows)


@pytest.mark.parametrize("method", ["max", "mse", "percentile"])
def test_zero_channels_are_safe(method):
    w = np.zeros((3, 4), np.float32)
    w[1] = 1
    scale = weight_scales(w, CHANNEL, method)
    assert scale[0] == scale[2] == np.float32(MIN_SCALE)
    assert not quantize(w, scale, CHANNEL)[[0, 2]].any()
    assert weight_scales(np.zeros((2, 2)), TENSOR, method) == np.float32(MIN_SCALE)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_damaged_weights(bad):
    with pytest.raises(ModelError, match="damaged"):
        weight_scales(np.array([[1.0, bad]]), CHANNEL)


def test_bad_settings():
    with pytest.raises(RecipeError, match="unknown weight method"):
        weight_scales(np.ones((2, 2)), CHANNEL, "median")
    with pytest.raises(RecipeError, match="percentile"):
        weight_scales(np.ones((2, 2)), CHANNEL, "percentile", percentile=0)
