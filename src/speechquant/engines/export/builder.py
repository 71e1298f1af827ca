"""A small writer of ONNX nodes in the middle of an existing graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Builder", "constant_of", "replace"]


class Builder:
    """Writes nodes in front of `anchor`, named after `prefix` so that an engine's graph can be read back."""

    def __init__(self, graph: ir.Graph, anchor: ir.Node, prefix: str) -> None:
        self.graph = graph
        self.anchor = anchor
        self.prefix = prefix

    def op(
        self, op_type: str, *inputs: ir.Value | None, name: str = "", domain: str = "", **attributes: Any
    ) -> ir.Value:
        """One node with one output; `name` makes its name memorable, otherwise it gets a number."""
        return self.multi(op_type, *inputs, outputs=1, name=name, domain=domain, **attributes)[0]

    def multi(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        outputs: int,
        name: str = "",
        domain: str = "",
        **attributes: Any,
    ) -> tuple[ir.Value, ...]:
        """One node with several outputs."""
        unique = self._unique(name or op_type)
        if domain:
            self.graph.opset_imports.setdefault(domain, 1)
        node = ir.Node(
            domain,
            op_type,
            inputs,
            ir.convenience.convert_attributes(attributes),
            num_outputs=outputs,
            name=unique,
        )
        for index, value in enumerate(node.outputs):
            value.name = unique if outputs == 1 else f"{unique}.{index}"
        self.graph.insert_before(self.anchor, node)
        return tuple(node.outputs)

    def const(self, array: NDArray[Any] | np.generic, name: str) -> ir.Value:
        """An initializer. Equal small constants are merged by a later pass."""
        unique = self._unique(name)
        tensor = ir.tensor(np.ascontiguousarray(array) if np.ndim(array) else np.asarray(array), name=unique)
        shape = ir.Shape(np.shape(array))
        value = ir.Value(name=unique, shape=shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
        self.graph.register_initializer(value)
        return value

    def ints(self, *numbers: int) -> ir.Value:
        """An int64 vector."""
        return self.const(np.array(numbers, np.int64), "ints")

    def _unique(self, name: str) -> str:
        """A name that no other node, value or initializer of the graph has; numbers make it so."""
        taken: dict[str, int] = self.graph.meta.setdefault("speechquant.names", {})
        full = f"{self.prefix}/{name}"
        taken[full] = taken.get(full, 0) + 1
        return full if taken[full] == 1 else f"{full}_{taken[full]}"


def constant_of(value: ir.Value | None) -> NDArray[Any] | None:
    """The array behind an initializer or a Constant node, None for anything else."""
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return None if tensor is None else tensor.numpy()


def replace(old: ir.Value, new: ir.Value) -> None:
    """Let every consumer of `old` read `new`; graph outputs keep the name of `old`."""
    if old.is_graph_output():
        new.name, old.name = old.name, f"{old.name}/old"
        if new.producer() is None:  # pragma: no cover - lowered operators always end in a node
            raise AssertionError
    if new.shape is None:
        new.shape = old.shape
    if new.type is None:
        new.type = old.type
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
