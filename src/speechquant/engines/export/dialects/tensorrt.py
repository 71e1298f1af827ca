"""TensorRT: signed int8 with zero point 0, explicit quantizers, every type spelled out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechquant.engines.export.builder import Builder, constant_of, replace
from speechquant.engines.export.dialects.base import Dialect, Lowered, register
from speechquant.engines.export.dialects.qdq import name_of
from speechquant.engines.export.dialects.signed import (
    constant_weight,
    on_signed_grid,
    stored_rows,
    write_linears,
    write_tied,
)
from speechquant.engines.export.plan import fuse, plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from speechquant.engines.export.locate import Operator
    from speechquant.engines.export.plan import Job
    from speechquant.numerics import ScaleTable

    Shared = dict[int, tuple[ir.Value, ir.Value]]

__all__ = ["TensorRTDialect"]

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
        shared: Shared = {}
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
                node = write_tied(b, job, shared)
            else:
                node = write_linears(b, group)
            lowered.append(Lowered(tuple(j.operator.module for j in group), node, int8=job.integer))
        return tuple(lowered)


def _write_conv(b: Builder, job: Job) -> str:
    """A Conv1d as a Conv with a second axis of length 1. Returns the name of the node that multiplies."""
    operator, attributes = job.operator, job.operator.node.attributes
    extra = b.ints(_EXTRA_AXIS)
    x = on_signed_grid(b, b.op("Unsqueeze", operator.input, extra), job.activation)
    inputs = [x, constant_weight(b, job.values[..., None], job.scale, axis=0)]
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


def _write_embedding(b: Builder, job: Job, shared: Shared) -> None:
    """Look ids up in a table that is dequantized first: TensorRT gathers no integers of 8 bits."""
    rows = stored_rows(b, job, shared)
    replace(job.operator.output, b.op("Gather", rows, job.operator.input, axis=0))
