"""Read back which operators multiply 8-bit integers: asked of a graph, or of an engine by its inspector."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from speechquant.engines.coverage import Reading, register_reader
from speechquant.engines.tensorrt.graph import Graph, read_model
from speechquant.engines.tensorrt.libraries import import_tensorrt
from speechquant.engines.tensorrt.session import load_engine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["integer_layers", "integer_nodes"]

_ONNX_LAYER = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
# Version 10 writes format and type in one field, version 11 in two.
_TYPE_FIELDS = ("Format/Datatype", "Datatype", "DataType")


@register_reader("tensorrt")
def read_nodes(path: Path, nodes: Sequence[str]) -> Reading:
    """What becomes of `nodes`; nothing is written in 4 bits for TensorRT."""
    return Reading(frozenset(integer_nodes(path, nodes)))


def integer_nodes(path: Path, nodes: Sequence[str]) -> set[str]:
    """Those of `nodes` that run in 8-bit integers.

    A graph (`.onnx`) is taken at its word: both operands of a product come out of a DequantizeLinear. An engine
    (`.plan`) is asked what it made of them, which needs TensorRT and the GPU.
    """
    if path.suffix == ".onnx":
        graph = Graph(read_model(path))
        return {node.name for node in graph.nodes if _quantized(graph, node)} & set(nodes)
    trt = import_tensorrt()
    engine, _runtime, _logger = load_engine(path)
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    return integer_layers(text) & set(nodes)


def integer_layers(text: str) -> set[str]:
    """Names of the ONNX nodes in layers that read 8-bit integers, from the inspector's JSON."""
    layers = json.loads(text).get("Layers", [])
    found: set[str] = set()
    for layer in layers:
        # An engine built without detailed verbosity has plain names here.
        if isinstance(layer, dict) and any(_is_int8(tensor) for tensor in layer.get("Inputs", [])):
            found.update(_ONNX_LAYER.findall(layer.get("Metadata", "")))
    return found


def _is_int8(tensor: dict[str, Any]) -> bool:
    return any("int8" in str(tensor.get(field, "")).lower() for field in _TYPE_FIELDS)


def _quantized(graph: Graph, node: Any) -> bool:
    """Whether both factors of a product are dequantized."""
    if node.op_type not in {"Conv", "MatMul", "Gemm"}:
        return False
    for name in node.input[:2]:
        turn = graph.made_by(name, "Transpose")
        source = name if turn is None else turn.input[0]
        if graph.made_by(source, "DequantizeLinear") is None:
            return False
    return True
