"""The part of the `tensorrt` module that the project uses. An engine is the graph itself, run by ONNX Runtime.

Names and keywords are those of the real bindings (`api_names.py` has their list). As there, objects take no
attributes that they do not have, failures are logged and answered with False or None, and nothing runs before
the stream is synchronised.
"""

# ruff: noqa: A002 - the names are those of the real bindings

from __future__ import annotations

import enum
import json
from types import ModuleType
from typing import ClassVar

import numpy as np
import onnx
import onnxruntime

MAGIC = b"FAKEPLAN"


class DataType(enum.IntEnum):
    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT32 = 3
    BOOL = 4
    UINT8 = 5
    FP8 = 6
    BF16 = 7
    INT64 = 8


class TensorIOMode(enum.IntEnum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class NetworkDefinitionCreationFlag(enum.IntEnum):
    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0


class HardwareCompatibilityLevel(enum.IntEnum):
    NONE = 0
    AMPERE_PLUS = 1
    SAME_COMPUTE_CAPABILITY = 2


class ProfilingVerbosity(enum.IntEnum):
    LAYER_NAMES_ONLY = 0
    NONE = 1
    DETAILED = 2


class LayerInformationFormat(enum.IntEnum):
    ONELINE = 0
    JSON = 1


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    def __init__(self):
        self._initialised = True

    def log(self, severity, msg):
        raise NotImplementedError


NUMPY = {
    DataType.FLOAT: np.float32,
    DataType.HALF: np.float16,
    DataType.INT8: np.int8,
    DataType.INT32: np.int32,
    DataType.INT64: np.int64,
    DataType.BOOL: np.bool_,
}
FROM_ORT = {
    "tensor(float)": DataType.FLOAT,
    "tensor(int64)": DataType.INT64,
    "tensor(bool)": DataType.BOOL,
}


def nptype(trt_type):
    return NUMPY[trt_type]


def session_of(content):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options)


def complain(logger, text):
    assert logger._initialised, "a logger must call __init__ of its base"
    logger.log(ILogger.Severity.ERROR, text)


class INetworkDefinition:
    __slots__ = ("content", "flags")

    def __init__(self, flags):
        self.content, self.flags = None, flags


class ParserError:
    __slots__ = ("_node", "_text")

    def __init__(self, node, text):
        self._node, self._text = node, text

    def desc(self):
        return self._text

    def node_name(self):
        return self._node


class OnnxParser:
    __slots__ = ("_errors", "_logger", "_network")

    def __init__(self, network, logger):
        self._network, self._logger, self._errors = network, logger, []

    def parse(self, model, path=None):
        for node in onnx.load_from_string(model).graph.node:
            if node.op_type == "Erf":
                self._errors.append(ParserError(node.name, "Erf is\nout of order"))
        self._network.content = model
        return not self._errors

    @property
    def num_errors(self):
        return len(self._errors)

    def get_error(self, index):
        return self._errors[index]


class IOptimizationProfile:
    __slots__ = ("shapes",)

    def __init__(self):
        self.shapes = {}

    def set_shape(self, input, min, opt, max):
        if not len(min) == len(opt) == len(max) or not all(
            0 <= a <= b <= c for a, b, c in zip(min, opt, max, strict=True)
        ):
            raise RuntimeError("Shape provided for max is inconsistent with other shapes.")
        self.shapes[input] = [tuple(min), tuple(opt), tuple(max)]


class ITimingCache:
    __slots__ = ("content",)

    def __init__(self, content):
        self.content = content

    def serialize(self):
        return memoryview(self.content)


class IBuilderConfig:
    __slots__ = (
        "_cache",
        "_profiles",
        "builder_optimization_level",
        "hardware_compatibility_level",
        "limits",
        "profiling_verbosity",
    )

    def __init__(self):
        self._profiles, self.limits = [], {}
        self.profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
        self.hardware_compatibility_level = HardwareCompatibilityLevel.NONE
        self.builder_optimization_level = 3

    def set_memory_pool_limit(self, pool, pool_size):
        self.limits[MemoryPoolType(pool)] = pool_size

    def add_optimization_profile(self, profile):
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache):
        return ITimingCache(bytes(serialized_timing_cache))

    def set_timing_cache(self, cache, ignore_mismatch):
        if cache.content and not cache.content.startswith(b"timed") and not ignore_mismatch:
            return False
        self._cache = cache
        return True

    def get_timing_cache(self):
        return self._cache


class Builder:
    __slots__ = ("_logger",)
    made: ClassVar = []

    def __init__(self, logger):
        self._logger = logger

    def create_network(self, flags=0):
        return INetworkDefinition(flags)

    def create_builder_config(self):
        Builder.made.append(IBuilderConfig())
        return Builder.made[-1]

    def create_optimization_profile(self):
        return IOptimizationProfile()

    def build_serialized_network(self, network, config):
        if not network.flags & 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED:
            return complain(self._logger, "INT8 without a calibrator")
        session = session_of(network.content)
        dynamic = {i.name for i in session.get_inputs() if any(isinstance(d, str) for d in i.shape)}
        if not config._profiles or any(set(p.shapes) != dynamic for p in config._profiles):
            return complain(self._logger, "Network has dynamic inputs\nwithout optimization profiles")
        config._cache.content += b"timed"
        header = {
            "profiles": [p.shapes for p in config._profiles],
            "detailed": config.profiling_verbosity == ProfilingVerbosity.DETAILED,
        }
        head = json.dumps(header).encode()
        return memoryview(MAGIC + len(head).to_bytes(8, "little") + head + network.content)


