"""Convolutions for ONNX Runtime: products of 8-bit windows, or float where 8 bits are not asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from speechquant.engines.export.builder import replace
from speechquant.engines.export.dialects.norm import fold_norm, norm_behind
from speechquant.engines.export.dialects.qdq import (
    dequantize_weight,
    name_of,
    on_grid,
    product,
    quantize,
    zero_point,
)
from speechquant.engines.export.windows import gather_windows, window_frames

if TYPE_CHECKING:
    from speechquant.engines.export.builder import Builder
    from speechquant.engines.export.locate import Operator
    from speechquant.engines.export.plan import Job

__all__ = ["write_conv"]

# With fewer channels than this, a copy of one frame costs more than what it copies.
_FEW_CHANNELS = 16
# Output frames of a grouped convolution computed at once: fewer copies against a larger weight.
_BLOCK = 2


@dataclass(frozen=True, slots=True)
class _Shape:
    """The geometry of a Conv1d; `pads` are (before, after) in frames."""

    stride: int
    pads: tuple[int, int]
    groups: int


def write_conv(b: Builder, job: Job) -> str:
    """Replace a Conv node. Returns the name of the node that multiplies."""
    shape = _shape(job.operator)
    if not job.integer or shape is None:
        return _float(b, job)
    return _ordinary(b, job, shape) if shape.groups == 1 else _grouped(b, job, shape)


def _shape(operator: Operator) -> _Shape | None:
    """None for what has no integer form here: dilation, padding that depends on the length."""
    attributes = operator.node.attributes
    if attributes.get_string("auto_pad", "NOTSET") != "NOTSET" or set(
        attributes.get_ints("dilations", [1])
    ) != {1}:
        return None
    (stride,), pads = attributes.get_ints("strides", [1]), attributes.get_ints("pads", [0, 0])
    assert pads is not None
    return _Shape(stride, (pads[0], pads[1]), attributes.get_int("group", 1))


def _float(b: Builder, job: Job) -> str:
    """The same convolution in float, on grids where the table has some."""
    node, operator = job.operator.node, job.operator
    weight = b.const(job.values, "weight")
    if job.scale is not None:
        weight = dequantize_weight(b, weight, b.const(job.scale, "weight_scale"), axis=0)
    inputs = [on_grid(b, operator.input, job.activation), weight, *node.inputs[2:]]
    output = b.op("Conv", *inputs)
    producer = output.producer()
    assert producer is not None
    producer.attributes.update(node.attributes)
    replace(operator.output, output)
    return name_of(output)


def _ordinary(b: Builder, job: Job, shape: _Shape) -> str:
    """A convolution over all channels."""
    assert job.activation is not None
    assert job.scale is not None
    out, channels, kernel = job.values.shape
    unit = shape.stride if channels < _FEW_CHANNELS else 1
    windows = gather_windows(
        b,
        _channel_last(b, job),
        axis=1,
        kernel=kernel,
        stride=shape.stride,
        unit=unit,
        channels=channels,
        pads=shape.pads,
        fill=zero_point(b),
    )
    matrix = job.values.transpose(2, 1, 0).reshape(kernel * channels, out)
    extra = (window_frames(kernel, unit) - kernel) * channels
    weight = b.const(np.pad(matrix, ((0, extra), (0, 0))), "weight")
    scale = b.const(job.scale, "weight_scale")
    output, bias = job.operator.output, _bias(job)
    if norm := norm_behind(job.operator, weight):
        # A constant added to a channel has no effect on what its norm makes of it.
        scale, bias = fold_norm(b, windows, job.activation, weight, scale, norm=norm)
        output = norm.outputs[0]
    result = product(b, windows, job.activation, weight, scale, bias=bias)
    replace(output, b.op("Transpose", result, perm=[0, 2, 1]))
    return name_of(result)


def _grouped(b: Builder, job: Job, shape: _Shape) -> str:
    """A convolution in groups: one batched integer product, several output frames at a time."""
    assert job.activation is not None
    assert job.scale is not None
    out, channels, kernel = job.values.shape
    size = out // shape.groups
    step = _BLOCK * shape.stride
    grouped = b.op("Reshape", _channel_last(b, job), b.ints(0, 0, shape.groups, channels))
    windows = gather_windows(
        b,
        b.op("Transpose", grouped, perm=[0, 2, 1, 3]),
        axis=2,
        kernel=kernel + step - shape.stride,
        stride=step,
        unit=step,
        channels=channels,
        # The last block may be incomplete: its surplus frames see padding and are cut off below.
        pads=(shape.pads[0], shape.pads[1] + step - shape.stride),
        fill=zero_point(b),
    )
    weight = _block_weight(b, job, shape)
    integers = b.op("MatMulInteger", windows, weight, zero_point(b), b.const(np.int8(0), "weight_zero_point"))
    steps = np.float32(job.activation.scale) * job.scale.reshape(shape.groups, 1, size)
    scales = b.const(np.tile(steps, (1, 1, _BLOCK)), "product_scale")
    values = b.op("Mul", b.op("Cast", integers, to=ir.DataType.FLOAT), scales)
    values = b.op("Reshape", values, b.ints(0, 0, 0, _BLOCK, size))
    values = b.op("Reshape", b.op("Transpose", values, perm=[0, 2, 3, 1, 4]), b.ints(0, -1, out))
    surplus = b.op("Add", b.op("Shape", job.operator.input, start=2, end=3), b.ints(sum(shape.pads) - kernel))
    frames = b.op("Add", b.op("Div", surplus, b.ints(shape.stride)), b.ints(1))
    values = b.op("Slice", values, b.ints(0), frames, b.ints(1))
    bias = _bias(job)
    values = values if bias is None else b.op("Add", values, bias)
    replace(job.operator.output, b.op("Transpose", values, perm=[0, 2, 1]))
    return name_of(integers)


def _block_weight(b: Builder, job: Job, shape: _Shape) -> ir.Value:
    """One shifted copy of the kernel per frame of a block.

    Of shape (groups, window frames * channels, _BLOCK * out / groups). Made by nodes that the engine folds
    when it loads the file, so that the file has the kernel once.
    """
    out, channels, kernel = job.values.shape
    size, step = out // shape.groups, _BLOCK * shape.stride
    frames = window_frames(kernel + step - shape.stride, step)
    compact = job.values.reshape(shape.groups, size, channels, kernel).transpose(0, 3, 2, 1)
    once = b.const(compact.reshape(shape.groups, kernel * channels, size), "weight")
    zero = b.const(np.int8(0), "weight_zero_point")
    copies = []
    for index in range(_BLOCK):
        before = index * shape.stride
        after = frames - kernel - before
        copies.append(b.op("Pad", once, b.ints(0, before * channels, 0, 0, after * channels, 0), zero))
    return b.op("Concat", *copies, axis=2, name="block_weight")


def _channel_last(b: Builder, job: Job) -> ir.Value:
    """The input as uint8, (batch, time, channels)."""
    assert job.activation is not None
    return quantize(b, b.op("Transpose", job.operator.input, perm=[0, 2, 1]), job.activation)


def _bias(job: Job) -> ir.Value | None:
    """The bias; None where there is none, for which torch.onnx writes a node that makes zeros."""
    bias = job.operator.bias
    return bias if bias is not None and bias.is_initializer() else None
