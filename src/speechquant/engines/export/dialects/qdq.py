"""Quantizers in ONNX Runtime's way: the signed grid of the scale table, shifted by 128 into uint8."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from speechquant.engines.export.builder import Builder
    from speechquant.engines.export.plan import Activation

__all__ = [
    "array",
    "dequantize",
    "dequantize_weight",
    "name_of",
    "on_grid",
    "overwrite",
    "product",
    "quantize",
    "zero_point",
]

_ZERO_POINT = 128
_FULL = (-128, 127)


def zero_point(b: Builder) -> ir.Value:
    """The integer that stands for 0."""
    return b.const(np.uint8(_ZERO_POINT), "zero_point")


def quantize(b: Builder, x: ir.Value, activation: Activation) -> ir.Value:
    """A float tensor as uint8; fewer than 8 bits use the middle of the range."""
    scale = b.const(np.float32(activation.scale), "scale")
    integers = b.op("QuantizeLinear", x, scale, zero_point(b))
    if (activation.qmin, activation.qmax) == _FULL:
        return integers
    low, high = (b.const(np.uint8(v + _ZERO_POINT), "limit") for v in (activation.qmin, activation.qmax))
    return b.op("Clip", integers, low, high)


def dequantize(b: Builder, integers: ir.Value, activation: Activation) -> ir.Value:
    """The inverse of `quantize`."""
    return b.op("DequantizeLinear", integers, b.const(np.float32(activation.scale), "scale"), zero_point(b))


def on_grid(b: Builder, x: ir.Value, activation: Activation | None) -> ir.Value:
    """A float tensor rounded to its grid, still in float; more than 8 bits without any integer type."""
    if activation is None:
        return x
    if activation.int8:
        return dequantize(b, quantize(b, x, activation), activation)
    scale = b.const(np.float32(activation.scale), "scale")
    low, high = (b.const(np.float32(v), "limit") for v in (activation.qmin, activation.qmax))
    return b.op("Mul", b.op("Clip", b.op("Round", b.op("Div", x, scale)), low, high), scale)


def dequantize_weight(b: Builder, integers: ir.Value, scales: ir.Value, *, axis: int) -> ir.Value:
    """A weight in float; `scales` are (out,) along `axis`."""
    assert scales.shape is not None
    zeros = b.const(np.zeros(scales.shape.numpy(), np.int8), "weight_zero_point")
    return b.op("DequantizeLinear", integers, scales, zeros, axis=axis)


def product(
    b: Builder,
    integers: ir.Value,
    activation: Activation,
    weight: ir.Value,
    scales: ir.Value,
    *,
    bias: ir.Value | None,
) -> ir.Value:
    """uint8 (..., in) times int8 (in, out), in float, with the bias.

    ONNX Runtime makes this operator of Q -> DQ -> MatMul <- DQ(weight) by itself, but leaves the bias in an
    operator of its own, which reads and writes the whole result once more.
    """
    step = b.const(np.float32(activation.scale), "scale")
    return b.op(
        "MatMulIntegerToFloat",
        integers,
        weight,
        step,
        scales,
        zero_point(b),
        None,
        bias,
        domain="com.microsoft",
    )


def array(value: ir.Value) -> NDArray[Any]:
    """The content of an initializer."""
    assert value.const_value is not None
    return value.const_value.numpy()


def overwrite(value: ir.Value, values: NDArray[Any]) -> None:
    """Give an initializer another content of the same shape."""
    value.const_value = ir.tensor(np.ascontiguousarray(values), name=value.name)


def name_of(value: ir.Value) -> str:
    """The name of the node that computes a value."""
    node = value.producer()
    assert node is not None
    assert node.name is not None
    return node.name
