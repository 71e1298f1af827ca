"""An ONNX graph with the questions answered that its validation asks. Needs the `onnx` package."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from speechquant.errors import EngineError, MissingExtraError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Graph", "attribute", "read_model"]


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

        self.proto = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        self.opsets = {entry.domain: entry.version for entry in model.opset_import}
        self.nodes: tuple[Any, ...] = tuple(self.proto.node)
        self.outputs = {value.name for value in self.proto.output}
        self.producers: dict[str, Any] = {out: node for node in self.nodes for out in node.output if out}
        self.consumers: dict[str, list[tuple[Any, int]]] = defaultdict(list)
        for node in self.nodes:
            for index, name in enumerate(node.input):
                self.consumers[name].append((node, index))
        self._tensors = {tensor.name: tensor for tensor in self.proto.initializer}
        self._tensors |= {
            node.output[0]: attribute.t
            for node in self.nodes
            if node.op_type == "Constant"
            for attribute in node.attribute
            if attribute.name == "value"
        }
        name_of = onnx.TensorProto.DataType.Name
        self.types = {name: name_of(tensor.data_type) for name, tensor in self._tensors.items()}
        self.shapes = {name: tuple(tensor.dims) for name, tensor in self._tensors.items()}
        for value in (*self.proto.input, *self.proto.value_info, *self.proto.output):
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


def _axis(dim: Any) -> int | str | None:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return str(dim.dim_param) or None
