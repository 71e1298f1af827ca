"""TensorRT: signed int8 with zero point 0, explicit quantizers, every type spelled out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from speechquant.engines.export.builder import Builder, constant_of, replace
from speechquant.engines.export.dialects.base import Dialect, Lowered, register
from speechquant.engines.export.dialects.qdq import array, dequantize_weight, name_of, on_grid, overwrite
from speechquant.engines.export.plan import fuse, plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir
    from numpy.typing import NDArray

    from speechquant.engines.export.locate import Operator
    from speechquant.engines.export.plan import Job
    from speechquant.numerics import ScaleTable

__all__ = ["TensorRTDialect"]

_FULL = (-128, 127)
# The axis that TensorRT's own parser adds to one-dimensional convolutions.
_EXTRA_AXIS = 3


@register
class TensorRTDialect(Dialect):
    """Q -> DQ in front of every product, DQ behind every constant int8 weight, nothing else quantized.

    The placement is that of NVIDIA's guide, "Working with Quantized Types": quantize all inputs of weighted
    operators, not their outputs, and let TensorRT move the quantizer that follows into the operator before.
    Weights are constants in int8 with one scale per output channel: axis 0 of a Conv, axis 1 of a MatMul.
    Biases stay in float. Convolutions over time are written in two dimensions: the parser would do the same,
    but with a reshape between the weight's DequantizeLinear and the convolution.
    """

    name = "tensorrt"
    transposed = frozenset[str]()

    def lower(
        self, graph: ir.Graph, operators: Sequence[Operator], table: ScaleTable | None
    ) -> tuple[Lowered, ...]:
        """Rewrite `graph` in place; without a table everything stays in float."""
        # Weights in groups are written in float on their grid: TensorRT's own form of them has never been tried.
        jobs = [plan(operator, table, groups=False) for operator in operators]
        tied = {id(job.operator.weight) for job in jobs if job.operator.kind == "embedding"}
        shared: dict[int, tuple[ir.Value, ir.Value]] = {}
        lowered = []
        for group in fuse(jobs, alone=tied):
            job = group[0]
            b = Builder(graph, job.operator.node, job.operator.module)
            if job.operator.kind == "embedding":
                _write_embedding(b, job, shared)
                continue
            if job.operator.kind == "conv":
                node = _write_conv(b, job)
            elif id(job.operator.weight) in tied:
                node = _write_head(b, job, shared)
            else:
                node = _write_linears(b, group)
            lowered.append(Lowered(tuple(j.operator.module for j in group), node, int8=job.integer))
        return tuple(lowered)


def _quantized(b: Builder, x: ir.Value, job: Job) -> ir.Value:
    """An activation on its grid; fewer than 8 bits are clipped in float, for TensorRT clips no integers."""
    activation = job.activation
    if activation is None or not activation.int8:
        return on_grid(b, x, activation)
    scale = b.const(np.float32(activation.scale), "scale")
    zero = b.const(np.int8(0), "zero_point")
    if (activation.qmin, activation.qmax) != _FULL:
        limits = (np.float32(steps * activation.scale) for steps in (activation.qmin, activation.qmax))
        x = b.op("Clip", x, *(b.const(limit, "limit") for limit in limits))
    return b.op("DequantizeLinear", b.op("QuantizeLinear", x, scale, zero), scale, zero)


def _weight(b: Builder, values: NDArray[Any], scale: NDArray[np.float32] | None, axis: int) -> ir.Value:
    """A constant weight, with a DequantizeLinear behind it where it is in int8."""
    weight = b.const(values, "weight")
    return (
        weight if scale is None else dequantize_weight(b, weight, b.const(scale, "weight_scale"), axis=axis)
    )


def _write_conv(b: Builder, job: Job) -> str:
    """A Conv1d as a Conv with a second axis of length 1. Returns the name of the node that multiplies."""
    operator, attributes = job.operator, job.operator.node.attributes
    extra = b.ints(_EXTRA_AXIS)
    x = _quantized(b, b.op("Unsqueeze", operator.input, extra), job)
    inputs = [x, _weight(b, job.values[..., None], job.scale, axis=0)]
    bias = constant_of(operator.bias)
    # torch.onnx writes zeros where a convolution has no bias.
    if bias is not None and bias.any():
        inputs.append(b.const(bias, "bias"))
    before, after = attributes.get_ints("pads", [0, 0]) or (0, 0)
    product = b.op(
        "Conv",
        *inputs,
        auto_pad=attributes.get_string("auto_pad", "NOTSET"),
        strides=[*(attributes.get_ints("strides", [1]) or [1]), 1],
        dilations=[*(attributes.get_ints("dilations", [1]) or [1]), 1],
        pads=[before, 0, after, 0],
        group=attributes.get_int("group", 1),
        kernel_shape=[job.values.shape[2], 1],
    )
    replace(operator.output, b.op("Squeeze", product, extra))
    return name_of(product)


def _write_linears(b: Builder, group: Sequence[Job]) -> str:
    """Linears that read one value: one MatMul, then Split. Returns the name of the MatMul."""
    job = group[0]
    values = np.concatenate([member.values for member in group]).T
    scales = [member.scale for member in group if member.scale is not None]
    weight = _weight(b, values, np.concatenate(scales) if scales else None, axis=1)
    product = b.op("MatMul", _quantized(b, job.operator.input, job), weight)
    node = name_of(product)
    biases = [array(member.operator.bias) for member in group if member.operator.bias is not None]
    if biases:
        product = b.op("Add", product, b.const(np.concatenate(biases), "bias"))
    parts: tuple[ir.Value, ...] = (product,)
    if len(group) > 1:
        sizes = b.ints(*(len(member.values) for member in group))
        parts = b.multi("Split", product, sizes, outputs=len(group), axis=-1)
    for part, member in zip(parts, group, strict=True):
        replace(member.operator.output, part)
    return node


def _tied_weight(b: Builder, job: Job, shared: dict[int, tuple[ir.Value, ir.Value]]) -> ir.Value:
    """The weight of an embedding and of the Linear that shares it, (vocabulary, channels), stored once."""
    weight = job.operator.weight
    if job.scale is None:
        overwrite(weight, job.values)
        return weight
    if id(weight) not in shared:
        shared[id(weight)] = b.const(job.values, "weight"), b.const(job.scale, "weight_scale")
    return dequantize_weight(b, *shared[id(weight)], axis=0)


def _write_head(b: Builder, job: Job, shared: dict[int, tuple[ir.Value, ir.Value]]) -> str:
    """A Linear whose weight is an embedding as well. Returns the name of the MatMul."""
    operator = job.operator
    weight = b.op("Transpose", _tied_weight(b, job, shared), perm=[1, 0])
    product = b.op("MatMul", _quantized(b, operator.input, job), weight)
    node = name_of(product)
    if operator.bias is not None:
        product = b.op("Add", product, operator.bias)
    replace(operator.output, product)
    return node


def _write_embedding(b: Builder, job: Job, shared: dict[int, tuple[ir.Value, ir.Value]]) -> None:
    """Look ids up in a table that is dequantized first: TensorRT gathers no integers of 8 bits."""
    table = _tied_weight(b, job, shared)
    replace(job.operator.output, b.op("Gather", table, job.operator.input, axis=0))
