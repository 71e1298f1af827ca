"""The heads of attention: how channels are split into them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["HEADED", "HEADS_FIRST", "sizes", "split_from", "splits"]

HEADS_FIRST = (0, 2, 1, 3)
"""The transpose from (batch, time, heads, channels) to (batch, heads, time, channels), and back."""

HEADED = 4
"""Axes of a value whose channels are split into heads."""


def sizes(value: ir.Value | None) -> tuple[int | str, ...]:
    """The shape with the names of its symbols; nothing where a size is not known."""
    shape = value.shape if value is not None else None
    found = [size if isinstance(size, int) else size.value for size in shape or ()]
    known = tuple(size for size in found if size is not None)
    return known if len(known) == len(found) else ()


def splits(x: ir.Value, heads_first: ir.Value) -> bool:
    """Whether (batch, time, channels) has become (batch, heads, time, channels of a head)."""
    found = sizes(heads_first)
    if len(found) != HEADED or not isinstance(found[1], int) or not isinstance(found[3], int):
        return False
    return sizes(x) == (found[0], found[2], found[1] * found[3])


def split_from(heads_first: ir.Value) -> ir.Value | None:
    """What a value with its heads first was split from by a Reshape [and a Transpose]; None if by neither."""
    node = heads_first.producer()
    if node is not None and node.op_type == "Transpose":
        turned = node.inputs[0] if tuple(node.attributes.get_ints("perm", ())) == HEADS_FIRST else None
        node = turned.producer() if turned is not None else None
    if node is None or node.op_type != "Reshape":
        return None
    x = node.inputs[0]
    return x if x is not None and splits(x, heads_first) else None
