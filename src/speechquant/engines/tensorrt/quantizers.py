"""Validation rules about QuantizeLinear and DequantizeLinear (Q and DQ)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from speechquant.engines.tensorrt.graph import attribute
from speechquant.engines.tensorrt.rules import RULES, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from speechquant.engines.tensorrt.graph import Graph

    Found = Iterator[tuple[str, str]]

__all__ = ["RULES"]

_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
_PRODUCTS = ("Conv", "MatMul", "Gemm")
_BIAS = 2
_MATRIX = 2


def _quantizers(graph: Graph) -> Iterator[Any]:
    return (node for node in graph.nodes if node.op_type in _QUANTIZERS)


@rule("signed")
def signed(graph: Graph) -> Found:
    """All quantized values are signed 8-bit integers."""
    for node in _quantizers(graph):
        name = node.output[0] if node.op_type == "QuantizeLinear" else node.input[0]
        if graph.types.get(name) != "INT8":
            yield node.name, f"{node.op_type} of {graph.types.get(name)}, TensorRT takes INT8"


@rule("zero point")
def zero_point(graph: Graph) -> Found:
    """Zero points are there, constant, 0, and of the type of the integers."""
    for node in _quantizers(graph):
        name = node.input[2] if len(node.input) > _BIAS else ""
        zeros = graph.constant(name)
        if zeros is None:
            yield node.name, "the zero point is not a constant"
        elif np.any(zeros):
            yield node.name, f"a zero point is {zeros[zeros != 0].flat[0]}, not 0"
        elif graph.types[name] != "INT8":
            yield node.name, f"the zero point is {graph.types[name]}, not INT8"
        elif zeros.shape != graph.shapes.get(node.input[1], zeros.shape):
            yield node.name, f"zero points of shape {zeros.shape} for other scales"


@rule("scale")
def scale(graph: Graph) -> Found:
    """Scales are constant, positive and finite, and one for a whole activation."""
    for node in _quantizers(graph):
        values = graph.constant(node.input[1])
        if values is None:
            yield node.name, "the scale is not a constant"
        elif not np.isfinite(values).all() or (values <= 0).any():
            yield node.name, "a scale is not positive and finite"
        elif values.size > 1 and not graph.is_constant(node.input[0]):
            yield node.name, f"an activation has {values.size} scales, TensorRT takes one"


@rule("axis")
def axis(graph: Graph) -> Found:
    """Scales of a weight lie along the output channels of the operator that reads it."""
    for node in _quantizers(graph):
        values, shape = graph.constant(node.input[1]), graph.shapes.get(node.input[0])
        if attribute(node, "block_size", 0):
            yield node.name, "scales in blocks are for weights of 4 bits"
        if values is None or values.ndim == 0 or shape is None:
            continue
        where = attribute(node, "axis", 1)
        where += len(shape) if where < 0 else 0
        if values.ndim > 1 or not 0 <= where < len(shape) or shape[where] != values.size:
            yield node.name, f"{values.shape} scales along axis {where} of a tensor of shape {shape}"
            continue
        for reader, expected in _channels(graph, node.output[0], len(shape)):
            if expected != where:
                yield (
                    node.name,
                    f"scales lie along axis {where}, {reader} has its channels on axis {expected}",
                )


def _channels(graph: Graph, name: str, rank: int) -> Iterator[tuple[str, int]]:
    """Which axis of a dequantized weight is the output channel, for every operator that multiplies with it."""
    for node, index in graph.consumers[name]:
        if node.op_type == "Conv" and index == 1:
            yield node.name, 0
        elif node.op_type == "Gather" and index == 0:
            yield node.name, attribute(node, "axis", 0)
        elif node.op_type == "Gemm" and index == 1:
            yield node.name, 0 if attribute(node, "transB", 0) else 1
        elif node.op_type == "MatMul":
            yield node.name, rank - 1 if rank == _MATRIX and index == 1 else -1
        elif node.op_type == "Transpose":
            perm = attribute(node, "perm") or tuple(reversed(range(rank)))
            yield from ((reader, perm[at]) for reader, at in _channels(graph, node.output[0], rank))


@rule("pair")
def pair(graph: Graph) -> Found:
    """Behind every Q comes a DQ of the same grid and nothing else; before every DQ a Q or a constant."""
    for node in graph.nodes:
        if node.op_type == "QuantizeLinear":
            readers = [reader for reader, _ in graph.consumers[node.output[0]]]
            if not readers or node.output[0] in graph.outputs:
                yield node.name, "integers leave the graph"
            for reader in readers:
                if reader.op_type != "DequantizeLinear":
                    yield node.name, f"{reader.op_type} {reader.name} reads integers, not a DequantizeLinear"
                elif not _same(graph, node.input[1], reader.input[1]):
                    yield node.name, f"{reader.name} has another scale"
        elif node.op_type == "DequantizeLinear":
            source = node.input[0]
            if not graph.is_constant(source) and graph.made_by(source, "QuantizeLinear") is None:
                yield node.name, "it reads neither a QuantizeLinear nor a constant"


def _same(graph: Graph, first: str, second: str) -> bool:
    one, other = graph.constant(first), graph.constant(second)
    return first == second or (one is not None and other is not None and np.array_equal(one, other))


@rule("placement")
def placement(graph: Graph) -> Found:
    """What is dequantized goes into a product, so that TensorRT can join the two."""
    for node in graph.nodes:
        if node.op_type != "DequantizeLinear":
            continue
        if node.output[0] in graph.outputs:
            yield node.name, "a dequantized value leaves the graph"
        for reader, index in graph.consumers[node.output[0]]:
            weight = graph.is_constant(node.input[0]) and reader.op_type in {"Transpose", "Gather"}
            # A bias has a rule of its own.
            bias = reader.op_type in {*_PRODUCTS, "Add"} and (index >= _BIAS or reader.op_type == "Add")
            if reader.op_type not in _PRODUCTS and not weight and not bias:
                yield node.name, f"{reader.op_type} {reader.name} reads a dequantized value"


@rule("bias")
def bias(graph: Graph) -> Found:
    """Biases stay in float."""
    for node in graph.nodes:
        places = {"Conv": (2,), "Gemm": (2,), "Add": (0, 1)}.get(node.op_type, ())
        for index in places:
            if index < len(node.input) and graph.made_by(node.input[index], "DequantizeLinear") is not None:
                yield node.name, f"input {index} of {node.op_type} is quantized"


@rule("weight")
def weight(graph: Graph) -> Found:
    """The quantized weight of a convolution is a constant."""
    for node in graph.nodes:
        if node.op_type not in {"Conv", "Gemm"}:
            continue
        dequantize = graph.made_by(node.input[1], "DequantizeLinear")
        if dequantize is None:
            continue
        quantize = graph.made_by(dequantize.input[0], "QuantizeLinear")
        source = quantize.input[0] if quantize is not None else dequantize.input[0]
        if not graph.is_constant(source):
            yield node.name, f"the quantized weight of {node.op_type} is not a constant"
