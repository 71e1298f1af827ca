"""Weights with a scale per group, in forms that more than one engine reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from speechquant.engines.export.builder import replace
from speechquant.engines.export.dialects.qdq import array, name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from speechquant.engines.export.builder import Builder
    from speechquant.engines.export.locate import Operator
    from speechquant.engines.export.plan import Job

__all__ = [
    "KEPT",
    "biases",
    "convolve",
    "deliver",
    "expanded",
    "group_scales",
    "integers",
    "joined",
    "kept",
    "write_float_conv",
]

KEPT = "speechquant.kept"
"""Marks nodes that constant folding must leave alone, or the file would hold their large results."""

_TYPES = {4: ir.DataType.INT4, 8: ir.DataType.INT8}


def integers(b: Builder, values: NDArray[np.int8], bits: int) -> ir.Value:
    """A weight of 4 or 8 bits, as large in the file as it says."""
    return b.const(values.astype(_TYPES[bits].numpy()), "weight")


def group_scales(b: Builder, scale: NDArray[np.float32]) -> ir.Value:
    """Scales of any shape in float32, stored in 16 bits where that loses nothing."""
    with np.errstate(over="ignore"):
        half = scale.astype(np.float16)
    if not np.array_equal(half.astype(np.float32), scale):
        return b.const(scale, "weight_scale")
    return kept(b.op("Cast", b.const(half, "weight_scale"), to=ir.DataType.FLOAT))


def expanded(
    b: Builder, values: NDArray[np.int8], scale: NDArray[np.float32], size: int, bits: int
) -> ir.Value:
    """A weight (out, ...) in float, made of its integers by nodes that engines fold when they load the file."""
    rows, groups = scale.shape
    flat = values.reshape(rows, -1)
    surplus = groups * size - flat.shape[1]
    blocks = np.pad(flat, ((0, 0), (0, surplus))).reshape(rows, groups, size)
    weight = kept(b.op("Cast", integers(b, blocks, bits), to=ir.DataType.FLOAT))
    weight = kept(b.op("Mul", weight, group_scales(b, scale[..., None])))
    if surplus:
        weight = kept(b.op("Reshape", weight, b.ints(rows, -1)))
        weight = kept(b.op("Slice", weight, b.ints(0), b.ints(flat.shape[1]), b.ints(1)))
    return kept(b.op("Reshape", weight, b.ints(*values.shape)))


def write_float_conv(b: Builder, job: Job, x: ir.Value) -> str:
    """A convolution of `x` with a weight that is float once loaded. Returns the name of its node."""
    operator = job.operator
    assert job.scale is not None
    assert job.group_size is not None
    weight = expanded(b, job.values, job.scale, job.group_size, job.bits)
    return convolve(b, operator, x, weight)


def convolve(b: Builder, operator: Operator, x: ir.Value, weight: ir.Value) -> str:
    """The convolution of the float graph, of another input and weight. Returns the name of its node."""
    # torch.onnx writes zeros where there is no bias; a later pass would remove them, and the node's name too.
    bias = [operator.bias] if operator.bias is not None and operator.bias.is_initializer() else []
    output = b.op("Conv", x, weight, *bias)
    producer = output.producer()
    assert producer is not None
    producer.attributes.update(operator.node.attributes)
    replace(operator.output, output)
    return name_of(output)


def joined(group: Sequence[Job]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Integers (out, in) and scales (out, groups) of Linears that become one product."""
    values = np.concatenate([job.values for job in group])
    return values, np.concatenate([job.scale for job in group if job.scale is not None])


def biases(b: Builder, group: Sequence[Job]) -> ir.Value | None:
    """The biases of Linears that became one product."""
    found = [array(job.operator.bias) for job in group if job.operator.bias is not None]
    return b.const(np.concatenate(found), "bias") if found else None


def deliver(b: Builder, group: Sequence[Job], result: ir.Value) -> None:
    """Give every Linear of a group its part of their common product."""
    parts: tuple[ir.Value, ...] = (result,)
    if len(group) > 1:
        sizes = b.ints(*(len(job.values) for job in group))
        parts = b.multi("Split", result, sizes, outputs=len(group), axis=-1)
    for part, job in zip(parts, group, strict=True):
        replace(job.operator.output, part)


def kept(value: ir.Value) -> ir.Value:
    """A value whose node constant folding leaves alone."""
    node = value.producer()
    assert node is not None
    node.meta[KEPT] = True
    return value
