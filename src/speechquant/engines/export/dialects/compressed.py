"""Weights in groups for OpenVINO: a blocked DequantizeLinear, which the plugin multiplies by without expanding it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from speechquant.engines.export.dialects.groups import (
    biases,
    deliver,
    expanded,
    group_scales,
    integers,
    joined,
    kept,
    write_float_conv,
)
from speechquant.engines.export.dialects.qdq import name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from speechquant.engines.export.builder import Builder
    from speechquant.engines.export.plan import Job

    Shared = dict[int, tuple[ir.Value, ir.Value]]

__all__ = ["look_up", "write_grouped"]

# Below this the plugin expands the weight anyway.
_SMALLEST = 16


def write_grouped(b: Builder, group: Sequence[Job], x: ir.Value, shared: Shared) -> str:
    """Write Linears that read one value, or one convolution, with weights in groups.

    The weight of a convolution becomes float when the file is loaded, as the plugin has no such convolution.

    Args:
        b: Writes the nodes.
        group: What is written.
        x: Their input, on its grid.
        shared: Integers and scales of tied weights, by `id` of the weight.

    Returns:
        The name of the node that multiplies.
    """
    job = group[0]
    if job.operator.kind == "conv":
        return write_float_conv(b, job, x)
    result = b.op("MatMul", x, b.op("Transpose", _weight(b, group, shared), perm=[1, 0]))
    node = name_of(result)
    bias = biases(b, group)
    if bias is not None:
        # The plugin drops the names of the product and of its weight, and keeps that of the sum.
        result = b.op("Add", result, bias, name=f"{node.rpartition('/')[2]}/biased")
    deliver(b, group, result)
    return node


def look_up(b: Builder, job: Job, shared: Shared) -> ir.Value:
    """The rows of an embedding (vocabulary, channels) that its input names.

    Integers are gathered and then dequantized: where a dequantized weight has two readers the plugin expands it.
    They become 8 bits wide when the file is loaded: gathering those of 4 bits gives wrong values (2026.4).
    """
    channels, block = job.values.shape[1], _block(job)
    stored, scales = _stored(b, [job], shared)
    ids = job.operator.input
    table = kept(b.op("Cast", stored, to=ir.DataType.INT8))
    rows = b.op("Cast", b.op("Gather", table, ids, axis=0), to=ir.DataType.FLOAT)
    blocks = b.op("Reshape", rows, b.ints(*(0 for _ in ids.shape or ()), -1, block))
    steps = b.op("Unsqueeze", b.op("Gather", scales, ids, axis=0), b.ints(-1))
    values = b.op("Mul", blocks, steps)
    return b.op("Reshape", values, b.ints(*(0 for _ in ids.shape or ()), channels))


def _weight(b: Builder, group: Sequence[Job], shared: Shared) -> ir.Value:
    """(out, in) in float."""
    job, block = group[0], _block(group[0])
    if block < _SMALLEST:
        assert job.group_size is not None
        return expanded(b, *joined(group), job.group_size, job.bits)
    return b.op("DequantizeLinear", *_stored(b, group, shared), axis=1, block_size=block)


def _stored(b: Builder, group: Sequence[Job], shared: Shared) -> tuple[ir.Value, ir.Value]:
    """Integers (out, in) and scales (out, blocks), written once for all that share the weight."""
    job, block = group[0], _block(group[0])
    key = id(job.operator.weight)
    if key not in shared:
        assert job.group_size is not None
        values, scales = joined(group)
        each = np.repeat(scales, job.group_size // block, axis=1)[:, : values.shape[1] // block]
        shared[key] = integers(b, values, job.bits), group_scales(b, each)
    return shared[key]


def _block(job: Job) -> int:
    """OpenVINO takes whole blocks only: the largest that divides both the group and the channel."""
    assert job.group_size is not None
    return math.gcd(job.group_size, job.values.shape[1])
