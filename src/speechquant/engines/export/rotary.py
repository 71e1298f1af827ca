"""Rotary position embedding as one operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnxscript.rewriter import pattern

from speechquant.engines.export.builder import constant_of
from speechquant.engines.export.heads import HEADS_FIRST, split_from

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["fuse_rotary"]

_LAST_AXIS = 3


def fuse_rotary(model: ir.Model) -> int:
    """Write rotary embeddings of neighbouring channels as ONNX Runtime's RotaryEmbedding.

    PyTorch spells them out in 13 operators for each query and key. In a decoder that makes one token at a
    time these cost more than the products.

    Args:
        model: Rewritten in place. Queries and keys are (batch, heads, time, channels), the first channels are
            rotated in pairs, the rest is kept.

    Returns:
        How many were found.
    """
    rule = pattern.RewriteRule(_spelled_out, _fused, _fits)
    return int(rule.apply_to_model(model))


def _spelled_out(op: Any, x: ir.Value, cos: ir.Value, sin: ir.Value) -> Any:
    """(x[0::2], x[1::2]) -> (x[0::2] cos - x[1::2] sin, x[1::2] cos + x[0::2] sin), interleaved again."""
    rotated = op.Slice(x, _allow_other_inputs=True, _outputs=["rotated"])
    kept = op.Slice(x, _allow_other_inputs=True, _outputs=["kept"])
    even = op.Slice(rotated, _allow_other_inputs=True, _outputs=["even"])
    odd = op.Slice(rotated, _allow_other_inputs=True, _outputs=["odd"])
    real = op.Unsqueeze(op.Sub(op.Mul(even, cos), op.Mul(odd, sin)), pattern.ANY_VALUE)
    imaginary = op.Unsqueeze(op.Add(op.Mul(odd, cos), op.Mul(even, sin)), pattern.ANY_VALUE)
    pairs = op.Concat(real, imaginary, axis=-1)
    return op.Concat(op.Reshape(pairs, pattern.ANY_VALUE), kept, axis=-1)


def _fused(op: Any, x: ir.Value, cos: ir.Value, sin: ir.Value, rotated: ir.Value, **_: Any) -> Any:
    """In front of the split into heads where there is one, so that attention may take it over."""
    assert x.shape is not None
    settings = {"interleaved": 1, "num_heads": x.shape[1], "rotary_embedding_dim": _end(rotated)}
    first = op.Constant(value_ints=[0])
    joined = split_from(x)
    whole = x if joined is None else joined
    result = op.RotaryEmbedding(whole, first, cos, sin, **settings, _domain="com.microsoft", _version=1)
    if joined is None:
        return result
    result.shape, result.type = joined.shape, joined.type
    if x.shape[2] == 1:
        return op.Reshape(result, op.Constant(value_ints=[0, x.shape[1], 1, x.shape[3]]))
    split = op.Reshape(result, op.Constant(value_ints=[0, 0, x.shape[1], x.shape[3]]))
    return op.Transpose(split, perm=HEADS_FIRST)


def _fits(_context: Any, x: ir.Value, **found: ir.Value) -> bool:
    """Whether the slices take what the operator takes, and there is one row of cosines per frame."""
    shape, width = x.shape, _end(found["rotated"])
    if shape is None or len(shape) != _LAST_AXIS + 1 or not isinstance(shape[1], int) or width is None:
        return False
    channels = shape[_LAST_AXIS]
    if not isinstance(channels, int):
        return False
    tables = [found[name].shape for name in ("cos", "sin")]
    return (
        _takes(found["rotated"], 0, width, 1)
        and _takes(found["kept"], width, channels, 1)
        and _takes(found["even"], 0, width, 2)
        and _takes(found["odd"], 1, width, 2)
        and all(table is not None and len(table) == 2 for table in tables)  # noqa: PLR2004
    )


def _end(value: ir.Value) -> int | None:
    node = value.producer()
    end = constant_of(node.inputs[2]) if node is not None else None
    return None if end is None or end.size != 1 else int(end.reshape(()))


def _takes(value: ir.Value, start: int, end: int, step: int) -> bool:
    """Whether a value is a slice of the last axis from `start` to `end` (or beyond) in steps."""
    node = value.producer()
    assert node is not None
    found = [constant_of(item) for item in node.inputs[1:]]
    if len(found) != 4 or any(item is None or np.size(item) != 1 for item in found):  # noqa: PLR2004
        return False
    first, last, axis, stride = (int(np.reshape(item, ())) for item in found if item is not None)
    return (first, stride) == (start, step) and axis in {-1, _LAST_AXIS} and (last == end or last > 2**30)
