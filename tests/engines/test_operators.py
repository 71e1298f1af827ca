"""One operator at a time, against torch, with numbers for which float arithmetic is exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from engine_checks import plain_session

from speechquant.engines.export import export_onnx

SCALE, WEIGHT_SCALE = 2.0**-5, 2.0**-6


def exact(operator, seed=0):
    """Weights on the grid, so that every product and sum is exact in float32."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in operator.parameters():
            steps = rng.integers(-127, 128, tuple(parameter.shape))
            parameter.copy_(torch.tensor(steps * WEIGHT_SCALE * (1 if parameter.dim() > 1 else SCALE)))
    return operator


def before_tanh(folder):
    """A session without the closing tanh: exact comparison needs the operator's own output."""
    import onnx

    model = onnx.load(folder / "model.onnx")
    last = next(node for node in model.graph.node if node.op_type == "Tanh")
    model.graph.output.append(onnx.helper.make_tensor_value_info(last.input[0], onnx.TensorProto.FLOAT, None))
    return plain_session(model.SerializeToString()), last


def run(folder, x):
    session, last = before_tanh(folder)
    return session.run([last.input[0]], {"wave": x})[0]


def signal(shape, seed=1):
    """Values on half steps, beyond the range too: rounding half to even and saturation both happen."""
    return (np.random.default_rng(seed).integers(-300, 300, shape) * SCALE / 2).astype(np.float32)


CONVS = [
    # channels in, out, kernel, stride, padding, groups, bits
    (1, 6, 10, 5, 0, 1, 8),
    (1, 6, 127, 64, 0, 1, 8),
    (8, 6, 3, 2, 1, 1, 8),
    (24, 8, 7, 3, 0, 1, 8),
    (16, 16, 2, 2, 0, 1, 6),
    (20, 4, 1, 1, 0, 1, 4),
    (8, 8, 16, 1, 8, 4, 8),
    (8, 12, 19, 1, 9, 2, 4),
    (6, 6, 4, 2, 1, 3, 8),
]


@pytest.mark.parametrize("geometry", CONVS, ids=str)
def test_a_convolution_equals_torch_at_every_length(bench, simulation, tmp_path, geometry):
    inputs, out, kernel, stride, padding, groups, bits = geometry
    conv = exact(torch.nn.Conv1d(inputs, out, kernel, stride, padding, groups=groups))
    if kernel % 2:
        conv.bias = None
    model = bench(conv, torch.zeros(2, inputs, 3 * kernel + 5), axis=2)
    table = model.table(SCALE, np.full(out, WEIGHT_SCALE * 2 ** (8 - bits)), bits)
    made = export_onnx(model, table, tmp_path)
    assert made.coverage.int8 == made.coverage.total == 1
    session, last = before_tanh(tmp_path)
    for length in range(kernel, kernel + 2 * stride + 3):
        x = signal((2, inputs, length), seed=length)
        with simulation(model, table):
            expected = conv(torch.tensor(x)).numpy()
        got = session.run(None, {"wave": x})
        assert got[0].shape == expected.shape
        np.testing.assert_allclose(got[0], np.tanh(expected), atol=2e-6)
    channel_last = session.run([last.input[0]], {"wave": x})[0]
    found = channel_last if channel_last.shape == expected.shape else channel_last.transpose(0, 2, 1)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("bits", [8, 3])
def test_a_linear_is_exact(bench, simulation, tmp_path, bits):
    linear = exact(torch.nn.Linear(40, 24))
    model = bench(linear, torch.zeros(2, 7, 40), axis=1)
    table = model.table(SCALE, np.full(24, WEIGHT_SCALE), bits)
    made = export_onnx(model, table, tmp_path)
    assert (made.coverage.int8, made.coverage.fallbacks) == (1, ())
    x = signal((3, 11, 40))
    with simulation(model, table):
        expected = linear(torch.tensor(x)).numpy()
    np.testing.assert_array_equal(run(tmp_path, x), expected)


@pytest.mark.parametrize("bits", [9, 16])
def test_more_than_8_bits_stay_in_float_and_say_so(bench, simulation, tmp_path, bits):
    linear = exact(torch.nn.Linear(40, 24))
    model = bench(linear, torch.zeros(2, 7, 40), axis=1)
    table = model.table(SCALE, np.full(24, WEIGHT_SCALE), bits)
    made = export_onnx(model, table, tmp_path)
    assert (made.coverage.int8, made.coverage.fallbacks, made.coverage.broken) == (0, ("operator",), ())
    x = signal((3, 11, 40))
    with simulation(model, table):
        expected = linear(torch.tensor(x)).numpy()
    np.testing.assert_allclose(run(tmp_path, x), expected, rtol=1e-6)


def test_a_dilated_convolution_falls_back_and_is_reported(bench, simulation, tmp_path):
    conv = exact(torch.nn.Conv1d(16, 4, 3, dilation=2))
    model = bench(conv, torch.zeros(2, 16, 20), axis=2)
    table = model.table(SCALE, np.full(4, WEIGHT_SCALE))
    made = export_onnx(model, table, tmp_path)
    assert made.coverage.broken == made.coverage.fallbacks == ("operator",)
    x = signal((1, 16, 31))
    with simulation(model, table):
        expected = conv(torch.tensor(x)).numpy()
    np.testing.assert_allclose(run(tmp_path, x), expected, rtol=1e-6)
