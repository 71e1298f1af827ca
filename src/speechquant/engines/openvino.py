"""OpenVINO on CPUs: how it runs a graph, and which operators it makes 8-bit. Needs no torch."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino

from speechquant.engines.base import register
from speechquant.engines.coverage import Reading, register_reader
from speechquant.engines.options import EngineOptions
from speechquant.engines.recognizers import recognizer_of
from speechquant.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from speechquant.decoding import BPEVocabulary, CTCVocabulary, Recognizer, Task
    from speechquant.engines.manifest import Manifest
    from speechquant.engines.options import Precision

__all__ = ["OpenVINOGraph", "open_recognizer", "shared_core"]

_DEVICE = "CPU"
_PRODUCTS = frozenset({"Convolution", "FullyConnected", "MatMul"})
_INTEGERS = (openvino.Type.i8, openvino.Type.u8)
_SMALL_INTEGERS = (openvino.Type.i4, openvino.Type.u4)


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
    precision = _precision(options.precision, manifest.runtime.task)
    settings = replace(options, precision=precision)
    return recognizer_of(
        manifest,
        vocabulary,
        lambda part: OpenVINOGraph(manifest.path(folder, part), settings),
        backend="openvino",
        version=f"{openvino.__version__} {precision}",
    )


class OpenVINOGraph:
    """A compiled model behind `recognizers.Graph`; its values are arrays.

    Every thread has an infer request of its own. Shapes stay dynamic, so a new length compiles nothing.
    """

    def __init__(self, path: Path, options: EngineOptions) -> None:
        self._compiled = _compile(path, options)
        self.outputs = tuple(output.get_any_name() for output in self._compiled.outputs)
        self._local = threading.local()

    def put(self, array: NDArray[Any]) -> NDArray[Any]:
        """An array as a value."""
        return np.ascontiguousarray(array)

    def run(self, values: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """All outputs by name, copied out of the request, whose memory the next run overwrites."""
        request = self._request()
        for name, value in values.items():
            # The tensor borrows the array's memory and does not keep it alive; `values` does until infer ends.
            request.set_tensor(name, openvino.Tensor(value, shared_memory=True))
        request.infer()
        return {name: request.get_tensor(name).data.copy() for name in self.outputs}

    def get(self, value: NDArray[Any]) -> NDArray[Any]:
        """A value as an array."""
        return value

    def _request(self) -> openvino.InferRequest:
        request: openvino.InferRequest | None = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._compiled.create_infer_request()
        return request


def integer_nodes(path: Path, nodes: Sequence[str]) -> set[str]:
    """Those of `nodes` that OpenVINO computes from 8-bit integers; the precision of the rest changes none."""
    return set(read_nodes(path, nodes).int8)


@register_reader("openvino")
def read_nodes(path: Path, nodes: Sequence[str]) -> Reading:
    """Which of `nodes` OpenVINO computes from 8-bit integers, and whose weight it keeps in 4 bits."""
    compiled = _compile(path, EngineOptions(threads=1))
    integer: set[str] = set()
    small: set[str] = set()
    for operator in compiled.get_runtime_model().get_ordered_ops():
        if _text(operator, "layerType") in _PRODUCTS:
            names = set(_names(operator))
            found = {node for node in nodes if _computes(names, node)}
            integer |= found if _integer(operator) else set()
            small |= found if operator.get_input_element_type(1) in _SMALL_INTEGERS else set()
    return Reading(frozenset(integer), frozenset(small))


def _integer(operator: openvino.Node) -> bool:
    """Whether both factors are 8-bit integers; `runtimePrecision` says i8 where the weight alone is."""
    return all(operator.get_input_element_type(port) in _INTEGERS for port in (0, 1))


def _computes(names: set[str], node: str) -> bool:
    """Whether an operator of the engine with these names computes a node of the graph.

    The engine derives names (`NODE/WithoutBiases`), and sometimes makes new ones, but leaves a weight its own.
    """
    weight = f"{node.rpartition('/')[0]}/weight"
    return weight in names or any(name == node or name.startswith(f"{node}/") for name in names)


def _names(operator: openvino.Node) -> Iterator[str]:
    """The original names of an operator and of the constant that its weight is."""
    yield from _text(operator, "originalLayersNames").split(",")
    source = operator.input_value(1).get_node()
    while source.inputs():
        source = source.input_value(0).get_node()
    yield source.get_friendly_name()


def _text(operator: openvino.Node, key: str) -> str:
    info = operator.get_rt_info()
    return str(info[key].astype(str)) if key in info else ""


@cache
def shared_core() -> openvino.Core:
    """The one core of the process, for everything that compiles.

    The plugin for CPUs gives the thread that creates it another stack for signal handlers, and frees it with the core
    (2026.4). Of two cores that do not end in the reverse order of their beginning one leaves a stack behind that is
    freed already, on which the next Ctrl-C kills the process. A core that never ends leaves none.
    """
    return openvino.Core()


def _compile(path: Path, options: EngineOptions) -> openvino.CompiledModel:
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": options.precision or "f32",
        # Weights in 8 bits under float activations would have the activations quantized behind our back.
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
        # The code generated for attention with fewer than 16 keys is used again for more, with wrong results
        # (2026.4): one short utterance would spoil all that follow.
        "SNIPPETS_MODE": "DISABLE",
    }
    if options.threads is not None:
        settings["INFERENCE_NUM_THREADS"] = options.threads
    if options.cache is not None:
        settings["CACHE_DIR"] = str(options.cache)
    try:
        core = shared_core()
        return core.compile_model(core.read_model(path), _DEVICE, settings)
    except Exception as error:  # every failure of the engine is a RuntimeError with several lines
        reason = str(error).strip().splitlines()[-1]
        raise EngineError(f"OpenVINO cannot load {path}: {reason}; export the model again") from error


def _precision(wanted: Precision | None, task: Task) -> Precision:
    """What everything but 8-bit integers is computed in; by default bf16 for CTC where the processor has it.

    Sequence-to-sequence models stay in f32 unless bf16 is asked for: Moonshine's encoder, with values up to 2800
    in its residual stream, loses words in bf16 even where nothing is quantized.
    """
    able = _able()
    if wanted == "bf16" and not able:
        raise EngineError("this processor has no bf16; take precision f32")
    return wanted or ("bf16" if able and task == "ctc" else "f32")


def _able() -> bool:
    return "BF16" in shared_core().get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
