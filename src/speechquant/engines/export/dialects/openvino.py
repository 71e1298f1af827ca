"""OpenVINO on CPUs: signed int8 in front of the operators that the engine has, nothing behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from speechquant.engines.export.builder import Builder, replace
from speechquant.engines.export.dialects.base import Dialect, Lowered, register
from speechquant.engines.export.dialects.compressed import look_up, write_grouped
from speechquant.engines.export.dialects.qdq import array, dequantize_weight, name_of, on_grid, overwrite
from speechquant.engines.export.plan import fuse, plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from speechquant.engines.export.locate import Operator
    from speechquant.engines.export.plan import Activation, Job
    from speechquant.numerics import ScaleTable

    Shared = dict[int, tuple[ir.Value, ir.Value]]

__all__ = ["OpenVINODialect"]

_FULL = (-128, 127)


@register
class OpenVINODialect(Dialect):
    """Q -> DQ -> Conv or MatMul <- DQ(weight), which OpenVINO's low precision transformations make int8.

    They move the scales behind the product and the quantizer into the operator before it, so convolutions
    stay convolutions, in groups or not, and need no quantizer behind them. Linears that read the same value
    with the same scale become one MatMul.
    """

    name = "openvino"
    # Between Q and DQ a transpose hides that they are a pair; behind both, OpenVINO 2026.4 computes wrong
    # values. It moves the quantizer in front of the transpose by itself.
    transposed = frozenset[str]()

    def lower(
        self, graph: ir.Graph, operators: Sequence[Operator], table: ScaleTable | None
    ) -> tuple[Lowered, ...]:
        """Rewrite `graph` in place; without a table everything stays in float."""
        jobs = [plan(operator, table) for operator in operators]
        tied = {id(job.operator.weight) for job in jobs if job.operator.kind == "embedding"}
        shared: Shared = {}
        lowered = []
        for group in fuse(jobs, alone=tied):
            job = group[0]
            b = Builder(graph, job.operator.node, job.operator.module)
            if job.operator.kind == "embedding":
                _write_embedding(b, job, shared)
                continue
            if job.group_size is not None:
                node = write_grouped(b, group, _input(b, job), shared)
            elif job.operator.kind == "conv":
                node = _write_conv(b, job)
            elif id(job.operator.weight) in tied:
                node = _write_tied(b, job, shared)
            else:
                node = _write_linears(b, group)
            modules = tuple(j.operator.module for j in group)
            lowered.append(Lowered(modules, node, job.integer, job.weights_4bit))
        return tuple(lowered)


def _input(b: Builder, job: Job) -> ir.Value:
    """What the operator reads, on its grid."""
    activation, x = job.activation, job.operator.input
    if activation is None or not activation.int8:
        return on_grid(b, x, activation)
    scale, zero = b.const(np.float32(activation.scale), "scale"), b.const(np.int8(0), "zero_point")
    return b.op(
        "DequantizeLinear", b.op("QuantizeLinear", _limited(b, x, activation), scale, zero), scale, zero
    )


def _limited(b: Builder, x: ir.Value, activation: Activation) -> ir.Value:
    """For fewer than 8 bits, limits in float, so that Q and DQ stay next to each other."""
    if (activation.qmin, activation.qmax) == _FULL:
        return x
    scale = np.float32(activation.scale)
    low, high = (b.const(np.float32(v) * scale, "limit") for v in (activation.qmin, activation.qmax))
    return b.op("Clip", x, low, high)


def _write_conv(b: Builder, job: Job) -> str:
    """The same convolution with quantizers. Returns the name of its node."""
    operator = job.operator
    weight = b.const(job.values, "weight")
    if job.scale is not None:
        weight = dequantize_weight(b, weight, b.const(job.scale, "weight_scale"), axis=0)
    # torch.onnx writes zeros where there is no bias; a later pass would remove them, and the node's name too.
    bias = [operator.bias] if operator.bias is not None and operator.bias.is_initializer() else []
    output = b.op("Conv", _input(b, job), weight, *bias)
    producer = output.producer()
    assert producer is not None
    producer.attributes.update(operator.node.attributes)
    replace(operator.output, output)
    return name_of(output)


def _write_linears(b: Builder, group: Sequence[Job]) -> str:
    """Linears that read one value: one MatMul, then Split. Returns the name of the MatMul."""
    weight = b.const(np.concatenate([job.values for job in group]).T, "weight")
    scales = [job.scale for job in group if job.scale is not None]
    if scales:
        weight = dequantize_weight(b, weight, b.const(np.concatenate(scales), "weight_scale"), axis=1)
    product = b.op("MatMul", _input(b, group[0]), weight)
    node = name_of(product)
    biases = [array(j.operator.bias) for j in group if j.operator.bias is not None]
    if biases:
        product = b.op("Add", product, b.const(np.concatenate(biases), "bias"))
    parts: tuple[ir.Value, ...] = (product,)
    if len(group) > 1:
        sizes = b.ints(*(len(j.values) for j in group))
        parts = b.multi("Split", product, sizes, outputs=len(group), axis=-1)
    for part, member in zip(parts, group, strict=True):
        replace(member.operator.output, part)
    return node


def _write_tied(b: Builder, job: Job, shared: Shared) -> str:
    """A Linear whose weight is an embedding too. Returns the name of its MatMul."""
    operator = job.operator
    own = _once(b, job, shared)
    rows = operator.weight if own is None else dequantize_weight(b, *own, axis=0)
    product = b.op("MatMul", _input(b, job), b.op("Transpose", rows, perm=[1, 0]))
    node = name_of(product)
    if operator.bias is not None:
        product = b.op("Add", product, operator.bias)
    replace(operator.output, product)
    return node


def _write_embedding(b: Builder, job: Job, shared: Shared) -> None:
    """Look ids up in integers (vocabulary, channels)."""
    operator = job.operator
    if job.group_size is not None:
        replace(operator.output, look_up(b, job, shared))
        return
    own = _once(b, job, shared)
    if own is None:
        return
    integers, scales = own
    rows = b.op("Cast", b.op("Gather", integers, operator.input, axis=0), to=ir.DataType.FLOAT)
    steps = b.op("Unsqueeze", b.op("Gather", scales, operator.input, axis=0), b.ints(-1))
    replace(operator.output, b.op("Mul", rows, steps))


def _once(b: Builder, job: Job, shared: Shared) -> tuple[ir.Value, ir.Value] | None:
    """Integers (vocabulary, channels) and scales of a tied weight, written once; None where it is float."""
    key = id(job.operator.weight)
    if job.scale is None:
        overwrite(job.operator.weight, job.values)
    elif key not in shared:
        shared[key] = b.const(job.values, "weight"), b.const(job.scale, "weight_scale")
    return shared.get(key)
