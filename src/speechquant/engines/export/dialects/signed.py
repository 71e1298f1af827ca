"""What engines with signed integers share: Q next to DQ around zero point 0, int8 weights behind a DQ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from speechquant.engines.export.builder import replace
from speechquant.engines.export.dialects.groups import biases, deliver
from speechquant.engines.export.dialects.qdq import dequantize_weight, name_of, on_grid, overwrite

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir
    from numpy.typing import NDArray

    from speechquant.engines.export.builder import Builder
    from speechquant.engines.export.plan import Activation, Job

    Shared = dict[int, tuple[ir.Value, ir.Value]]

__all__ = ["constant_weight", "on_signed_grid", "stored_once", "stored_rows", "write_linears", "write_tied"]

_FULL = (-128, 127)


def on_signed_grid(b: Builder, x: ir.Value, activation: Activation | None) -> ir.Value:
    """A float tensor rounded to its grid, still in float; up to 8 bits by a pair of quantizers.

    Fewer than 8 bits are limited in float, so that Q and DQ stay next to each other, as both engines ask.
    """
    if activation is None or not activation.int8:
        return on_grid(b, x, activation)
    step = np.float32(activation.scale)
    scale, zero = b.const(step, "scale"), b.const(np.int8(0), "zero_point")
    if (activation.qmin, activation.qmax) != _FULL:
        limits = (np.float32(v) * step for v in (activation.qmin, activation.qmax))
        x = b.op("Clip", x, *(b.const(limit, "limit") for limit in limits))
    return b.op("DequantizeLinear", b.op("QuantizeLinear", x, scale, zero), scale, zero)


def constant_weight(
    b: Builder, values: NDArray[Any], scale: NDArray[np.float32] | None, *, axis: int
) -> ir.Value:
    """A constant weight, with a DequantizeLinear behind it where it is in integers; scales lie along `axis`."""
    weight = b.const(values, "weight")
    if scale is None:
        return weight
    return dequantize_weight(b, weight, b.const(scale, "weight_scale"), axis=axis)


def write_linears(b: Builder, group: Sequence[Job]) -> str:
    """Linears that read one value: one MatMul, then Split. Returns the name of the MatMul."""
    job = group[0]
    scales = [member.scale for member in group if member.scale is not None]
    values = np.concatenate([member.values for member in group]).T
    weight = constant_weight(b, values, np.concatenate(scales) if scales else None, axis=1)
    product = b.op("MatMul", on_signed_grid(b, job.operator.input, job.activation), weight)
    node = name_of(product)
    bias = biases(b, group)
    deliver(b, group, product if bias is None else b.op("Add", product, bias))
    return node


def write_tied(b: Builder, job: Job, shared: Shared) -> str:
    """A Linear whose weight is an embedding too. Returns the name of its MatMul."""
    operator = job.operator
    rows = stored_rows(b, job, shared)
    x = on_signed_grid(b, operator.input, job.activation)
    product = b.op("MatMul", x, b.op("Transpose", rows, perm=[1, 0]))
    node = name_of(product)
    replace(operator.output, product if operator.bias is None else b.op("Add", product, operator.bias))
    return node


def stored_rows(b: Builder, job: Job, shared: Shared) -> ir.Value:
    """A tied weight (vocabulary, channels) in float, made of what `stored_once` has written."""
    own = stored_once(b, job, shared)
    return job.operator.weight if own is None else dequantize_weight(b, *own, axis=0)


def stored_once(b: Builder, job: Job, shared: Shared) -> tuple[ir.Value, ir.Value] | None:
    """Integers (vocabulary, channels) and scales of a tied weight, written once; None where it is float.

    Args:
        b: Writes the constants.
        job: The embedding, or the Linear that has its weight.
        shared: What was written, by `id` of the weight.
    """
    key = id(job.operator.weight)
    if job.scale is None:
        overwrite(job.operator.weight, job.values)
    elif key not in shared:
        shared[key] = b.const(job.values, "weight"), b.const(job.scale, "weight_scale")
    return shared.get(key)
