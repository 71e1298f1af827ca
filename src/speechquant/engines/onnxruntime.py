"""ONNX Runtime: how it runs a graph, and which operators it makes 8-bit. Needs no torch."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

from speechquant.engines.base import register
from speechquant.engines.coverage import Reading, register_reader
from speechquant.engines.recognizers import recognizer_of
from speechquant.engines.session import SessionOptions, open_session, version
from speechquant.errors import EngineError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import onnx
    from numpy.typing import NDArray

    from speechquant.decoding import BPEVocabulary, CTCVocabulary, Recognizer
    from speechquant.engines.manifest import Manifest
    from speechquant.engines.options import EngineOptions

__all__ = ["INTEGER_OPERATORS", "OnnxRuntimeGraph", "open_recognizer"]

INTEGER_OPERATORS = frozenset(
    {
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "QLinearMatMul",
        "QGemm",
        "ConvInteger",
        "QLinearConv",
        "DynamicQuantizeMatMul",
    }
)
"""ONNX Runtime's operators that multiply 8-bit integers."""

_SMALL = 4


@register("onnxruntime")
def open_recognizer(
    folder: Path,
    manifest: Manifest,
    vocabulary: CTCVocabulary | BPEVocabulary,
    options: EngineOptions,
) -> Recognizer:
    """A recogniser for the graphs of a folder.

    Raises:
        ArtifactError: a file is missing.
        EngineError: ONNX Runtime refuses a graph or the settings.
    """
    if options.precision == "bf16":
        raise EngineError("ONNX Runtime has no bf16 on CPUs; take precision f32, or the engine openvino")
    provider = (options.provider or "cpu").lower()
    settings = SessionOptions(threads=options.threads, provider=provider)
    return recognizer_of(
        manifest,
        vocabulary,
        lambda part: OnnxRuntimeGraph(manifest.path(folder, part), settings),
        backend="onnxruntime",
        version=version(provider),
    )


class OnnxRuntimeGraph:
    """A session behind `recognizers.Graph`; its values are `OrtValue`."""

    def __init__(self, path: Path, options: SessionOptions) -> None:
        self._session = open_session(path, options)
        self.outputs = tuple(output.name for output in self._session.get_outputs())

    def put(self, array: NDArray[Any]) -> Any:
        """An array as a value."""
        return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))

    def run(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """All outputs by name."""
        found = self._session.run_with_ort_values(self.outputs, values)
        return dict(zip(self.outputs, found, strict=True))

    def get(self, value: Any) -> NDArray[Any]:
        """A value as an array."""
        array: NDArray[Any] = value.numpy()
        return array


@register_reader("onnxruntime")
def read_nodes(path: Path, nodes: Sequence[str]) -> Reading:
    """What becomes of `nodes` when ONNX Runtime optimises the graph."""
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError(
            "reading coverage back needs the onnx package: pip install 'speechquant[quantize]'"
        ) from error
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "optimized.onnx"
        open_session(path, SessionOptions(threads=1, optimized=target))
        graph: Iterable[onnx.NodeProto] = onnx.load(target, load_external_data=False).graph.node
        integer = {node.name for node in graph if node.op_type in INTEGER_OPERATORS}
        small = {node.name for node in graph if node.op_type == "MatMulNBits" and _bits(node) <= _SMALL}
    return Reading(frozenset(integer & set(nodes)), frozenset(small & set(nodes)))


def _bits(node: onnx.NodeProto) -> int:
    """The width of the weight of a MatMulNBits."""
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == "bits"), _SMALL)
