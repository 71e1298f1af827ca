"""The float part of an exported graph in 16 bits, with every conversion written out as a Cast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from speechquant.engines.tensorrt.graph import Graph, read_model

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["to_half"]

# The rest stays in float32: norms and softmax add up many values, quantizers keep exact scales, and integer
# products come out of a kernel that accumulates in 32 bits anyway.
_HALF_NAMES = """
Add Concat Conv Div Erf Expand Gather Gelu Gemm LeakyRelu MatMul Mul Neg Pad Relu Reshape Sigmoid Slice Split
Squeeze Sub Tanh Tile Transpose Unsqueeze Where
"""
_HALF = frozenset(_HALF_NAMES.split())
# Angles and buckets of positions grow with the length of the audio, beyond the 11 bits of a half.
_POSITIONS = frozenset({"Sin", "Cos", "Log", "Range"})
_LARGEST = float(np.finfo(np.float16).max)


def to_half(source: str | Path | Any) -> Any:
    """Convert what may be computed in float16; inputs and outputs stay in float32.

    A deviation from NVIDIA's usual recipe, which converts scales too: a scale below 6e-5 would lose bits.

    Args:
        source: A file or an `onnx.ModelProto` of the TensorRT dialect; not changed.

    Returns:
        An `onnx.ModelProto` with equal node names.
    """
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(read_model(source))
    graph = Graph(model)
    half = _halved(graph)
    _Writer(model, graph, half).write()
    return model


def _halved(graph: Graph) -> set[str]:
    """Names of nodes to compute in float16."""
    full = _ancestors(graph, (node for node in graph.nodes if node.op_type in _POSITIONS))
    for node in graph.nodes:
        integer = any(graph.made_by(name, "DequantizeLinear") is not None for name in node.input)
        bias = node.op_type == "Add" and any(graph.is_constant(name) for name in node.input)
        after = any(name in graph.producers and graph.producers[name].name in full for name in node.input)
        product = any(graph.made_by(name, kind) for name in node.input for kind in ("MatMul", "Conv"))
        if integer or (bias and after and product):
            full.add(node.name)
    floats = (
        node.name
        for node in graph.nodes
        if node.op_type in _HALF and any(graph.types.get(name) == "FLOAT" for name in node.output)
    )
    return {name for name in floats if name not in full}


def _ancestors(graph: Graph, nodes: Iterable[Any]) -> set[str]:
    found: set[str] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node.name not in found:
            found.add(node.name)
            waiting += [graph.producers[name] for name in node.input if name in graph.producers]
    return found


class _Writer:
    """Rewrites the nodes of a model in order, with a Cast wherever a value changes its type."""

    def __init__(self, model: Any, graph: Graph, half: set[str]) -> None:
        self._proto, self._graph, self._half = model.graph, graph, half
        self._outputs = {value.name for value in model.graph.output}
        self._made: dict[tuple[str, bool], str] = {}
        self._in_half: set[str] = set()
        self._nodes: list[Any] = []
        self._tensors: list[Any] = []

    def write(self) -> None:
        """Rewrite the graph in place."""
        from onnx import TensorProto

        for node in tuple(self._proto.node):
            half = node.name in self._half
            for index, name in enumerate(node.input):
                if self._graph.types.get(name) == "FLOAT":
                    node.input[index] = self._as(name, half=half)
            self._nodes.append(node)
            if half:
                self._results(node)
        del self._proto.node[:]
        self._proto.node.extend(self._nodes)
        self._proto.initializer.extend(self._tensors)
        used = {name for node in self._nodes for name in node.input} | self._outputs
        kept = [tensor for tensor in self._proto.initializer if tensor.name in used]
        del self._proto.initializer[:]
        self._proto.initializer.extend(kept)
        for value in self._proto.value_info:
            if value.name in self._in_half:
                value.type.tensor_type.elem_type = TensorProto.FLOAT16

    def _results(self, node: Any) -> None:
        """Note the outputs of a halved node; what leaves the graph is converted back."""
        for index, name in enumerate(node.output):
            if name not in self._outputs:
                self._in_half.add(name)
                continue
            node.output[index] = self._made[name, True] = f"{name}/half"
            self._cast(f"{name}/half", name, half=False)

    def _as(self, name: str, *, half: bool) -> str:
        """The name of a value in the wanted type."""
        if (name in self._in_half) == half:
            return name
        key = (name, half)
        if key not in self._made:
            self._made[key] = f"{name}/{'half' if half else 'float'}"
            if half and self._graph.is_constant(name) and name not in self._graph.producers:
                self._tensors.append(self._halved_tensor(name, self._made[key]))
            else:
                self._cast(name, self._made[key], half=half)
        return self._made[key]

    def _cast(self, name: str, result: str, *, half: bool) -> None:
        from onnx import TensorProto, helper

        to = TensorProto.FLOAT16 if half else TensorProto.FLOAT
        self._nodes.append(helper.make_node("Cast", [name], [result], name=f"{result}/Cast", to=to))

    def _halved_tensor(self, name: str, result: str) -> Any:
        from onnx import numpy_helper

        values = self._graph.constant(name)
        assert values is not None
        finite = np.clip(values, -_LARGEST, _LARGEST)
        return numpy_helper.from_array(
            np.where(np.isfinite(values), finite, values).astype(np.float16), result
        )
