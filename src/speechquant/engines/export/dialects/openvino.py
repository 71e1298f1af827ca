"""OpenVINO on CPUs: signed int8 in front of the operators that the engine has, nothing behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

from speechquant.engines.export.builder import Builder, replace
from speechquant.engines.export.dialects.base import Dialect, Lowered, register
from speechquant.engines.export.dialects.compressed import look_up, write_grouped
from speechquant.engines.export.dialects.groups import convolve
from speechquant.engines.export.dialects.signed import (
    constant_weight,
    on_signed_grid,
    stored_once,
    write_linears,
    write_tied,
)
from speechquant.engines.export.plan import fuse, plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from speechquant.engines.export.locate import Operator
    from speechquant.engines.export.plan import Job
    from speechquant.numerics import ScaleTable

    Shared = dict[int, tuple[ir.Value, ir.Value]]

__all__ = ["OpenVINODialect"]


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
                x = on_signed_grid(b, job.operator.input, job.activation)
                node = write_grouped(b, group, x, shared)
            elif job.operator.kind == "conv":
                node = _write_conv(b, job)
            elif id(job.operator.weight) in tied:
                node = write_tied(b, job, shared)
            else:
                node = write_linears(b, group)
            modules = tuple(j.operator.module for j in group)
            lowered.append(Lowered(modules, node, job.integer, job.weights_4bit))
        return tuple(lowered)


def _write_conv(b: Builder, job: Job) -> str:
    """The same convolution with quantizers. Returns the name of its node."""
    weight = constant_weight(b, job.values, job.scale, axis=0)
    return convolve(b, job.operator, on_signed_grid(b, job.operator.input, job.activation), weight)


def _write_embedding(b: Builder, job: Job, shared: Shared) -> None:
    """Look ids up in integers (vocabulary, channels)."""
    operator = job.operator
    if job.group_size is not None:
        replace(operator.output, look_up(b, job, shared))
        return
    own = stored_once(b, job, shared)
    if own is None:
        return
    integers, scales = own
    rows = b.op("Cast", b.op("Gather", integers, operator.input, axis=0), to=ir.DataType.FLOAT)
    steps = b.op("Unsqueeze", b.op("Gather", scales, operator.input, axis=0), b.ints(-1))
    replace(operator.output, b.op("Mul", rows, steps))
