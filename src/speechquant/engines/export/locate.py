"""Find the operators of a model in its traced graph, through the parameters that they read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import onnx_ir as ir

__all__ = ["Kind", "Operator", "locate"]

Kind = Literal["linear", "conv", "embedding"]


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """One Linear, Conv1d or embedding lookup in a graph.

    `modules` are the dotted paths of the modules that own the weight, more than one where it is tied; the
    first is the operator's own. `node` reads `input`; `output` is what the rest of the graph sees, after the
    bias.
    The weight has PyTorch's layout: (out, in), (out, in / groups, kernel), or (vocabulary, channels).
    """

    kind: Kind
    modules: tuple[str, ...]
    node: ir.Node
    input: ir.Value
    weight: ir.Value
    bias: ir.Value | None
    output: ir.Value

    @property
    def module(self) -> str:
        """The dotted path of the operator itself."""
        return self.modules[0]


def locate(graph: ir.Graph, owners: Mapping[str, tuple[tuple[Kind, str], ...]]) -> list[Operator]:
    """All weight-bearing operators, in the order of the graph.

    Args:
        graph: As torch.onnx wrote it, not optimised: a Linear is MatMul(x, Transpose(weight)) [+ Add(bias)].
        owners: Initializer name -> kind and dotted path of every module whose `weight` it is.

    Returns:
        One entry per use: a module that is called twice is there twice.
    """
    found = []
    for node in graph:
        for kind, value, weight in _candidates(node):
            mine = [path for owner, path in owners.get(weight.name or "", ()) if owner == kind]
            if mine:
                others = [path for _, path in owners[weight.name or ""] if path != mine[0]]
                found.append(_operator(kind, (mine[0], *others), node, value, weight))
    return found


def _candidates(node: ir.Node) -> Iterator[tuple[Kind, ir.Value, ir.Value]]:
    """What a node would be if its weight belonged to a module: kind, input, weight."""
    inputs = node.inputs
    if node.op_type == "MatMul" and inputs[0] is not None and inputs[1] is not None:
        turn = inputs[1].producer()
        if turn is not None and turn.op_type == "Transpose" and turn.inputs[0] is not None:
            yield "linear", inputs[0], turn.inputs[0]
    elif node.op_type == "Gemm" and node.attributes.get_int("transB") and inputs[0] and inputs[1]:
        yield "linear", inputs[0], inputs[1]
    elif node.op_type == "Conv" and inputs[0] is not None and inputs[1] is not None:
        yield "conv", inputs[0], inputs[1]
    elif node.op_type == "Gather" and inputs[0] is not None and inputs[1] is not None:
        yield "embedding", inputs[1], inputs[0]


def _operator(
    kind: Kind, modules: tuple[str, ...], node: ir.Node, value: ir.Value, weight: ir.Value
) -> Operator:
    output = node.outputs[0]
    bias = node.inputs[2] if node.op_type in {"Conv", "Gemm"} and len(node.inputs) > 2 else None  # noqa: PLR2004
    users = tuple(output.uses())
    if node.op_type == "MatMul" and len(users) == 1:
        add = users[0].node
        other = add.inputs[1 - users[0].idx] if add.op_type == "Add" else None
        if other is not None and other.is_initializer() and other.shape is not None and len(other.shape) == 1:
            output, bias = add.outputs[0], other
    return Operator(kind, modules, node, value, weight, bias, output)
