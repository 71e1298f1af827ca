"""Let transposes meet and cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

from speechquant.engines.export.builder import Builder, constant_of, replace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

__all__ = ["cancel_transposes", "drop_turns", "simplify_group_norm"]

_ELEMENTWISE = frozenset({"Gelu", "Tanh", "Relu", "Sigmoid", "Erf", "Cast", "Neg", "Sqrt", "Softplus"})


def cancel_transposes(graph: ir.Graph, quantizers: AbstractSet[str]) -> None:
    """Move transposes down through elementwise functions and drop pairs that undo each other.

    Convolutions written channel-last begin and end with a transpose; between two of them, or next to a layer
    norm, both are wasted copies of the largest tensors of the model.

    Args:
        graph: Rewritten in place.
        quantizers: Quantizers of activations, behind which transposes move too; per tensor, without an axis.
    """
    for node in tuple(graph):
        if node.op_type == "Transpose":
            _sink(graph, node, _ELEMENTWISE)
    for node in tuple(graph):
        if node.op_type == "Transpose":
            _cancel(node)
    for node in tuple(graph):
        if node.op_type == "Transpose":
            _sink(graph, node, quantizers)


def drop_turns(graph: ir.Graph) -> None:
    """Write transposes that move no data as the reshapes that they are, together with those beside them.

    A decoder that makes one token at a time turns (batch, 1, heads, channels) into (batch, heads, 1,
    channels) for every query, key, value and result.
    """
    for node in tuple(graph):
        output = node.outputs[0]
        if node.op_type != "Transpose" or output.is_graph_output() or not _moves_nothing(node):
            continue
        source = node.inputs[0]
        assert source is not None
        assert output.shape is not None
        before = source.producer()
        if before is not None and before.op_type == "Reshape":
            source = before.inputs[0]
            assert source is not None
        for user, index in tuple(output.uses()):
            if user.op_type == "Reshape" and index == 0 and 0 not in _sizes(user):
                user.replace_input_with(0, source)
        if not tuple(output.uses()):
            continue
        b = Builder(graph, node, node.name or "turn")
        sizes = [size for size in tuple(output.shape)[1:] if isinstance(size, int)]
        reshaped = b.op("Reshape", source, b.ints(0, *sizes))
        replace(output, reshaped)


def _moves_nothing(node: ir.Node) -> bool:
    """Whether a transpose exchanges the two middle axes of four, one of which has a single element."""
    shape = node.outputs[0].shape
    if shape is None or list(_perm(node)) != [0, 2, 1, 3]:
        return False
    middle = [size for size in tuple(shape)[1:] if isinstance(size, int)]
    return len(middle) == 3 and 1 in middle[:2]  # noqa: PLR2004


def _sizes(reshape: ir.Node) -> list[int]:
    """The sizes that a Reshape asks for; 0 for one that it takes over, or where they are not known."""
    known = constant_of(reshape.inputs[1])
    return [0] if known is None else [int(size) for size in known[1:]]


def simplify_group_norm(graph: ir.Graph) -> None:
    """Write a group norm with one channel per group as InstanceNormalization, which it is.

    Engines have a kernel for the latter and compute the former in half a dozen passes over the data.
    """
    for node in tuple(graph):
        if node.op_type != "GroupNormalization":
            continue
        scale = node.inputs[1]
        if scale is None or scale.shape is None or scale.shape[0] != node.attributes.get_int("num_groups"):
            continue
        epsilon = ir.AttrFloat32("epsilon", node.attributes.get_float("epsilon", 1e-5))
        new = ir.Node("", "InstanceNormalization", node.inputs, [epsilon], name=node.name)
        old, result = node.outputs[0], new.outputs[0]
        result.name, result.shape, result.type = f"{old.name}/instance", old.shape, old.type
        graph.insert_before(node, new)
        ir.convenience.replace_all_uses_with(old, result)


def _sink(graph: ir.Graph, node: ir.Node, through: AbstractSet[str]) -> None:
    """Move one transpose behind the functions of single elements that alone read it."""
    source, output = node.inputs[0], node.outputs[0]
    assert source is not None
    while len(users := tuple(output.uses())) == 1 and not output.is_graph_output():
        user = users[0].node
        if user.op_type not in through or users[0].idx != 0:
            return
        result = user.outputs[0]
        if result.is_graph_output():
            return
        perm = _perm(node)
        user.replace_input_with(0, source)
        moved = ir.Node(
            "", "Transpose", [result], [ir.AttrInt64s("perm", perm)], name=f"{user.name}/Transpose"
        )
        moved.outputs[0].name = f"{result.name}/transposed"
        moved.outputs[0].shape, moved.outputs[0].type = result.shape, result.type
        result.shape = source.shape
        graph.insert_after(user, moved)
        for consumer, index in tuple(result.uses()):
            if consumer is not moved:
                consumer.replace_input_with(index, moved.outputs[0])
        node, source, output = moved, result, moved.outputs[0]


def _cancel(node: ir.Node) -> None:
    """Let readers of a transpose of a transpose read the original, where the two undo each other."""
    before = node.inputs[0].producer() if node.inputs[0] is not None else None
    if before is None or before.op_type != "Transpose" or node.outputs[0].is_graph_output():
        return
    first, second = _perm(before), _perm(node)
    if [first[axis] for axis in second] == list(range(len(first))):
        original = before.inputs[0]
        assert original is not None
        ir.convenience.replace_all_uses_with(node.outputs[0], original)


def _perm(node: ir.Node) -> Sequence[int]:
    perm = node.attributes.get_ints("perm")
    assert perm is not None
    return perm
