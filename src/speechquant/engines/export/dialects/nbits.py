"""Weights in groups for ONNX Runtime: MatMulNBits, which multiplies floats by what lies in the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from speechquant.engines.export.builder import replace
from speechquant.engines.export.dialects.groups import biases, deliver, group_scales, joined, write_float_conv
from speechquant.engines.export.dialects.qdq import name_of, on_grid
from speechquant.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir
    from numpy.typing import NDArray

    from speechquant.engines.export.builder import Builder
    from speechquant.engines.export.plan import Job

__all__ = ["pack_blocks", "write_grouped"]

_DOMAIN = "com.microsoft"
_SIZES = (16, 32, 64, 128, 256)
# Other levels quantize the activations as well.
_FLOAT_ACTIVATIONS = 1


def write_grouped(
    b: Builder, group: Sequence[Job], shared: dict[int, tuple[ir.Value, ir.Value]]
) -> str | None:
    """Write operators with weights in groups.

    Linears and embeddings keep their integers; the weight of a convolution becomes float when the file is loaded,
    since the engine has no such convolution and would dequantize anew in every run.

    Args:
        b: Writes the nodes.
        group: Linears that read one value, or one operator of another kind.
        shared: Blocks and scales of tied weights, by `id` of the weight.

    Returns:
        The name of the node that multiplies; None for an embedding, which multiplies nothing.

    Raises:
        EngineError: a group size that ONNX Runtime does not know.
    """
    job = group[0]
    if job.group_size not in _SIZES:
        known = ", ".join(map(str, _SIZES))
        raise EngineError(
            f"{job.operator.module}: ONNX Runtime has no groups of {job.group_size} weights; take one of {known}"
        )
    if job.operator.kind == "conv":
        return write_float_conv(b, job, on_grid(b, job.operator.input, job.activation))
    key = id(job.operator.weight)
    if key not in shared:
        shared[key] = _blocks(b, group)
    if job.operator.kind == "embedding":
        replace(job.operator.output, _rows(b, job, *shared[key]))
        return None
    result = b.op(
        "MatMulNBits",
        on_grid(b, job.operator.input, job.activation),
        *shared[key],
        None,
        None,
        biases(b, group),
        domain=_DOMAIN,
        K=job.values.shape[1],
        N=sum(len(member.values) for member in group),
        bits=job.bits,
        block_size=job.group_size,
        accuracy_level=_FLOAT_ACTIVATIONS,
    )
    node = name_of(result)
    deliver(b, group, result)
    return node


def pack_blocks(values: NDArray[np.int8], size: int, bits: int) -> NDArray[np.uint8]:
    """A weight (out, in) as MatMulNBits has it, (out, groups, size * bits / 8).

    Integers are shifted by half their range, those of 4 bits lie two in a byte with the first in the low half, and
    the last group is filled up with zeros.
    """
    zero = 1 << (bits - 1)
    rows, count = values.shape
    groups = -(-count // size)
    shifted = np.full((rows, groups * size), zero, np.uint8)
    shifted[:, :count] = values.astype(np.int16) + zero
    if bits == 4:  # noqa: PLR2004
        shifted = shifted[:, 0::2] | shifted[:, 1::2] << 4
    return shifted.reshape(rows, groups, -1)


def _blocks(b: Builder, group: Sequence[Job]) -> tuple[ir.Value, ir.Value]:
    job = group[0]
    assert job.group_size is not None
    values, scales = joined(group)
    b.graph.opset_imports.setdefault(_DOMAIN, 1)
    return b.const(pack_blocks(values, job.group_size, job.bits), "weight"), group_scales(b, scales)


def _rows(b: Builder, job: Job, blocks: ir.Value, scales: ir.Value) -> ir.Value:
    """The rows of an embedding (vocabulary, channels) that its input names."""
    vocabulary, channels = job.values.shape
    rows = b.op(
        "GatherBlockQuantized",
        b.op("Reshape", blocks, b.ints(vocabulary, -1)),
        job.operator.input,
        scales,
        domain=_DOMAIN,
        bits=job.bits,
        block_size=job.group_size,
        gather_axis=0,
        quantize_axis=1,
    )
    # The last group of a row is filled up in the file.
    rank = len(job.operator.input.shape or ())
    return b.op("Slice", rows, b.ints(0), b.ints(channels), b.ints(rank))
