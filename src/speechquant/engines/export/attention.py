"""Remove from exported attention what has no effect on its result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from speechquant.engines.export.builder import constant_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["simplify_attention"]


def simplify_attention(graph: ir.Graph) -> None:
    """Apply all rules of this module to a graph.

    torch.onnx writes scaled dot product attention for every shape and mask that there could be: it flattens
    the heads to turn the keys over, looks for rows in which everything is masked, and adds masks that mask
    nothing.
    """
    rules: dict[str, Callable[[ir.Node], ir.Value | None]] = {
        "Reshape": _turned_keys,
        "Where": _unguarded,
        "Add": _unmasked,
    }
    for node in tuple(graph):
        rule = rules.get(node.op_type)
        simpler = rule(node) if rule is not None else None
        if simpler is None:
            continue
        producer = simpler.producer()
        if producer is not None and producer.graph is None:
            graph.insert_before(node, producer)
        ir.convenience.replace_all_uses_with(node.outputs[0], simpler)


def _turned_keys(node: ir.Node) -> ir.Value | None:
    """Reshape(Transpose(Reshape(x))) that swaps the last two of four axes, as one Transpose."""
    turn = _made_by(node.inputs[0], "Transpose")
    flat = _made_by(turn.inputs[0], "Reshape") if turn is not None else None
    if turn is None or flat is None or list(turn.attributes.get_ints("perm", [])) != [0, 2, 1]:
        return None
    x = flat.inputs[0]
    before, after = _made_by(flat.inputs[1], "Concat"), _made_by(node.inputs[1], "Concat")
    if x is None or x.shape is None or len(x.shape) != 4 or before is None or after is None:  # noqa: PLR2004
        return None
    batch = _made_by(after.inputs[0], "Slice")
    leading = _made_by(batch.inputs[0], "Shape") if batch is not None else None
    if leading is None or leading.inputs[0] is not x or len(before.inputs) != 3 or len(after.inputs) != 3:  # noqa: PLR2004
        return None
    if tuple(before.inputs[1:]) != tuple(reversed(after.inputs[1:])):
        return None
    new = ir.Node("", "Transpose", [x], [ir.AttrInt64s("perm", [0, 1, 3, 2])], name=f"{node.name}/keys")
    new.outputs[0].name = f"{node.outputs[0].name}/keys"
    new.outputs[0].shape, new.outputs[0].type = node.outputs[0].shape, node.outputs[0].type
    return new.outputs[0]


def _unguarded(node: ir.Node) -> ir.Value | None:
    """Where(IsNaN(p), 0, p) of a softmax p, NaN only where a row is masked throughout: none is here."""
    guard = _made_by(node.inputs[0], "IsNaN")
    p = node.inputs[2]
    return p if guard is not None and guard.inputs[0] is p and _made_by(p, "Softmax") is not None else None


def _unmasked(node: ir.Node) -> ir.Value | None:
    """Scores + Where(always true, 0, anything), where the condition says that positions are not negative."""
    for scores, mask in ((node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])):
        where = _made_by(mask, "Where")
        if where is not None and _zero(where.inputs[1]) and _never_negative(where.inputs[0]):
            return scores
    return None


def _never_negative(condition: ir.Value | None) -> bool:
    """Whether a condition is GreaterOrEqual(0, 1, 2 ..., 0), reshaped in any way."""
    node = condition.producer() if condition is not None else None
    while node is not None and node.op_type in {"Expand", "Unsqueeze"}:
        node = node.inputs[0].producer() if node.inputs[0] is not None else None
    if node is None or node.op_type != "GreaterOrEqual" or not _zero(node.inputs[1]):
        return False
    source = node.inputs[0].producer() if node.inputs[0] is not None else None
    while source is not None and source.op_type in {"Unsqueeze", "Slice", "Cast"}:
        source = source.inputs[0].producer() if source.inputs[0] is not None else None
    return source is not None and source.op_type == "Range" and _zero(source.inputs[0])


def _zero(value: ir.Value | None) -> bool:
    array = constant_of(value)
    return array is not None and not np.any(array)


def _made_by(value: ir.Value | None, op_type: str) -> ir.Node | None:
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == op_type else None
