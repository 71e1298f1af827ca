"""ONNX Runtime on CPUs: uint8 activations with zero point 128, int8 weights, no output quantizers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from speechquant.engines.export.builder import Builder, replace
from speechquant.engines.export.dialects.base import Dialect, Lowered, register
from speechquant.engines.export.dialects.convolution import write_conv
from speechquant.engines.export.dialects.nbits import write_grouped
from speechquant.engines.export.dialects.qdq import (
    array,
    dequantize_weight,
    name_of,
    on_grid,
    overwrite,
    product,
    quantize,
)
from speechquant.engines.export.multihead import fuse_attention
from speechquant.engines.export.plan import fuse, plan
from speechquant.engines.export.rotary import fuse_rotary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from speechquant.engines.export.locate import Operator
    from speechquant.engines.export.plan import Job
    from speechquant.numerics import ScaleTable

__all__ = ["OnnxRuntimeDialect"]


@register
class OnnxRuntimeDialect(Dialect):
    """MatMulIntegerToFloat, ONNX Runtime's integer product with a float result, as the simulation has it.

    It needs no quantizer behind it, so products keep float accuracy. Integer
    convolutions would need one before the activation function, where ranges are widest; so convolutions
    become MatMuls over gathered windows. Linears that read the same value with the same scale become one
    MatMul.
    """

    name = "onnxruntime"

    def lower(
        self, graph: ir.Graph, operators: Sequence[Operator], table: ScaleTable | None
    ) -> tuple[Lowered, ...]:
        """Rewrite `graph` in place; without a table everything stays in float."""
        jobs = [plan(operator, table) for operator in operators]
        tied = {id(job.operator.weight) for job in jobs if job.operator.kind == "embedding"}
        shared: dict[int, tuple[ir.Value, ir.Value]] = {}
        lowered = []
        for group in fuse(jobs, alone=tied):
            job = group[0]
            b = Builder(graph, job.operator.node, job.operator.module)
            if job.group_size is not None:
                node = write_grouped(b, group, shared)
            elif id(job.operator.weight) in tied:
                node = _write_tied(b, job, shared)
            elif job.operator.kind == "conv":
                node = write_conv(b, job)
            else:
                node = _write_linears(b, group)
            if node is not None:
                modules = tuple(j.operator.module for j in group)
                lowered.append(Lowered(modules, node, job.integer, job.weights_4bit))
        return tuple(lowered)

    def finish(self, model: ir.Model) -> None:
        """Take the operators that ONNX Runtime has beyond the standard."""
        fuse_rotary(model)
        fuse_attention(model)


def _write_linears(b: Builder, group: Sequence[Job]) -> str:
    """Linears that read one value: one MatMul, then Split. Returns the name of the MatMul."""
    job = group[0]
    weight = b.const(np.concatenate([job.values for job in group]).T, "weight")
    scales = [job.scale for job in group if job.scale is not None]
    scale = b.const(np.concatenate(scales), "weight_scale") if scales else None
    biases = [array(j.operator.bias) for j in group if j.operator.bias is not None]
    bias = b.const(np.concatenate(biases), "bias") if biases else None
    result, node = _multiply(b, job, weight, scale, bias)
    parts: tuple[ir.Value, ...] = (result,)
    if len(group) > 1:
        parts = b.multi("Split", result, b.ints(*(len(j.values) for j in group)), outputs=len(group), axis=-1)
    for part, member in zip(parts, group, strict=True):
        replace(member.operator.output, part)
    return node


def _write_tied(b: Builder, job: Job, shared: dict[int, tuple[ir.Value, ir.Value]]) -> str | None:
    """A Linear and an embedding of one weight, written once: integers (channels, vocabulary), or float.

    Returns:
        The name of the MatMul; None for the embedding, which multiplies nothing.
    """
    operator = job.operator
    key = id(operator.weight)
    if job.scale is None:
        overwrite(operator.weight, job.values)
    elif key not in shared:
        shared[key] = b.const(job.values.T, "weight"), b.const(job.scale, "weight_scale")
    if operator.kind == "embedding":
        if key in shared:
            _write_embedding(b, operator, *shared[key])
        return None
    weight, scale = shared.get(key, (None, None))
    if weight is None:
        weight = b.op("Transpose", operator.weight, perm=[1, 0])
    result, node = _multiply(b, job, weight, scale, operator.bias)
    replace(operator.output, result)
    return node


def _multiply(
    b: Builder, job: Job, weight: ir.Value, scale: ir.Value | None, bias: ir.Value | None
) -> tuple[ir.Value, str]:
    """The input of a job times a matrix (in, out). Returns the result and the name of the node that multiplies."""
    if job.integer:
        assert job.activation is not None
        assert scale is not None
        integers = quantize(b, job.operator.input, job.activation)
        result = product(b, integers, job.activation, weight, scale, bias=bias)
        return result, name_of(result)
    right = weight if scale is None else dequantize_weight(b, weight, scale, axis=1)
    result = b.op("MatMul", on_grid(b, job.operator.input, job.activation), right)
    node = name_of(result)
    return (result if bias is None else b.op("Add", result, bias)), node


def _write_embedding(b: Builder, operator: Operator, integers: ir.Value, scales: ir.Value) -> None:
    """Look ids up in a table of integers (channels, vocabulary)."""
    assert operator.input.shape is not None
    rank = len(operator.input.shape)
    columns = b.op("Cast", b.op("Gather", integers, operator.input, axis=1), to=ir.DataType.FLOAT)
    values = b.op("Mul", columns, b.op("Gather", scales, operator.input, axis=0))
    replace(operator.output, b.op("Transpose", values, perm=[*range(1, rank + 1), 0]))
