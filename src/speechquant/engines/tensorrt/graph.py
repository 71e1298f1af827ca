"""An ONNX graph with the questions answered that its validation asks. Needs the `onnx` package."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from speechquant.errors import EngineError, MissingExtraError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Graph", "attribute", "read_model"]

# Shapes are computed from vectors; tensors of more axes are weights, which only cost time and memory.
_WEIGHT_RANK = 2


def read_model(source: str | Path | Any) -> Any:
    """An `onnx.ModelProto` from a file, or the one that is given.

    Raises:
        EngineError: the file cannot be read.
        MissingExtraError: the `onnx` package is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError(
            "checking a graph needs the onnx package: pip install 'speechquant[quantize]'"
        ) from error
    if isinstance(source, onnx.ModelProto):
        return source
    try:
        return onnx.load(source)
    except Exception as error:  # protobuf's and onnx's own classes share no base
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EngineError(
            f"{source} is not a readable ONNX file ({reason}); export the model again"
        ) from error


class Graph:
    """Types, shapes, constants, producers and consumers of all values of a model, by name.

    `types` has names of ONNX element types; `shapes` has a number or a name for every axis, None for an axis
    of which nothing is known.
    """

    def __init__(self, model: Any) -> None:
        import onnx

        self.proto = model.graph
        self.nodes: tuple[Any, ...] = tuple(self.proto.node)
        self.outputs = {value.name for value in self.proto.output}
        self.producers: dict[str, Any] = {out: node for node in self.nodes for out in node.output if out}
        self.consumers: dict[str, list[tuple[Any, int]]] = defaultdict(list)
        for node in self.nodes:
            for index, name in enumerate(node.input):
                self.consumers[name].append((node, index))
        self._tensors = {tensor.name: tensor for tensor in self.proto.initializer}
        self._tensors |= {
            node.output[0]: entry.t
            for node in self.nodes
            if node.op_type == "Constant"
            for entry in node.attribute
            if entry.name == "value"
        }
        name_of = onnx.TensorProto.DataType.Name
        self.types = {name: name_of(tensor.data_type) for name, tensor in self._tensors.items()}
        self.shapes: dict[str, tuple[int | str | None, ...]] = {
            name: tuple(tensor.dims) for name, tensor in self._tensors.items()
        }
        for value in _inferred(model):
            tensor = value.type.tensor_type
            self.types.setdefault(value.name, name_of(tensor.elem_type))
            if tensor.HasField("shape"):
                self.shapes.setdefault(value.name, tuple(_axis(dim) for dim in tensor.shape.dim))

    def inputs(self) -> tuple[Any, ...]:
        """What a caller must give: inputs without those that are initializers as well."""
        return tuple(value for value in self.proto.input if value.name not in self._tensors)

    def is_constant(self, name: str) -> bool:
        """Whether a value is an initializer or the output of a Constant."""
        producer = self.producers.get(name)
        return name in self._tensors or (producer is not None and producer.op_type == "Constant")

    def constant(self, name: str) -> NDArray[Any] | None:
        """The content of a constant, None for anything else."""
        from onnx import numpy_helper

        tensor = self._tensors.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def made_by(self, name: str, op_type: str) -> Any | None:
        """The node that computes a value, where it is of this type."""
        node = self.producers.get(name)
        return node if node is not None and node.op_type == op_type else None


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """The value of an attribute."""
    from onnx import helper

    found = next((entry for entry in node.attribute if entry.name == name), None)
    return default if found is None else helper.get_attribute_value(found)


def _inferred(model: Any) -> tuple[Any, ...]:
    """Inputs, outputs and all values between, with types and shapes worked out from the nodes.

    What the file says about a value is used only where nothing can be worked out.

    Raises:
        onnx.shape_inference.InferenceError: the nodes contradict each other.
    """
    import onnx

    light, known = _light(model), {value.name: value for value in model.graph.value_info}
    graph = onnx.shape_inference.infer_shapes(light, data_prop=True).graph
    found = {value.name for value in graph.value_info}
    unknown = [known[name] for name in known if name not in found]
    if unknown:
        light.graph.value_info.extend(unknown)
        graph = onnx.shape_inference.infer_shapes(light, data_prop=True).graph
    return (*graph.input, *graph.value_info, *graph.output)


def _light(model: Any) -> Any:
    """A copy without what it says about values, and with inputs in place of its weights."""
    import onnx

    copy = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    graph = model.graph
    copy.graph.node.extend(graph.node)
    copy.graph.input.extend(graph.input)
    copy.graph.output.extend(graph.output)
    named = {value.name for value in graph.input}
    for tensor in graph.initializer:
        if len(tensor.dims) < _WEIGHT_RANK:
            copy.graph.initializer.append(tensor)
        elif tensor.name not in named:
            copy.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    return copy


def _axis(dim: Any) -> int | str | None:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return str(dim.dim_param) or None
