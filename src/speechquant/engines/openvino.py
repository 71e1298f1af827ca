"""OpenVINO on CPUs: how it runs a graph, and which operators it makes 8-bit. Needs no torch."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino

from speechquant.engines.base import register
from speechquant.engines.coverage import register_reader
from speechquant.engines.options import EngineOptions
from speechquant.engines.recognizers import recognizer_of
from speechquant.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from speechquant.decoding import BPEVocabulary, CTCVocabulary, Recognizer
    from speechquant.engines.manifest import Manifest
    from speechquant.engines.options import Precision

__all__ = ["OpenVINOGraph", "open_recognizer"]

_DEVICE = "CPU"
_PRODUCTS = frozenset({"Convolution", "FullyConnected", "MatMul"})
_INTEGERS = frozenset({"i8", "u8"})


@register("openvino")
def open_recognizer(
    folder: Path,
    manifest: Manifest,
    vocabulary: CTCVocabulary | BPEVocabulary,
    options: EngineOptions,
) -> Recognizer:
    """A recogniser for the graphs of a folder.

    Raises:
        ArtifactError: a file is missing.
        EngineError: OpenVINO refuses a graph, or the processor has not the precision that is asked for.
    """
    core = openvino.Core()
    precision = _precision(core, options.precision)
    return recognizer_of(
        manifest,
        vocabulary,
        lambda part: OpenVINOGraph(core, manifest.path(folder, part), options),
        backend="openvino",
        version=f"{openvino.__version__} {precision}",
    )


class OpenVINOGraph:
    """A compiled model behind `recognizers.Graph`; its values are `openvino.Tensor`.

    Every thread has an infer request of its own. Shapes stay dynamic, so a new length compiles nothing.
    """

    def __init__(self, core: openvino.Core, path: Path, options: EngineOptions) -> None:
        self._compiled = _compile(core, path, options)
        self.outputs = tuple(output.get_any_name() for output in self._compiled.outputs)
        self._local = threading.local()

    def put(self, array: NDArray[Any]) -> openvino.Tensor:
        """An array as a value, which keeps the array alive."""
        return openvino.Tensor(np.ascontiguousarray(array), shared_memory=True)

    def run(self, values: Mapping[str, openvino.Tensor]) -> dict[str, openvino.Tensor]:
        """All outputs by name, copied out of the request, whose memory the next run overwrites."""
        request = self._request()
        for name, value in values.items():
            request.set_tensor(name, value)
        request.infer()
        return {name: self.put(request.get_tensor(name).data.copy()) for name in self.outputs}

    def get(self, value: openvino.Tensor) -> NDArray[Any]:
        """A value as an array."""
        array: NDArray[Any] = value.data
        return array

    def _request(self) -> openvino.InferRequest:
        request: openvino.InferRequest | None = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._compiled.create_infer_request()
        return request


@register_reader("openvino")
def integer_nodes(path: Path, nodes: Sequence[str]) -> set[str]:
    """Those of `nodes` that OpenVINO computes from 8-bit integers, with the settings of recognition."""
    compiled = _compile(openvino.Core(), path, EngineOptions(threads=1))
    found: set[str] = set()
    for operator in compiled.get_runtime_model().get_ordered_ops():
        info = operator.get_rt_info()
        if _text(info, "layerType") in _PRODUCTS and _text(info, "runtimePrecision") in _INTEGERS:
            names = set(_names(operator))
            found |= {node for node in nodes if _computes(names, node)}
    return found


def _computes(names: set[str], node: str) -> bool:
    """Whether an operator of the engine with these names computes a node of the graph.

    The engine derives names (`NODE/WithoutBiases`), and sometimes makes new ones, but leaves a weight its own.
    """
    weight = f"{node.rpartition('/')[0]}/weight"
    return weight in names or any(name == node or name.startswith(f"{node}/") for name in names)


def _names(operator: openvino.Node) -> Iterator[str]:
    """The original names of an operator and of the constant that its weight is."""
    yield from _text(operator.get_rt_info(), "originalLayersNames").split(",")
    source = operator.input_value(1).get_node()
    while source.inputs():
        source = source.input_value(0).get_node()
    yield source.get_friendly_name()


def _text(info: Any, key: str) -> str:
    return str(info[key].astype(str)) if key in info else ""


def _compile(core: openvino.Core, path: Path, options: EngineOptions) -> openvino.CompiledModel:
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": _precision(core, options.precision),
        # Weights in 8 bits under float activations would have the activations quantized behind our back.
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    }
    if options.threads is not None:
        settings["INFERENCE_NUM_THREADS"] = options.threads
    if options.cache is not None:
        settings["CACHE_DIR"] = str(options.cache)
    try:
        return core.compile_model(core.read_model(path), _DEVICE, settings)
    except Exception as error:  # every failure of the engine is a RuntimeError with several lines
        reason = str(error).strip().splitlines()[-1]
        raise EngineError(f"OpenVINO cannot load {path}: {reason}; export the model again") from error


def _precision(core: openvino.Core, wanted: Precision | None) -> Precision:
    """What everything but 8-bit integers is computed in: bf16 by default where the processor has it."""
    able = "BF16" in core.get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
    if wanted == "bf16" and not able:
        raise EngineError("this processor has no bf16; take precision f32")
    return wanted or ("bf16" if able else "f32")
