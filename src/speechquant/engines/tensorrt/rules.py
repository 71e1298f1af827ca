"""The register of validation rules, and those about operators, types and shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechquant.engines.tensorrt.graph import attribute
from speechquant.engines.tensorrt.operators import AXES, KINDS, OPERATORS, SAME_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from speechquant.engines.tensorrt.graph import Graph

    Found = Iterator[tuple[str, str]]
    Rule = Callable[[Graph], Found]

__all__ = ["RULES", "rule"]

RULES: dict[str, Rule] = {}
"""Name -> function that yields (node, message) for everything that breaks the rule, in order of checking."""


def rule(name: str) -> Callable[[Rule], Rule]:
    """Make a rule part of every validation."""

    def decorate(check: Rule) -> Rule:
        RULES[name] = check
        return check

    return decorate


@rule("opset")
def opset(graph: Graph) -> Found:
    """The default domain alone; its version is looked at before everything else."""
    for domain in sorted({node.domain for node in graph.nodes} - {"", "ai.onnx"}):
        yield "", f"operators of domain {domain!r} need a plugin"


@rule("operator")
def operator(graph: Graph) -> Found:
    """Operators of the support matrix, without outputs that the parser does not give."""
    for node in graph.nodes:
        if node.op_type not in OPERATORS:
            yield node.name, f"{node.op_type} is not supported"
        elif node.op_type == "LayerNormalization" and any(node.output[1:]):
            yield node.name, "only the first output of LayerNormalization is supported"


@rule("type")
def type_(graph: Graph) -> Found:
    """Data of kinds that the operator computes with: no square root of integers, nothing in double."""
    for value in graph.inputs():
        if KINDS.get(graph.types[value.name], "int8") == "int8":
            yield value.name, f"input {value.name} is {graph.types[value.name]}"
    for node in graph.nodes:
        allowed = OPERATORS.get(node.op_type)
        data = 1 if node.op_type == "Where" else 0
        if allowed is None or node.op_type == "Constant" or len(node.input) <= data:
            continue
        kind = graph.types.get(node.input[data])
        if kind is not None and KINDS.get(kind) not in allowed and node.op_type != "DequantizeLinear":
            yield node.name, f"{node.op_type} of {kind} is not supported"
    for node in graph.nodes:
        for name in filter(None, node.output):
            made = graph.types.get(name)
            if node.op_type != "QuantizeLinear" and KINDS.get(made or "", "int8") == "int8":
                yield node.name, f"{node.op_type} makes {made or 'an unknown type'}"


@rule("typing")
def typing(graph: Graph) -> Found:
    """Strong typing: operands of one operator are of one type."""
    for node in graph.nodes:
        which = SAME_TYPE.get(node.op_type, ())
        kinds = {graph.types[name] for i, name in enumerate(node.input) if i in which and name in graph.types}
        if len(kinds) > 1:
            yield node.name, f"{node.op_type} mixes {' and '.join(sorted(kinds))}; put a Cast in between"


@rule("profile")
def profile(graph: Graph) -> Found:
    """Every dynamic axis of an input has a name for which a profile can be made."""
    for value in graph.inputs():
        for index, size in enumerate(graph.shapes[value.name]):
            if not isinstance(size, int) and size not in AXES:
                yield (
                    value.name,
                    f"axis {index} of input {value.name} is {size!r}, not one of {', '.join(AXES)}",
                )


# Inputs that decide the shape of the output: the engine must know them before it runs.
_SHAPE_INPUTS: Mapping[str, tuple[int, ...]] = {
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "OneHot": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Slice": (1, 2, 3, 4),
    "Tile": (1,),
    "TopK": (1,),
}
_CONSTANT_INPUTS: Mapping[str, tuple[int, ...]] = {
    "CumSum": (1,),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
    "Split": (1,),
    **{name: (1,) for name in OPERATORS if name.startswith("Reduce")},
}
_SHAPE_NAMES = """
Abs Add Cast Ceil Concat ConstantOfShape Div Equal Expand Floor Gather Greater GreaterOrEqual Identity Less
LessOrEqual Max Min Mod Mul Neg Range ReduceMax ReduceMin ReduceProd ReduceSum Reshape Slice Split Squeeze
Sub Unsqueeze Where
"""
_SHAPE_ARITHMETIC = frozenset(_SHAPE_NAMES.split())


@rule("dynamic")
def dynamic(graph: Graph) -> Found:
    """Shapes depend on shapes and constants alone, never on what was computed from data."""
    known = {name for name in graph.types if graph.is_constant(name)} | {""}
    for node in graph.nodes:
        shapes = all(name in known for name in node.input)
        if node.op_type in {"Shape", "Size"} or (node.op_type in _SHAPE_ARITHMETIC and shapes):
            known.update(node.output)
        for index in _SHAPE_INPUTS.get(node.op_type, ()):
            if index < len(node.input) and node.input[index] not in known:
                yield node.name, f"input {index} of {node.op_type} depends on data"
        for index in _CONSTANT_INPUTS.get(node.op_type, ()):
            if index < len(node.input) and node.input[index] and not graph.is_constant(node.input[index]):
                yield node.name, f"input {index} of {node.op_type} must be a constant"


@rule("conv")
def conv(graph: Graph) -> Found:
    """Quantized convolutions have two or three spatial axes, so that nothing comes between weight and Conv."""
    for node in graph.nodes:
        if node.op_type != "Conv" or graph.made_by(node.input[1], "DequantizeLinear") is None:
            continue
        rank = len(graph.shapes.get(node.input[1], (0,) * len(attribute(node, "kernel_shape", ())) + (0, 0)))
        if rank not in {4, 5}:
            yield node.name, f"a quantized Conv needs a weight of rank 4 or 5, not {rank}"
