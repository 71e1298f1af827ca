"""A norm over time behind a convolution, computed from the windows that the convolution sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

if TYPE_CHECKING:
    from speechquant.engines.export.builder import Builder
    from speechquant.engines.export.locate import Operator
    from speechquant.engines.export.plan import Activation

__all__ = ["fold_norm", "norm_behind"]

_ZERO_POINT = 128
# Samples in a window up to which their covariance is cheaper than passes over the output.
_SMALL_WINDOW = 64


def norm_behind(operator: Operator, weight: ir.Value) -> ir.Node | None:
    """The group norm with one channel per group that alone reads a convolution, if `fold_norm` pays.

    Args:
        operator: The convolution.
        weight: Its matrix, (window, out).
    """
    users = tuple(operator.output.uses())
    norm = users[0].node if len(users) == 1 else None
    if norm is None or norm.op_type != "GroupNormalization" or operator.output.is_graph_output():
        return None
    assert weight.shape is not None
    window, out = weight.shape.numpy()
    if window > _SMALL_WINDOW or norm.attributes.get_int("num_groups") != out:
        return None
    return norm


def fold_norm(
    b: Builder,
    windows: ir.Value,
    activation: Activation,
    weight: ir.Value,
    scales: ir.Value,
    *,
    norm: ir.Node,
) -> tuple[ir.Value, ir.Value]:
    """Scales and bias with which the product of a convolution comes out normalised.

    A channel's mean and variance over time follow from those of the windows: for integers w and windows v,
    mean(v w) = mean(v) w and var(v w) = w' cov(v) w. With ten samples in a window and hundreds of channels
    that is nothing against passes over the output, the largest tensor of the model, and the output never
    has to be turned to channels first. Equal to the norm in exact arithmetic; one utterance at a time, as
    each has its own scales: the batch of the graph becomes 1.

    Args:
        b: Writes the nodes.
        windows: uint8, (1, time, window).
        activation: The grid of the windows.
        weight: int8, (window, out).
        scales: (out,).
        norm: The norm, which is no longer needed then.

    Returns:
        Scales of the weight and a bias, (out,) each.
    """
    for value in (*b.graph.inputs, *b.graph.outputs):
        if value.shape is not None and len(value.shape):
            value.shape = ir.Shape([1, *value.shape[1:]])
    v = b.op("Sub", _float(b, windows), b.const(np.float32(_ZERO_POINT), "zero_point_float"))
    mean = b.op("ReduceMean", v, b.ints(1), keepdims=1)
    centred = b.op("Sub", v, mean)
    count = _float(b, b.op("Shape", windows, start=1, end=2))
    products = b.op("MatMul", b.op("Transpose", centred, perm=[0, 2, 1]), centred)
    w = _float(b, weight)
    spread = b.op("Mul", b.op("MatMul", b.op("Div", products, count), w), w)
    variance = b.op("ReduceSum", spread, b.ints(0, 1), keepdims=0)
    step = b.op("Mul", scales, b.const(np.float32(activation.scale), "scale"))
    epsilon = b.const(np.float32(norm.attributes.get_float("epsilon", 1e-5)), "epsilon")
    deviation = b.op("Sqrt", b.op("Add", b.op("Mul", variance, b.op("Mul", step, step)), epsilon))
    gain = b.op("Div", norm.inputs[1], deviation)
    centre = b.op("Mul", b.op("Reshape", b.op("MatMul", mean, w), b.ints(-1)), step)
    return b.op("Mul", scales, gain), b.op("Sub", norm.inputs[2], b.op("Mul", gain, centre))


def _float(b: Builder, integers: ir.Value) -> ir.Value:
    return b.op("Cast", integers, to=ir.DataType.FLOAT)