class IExecutionContext:
    __slots__ = ("_addresses", "_card", "_engine", "_profile", "_shapes")

    def __init__(self, engine, card):
        self._engine, self._card, self._profile = engine, card, 0
        self._shapes, self._addresses = {}, {}

    def set_optimization_profile_async(self, profile_index, stream_handle):
        self._profile, self._shapes = profile_index, {}
        return 0 <= profile_index < self._engine.num_optimization_profiles

    def set_input_shape(self, name, shape):
        low, _, high = self._engine.get_tensor_profile_shape(name, self._profile)
        fits = len(shape) == len(low) and all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))
        if fits:
            self._shapes[name] = tuple(shape)
        return fits

    def set_tensor_address(self, name, memory):
        assert isinstance(memory, int)
        self._addresses[name] = memory
        return memory != 0

    def infer_shapes(self):
        return [i.name for i in self._engine._session.get_inputs() if i.name not in self._shapes]

    def get_tensor_shape(self, name):
        return self._engine._shapes_for(self._shapes)[name]

    def execute_async_v3(self, stream_handle):
        engine, shapes, places = self._engine, dict(self._shapes), dict(self._addresses)

        def run():
            feeds = {}
            for name, shape in shapes.items():
                dtype = np.dtype(nptype(engine.get_tensor_dtype(name)))
                size = int(np.prod(shape)) * dtype.itemsize
                feeds[name] = np.frombuffer(self._card.read(places[name], size), dtype).reshape(shape)
            names = [o.name for o in engine._session.get_outputs()]
            for name, value in zip(names, engine._session.run(names, feeds), strict=True):
                self._card.write(places[name], np.ascontiguousarray(value).tobytes())

        self._card.work(stream_handle, run)
        return set(places) == set(engine._names)


class EngineInspector:
    __slots__ = ("_engine",)

    def __init__(self, engine):
        self._engine = engine

    def get_engine_information(self, format):
        assert format == LayerInformationFormat.JSON
        nodes = self._engine._model.graph.node
        if not self._engine._header["detailed"]:
            return json.dumps({"Layers": [node.name for node in nodes]})
        made = {name: node for node in nodes for name in node.output}
        layers = []
        for node in nodes:
            if node.op_type in {"Conv", "MatMul"}:
                fed = [made[name].op_type if name in made else "" for name in node.input[:2]]
                kind = "Int8" if "DequantizeLinear" in fed[0] else "Float"
                inputs = [{"Name": node.input[0], "Format/Datatype": f"Row major linear {kind} format"}]
                layers.append(
                    {
                        "Name": "gemm",
                        "Inputs": inputs,
                        "Metadata": f"[ONNX Layer: q][ONNX Layer: {node.name}]",
                    }
                )
        return json.dumps({"Layers": layers, "Bindings": self._engine._names})


class ICudaEngine:
    __slots__ = ("_card", "_header", "_known", "_model", "_names", "_session", "_types")

    def __init__(self, content, card):
        size = int.from_bytes(content[8:16], "little")
        self._card, self._known = card, {}
        self._header, graph = json.loads(content[16 : 16 + size]), content[16 + size :]
        self._model, self._session = onnx.load_from_string(graph), session_of(graph)
        io = [*self._session.get_inputs(), *self._session.get_outputs()]
        self._types = {value.name: FROM_ORT[value.type] for value in io}
        self._names = list(self._types)

    @property
    def num_io_tensors(self):
        return len(self._names)

    @property
    def num_optimization_profiles(self):
        return len(self._header["profiles"])

    def get_tensor_name(self, index):
        return self._names[index]

    def get_tensor_mode(self, name):
        inputs = {i.name for i in self._session.get_inputs()}
        return TensorIOMode.INPUT if name in inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        return self._types[name]

    def get_tensor_profile_shape(self, name, profile_index):
        static = next(i.shape for i in self._session.get_inputs() if i.name == name)
        return self._header["profiles"][profile_index].get(name, [tuple(static)] * 3)

    def create_execution_context(self):
        return IExecutionContext(self, self._card)

    def create_engine_inspector(self):
        return EngineInspector(self)

    def _shapes_for(self, shapes):
        key = tuple(sorted(shapes.items()))
        if key not in self._known:
            feeds = {name: np.zeros(shape, nptype(self._types[name])) for name, shape in shapes.items()}
            names = [o.name for o in self._session.get_outputs()]
            found = self._session.run(names, feeds)
            self._known[key] = {name: value.shape for name, value in zip(names, found, strict=True)}
        return self._known[key]


def module(card, version="10.15.1.29"):
    """A `tensorrt` whose engines run on a card."""

    class Runtime:
        __slots__ = ("_logger",)

        def __init__(self, logger):
            self._logger = logger

        def deserialize_cuda_engine(self, serialized_engine):
            if not serialized_engine.startswith(MAGIC):
                return complain(self._logger, "Serialization assertion\nfailed: magic tag mismatch")
            return ICudaEngine(serialized_engine, card)

    made = ModuleType("tensorrt")
    made.__version__ = version
    Builder.made = []
    for entry in (
        Builder,
        DataType,
        HardwareCompatibilityLevel,
        ILogger,
        LayerInformationFormat,
        MemoryPoolType,
        NetworkDefinitionCreationFlag,
        OnnxParser,
        ProfilingVerbosity,
        Runtime,
        TensorIOMode,
        nptype,
    ):
        setattr(made, entry.__name__, entry)
    return made
