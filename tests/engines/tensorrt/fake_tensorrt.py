"""The part of the `tensorrt` module that the project uses. An engine is the graph itself, run by ONNX Runtime.

Names and keywords are those of the real bindings (`api_names.py` has their list). As there, objects take no
attributes that they do not have, failures are logged and answered with False or None, and nothing runs before
the stream is synchronised.
"""

# ruff: noqa: A002 - the names are those of the real bindings

from __future__ import annotations

import json
from types import ModuleType
from typing import ClassVar

import onnx
from fake_tensorrt_engine import ICudaEngine
from fake_tensorrt_names import (
    MAGIC,
    DataType,
    HardwareCompatibilityLevel,
    ILogger,
    LayerInformationFormat,
    MemoryPoolType,
    NetworkDefinitionCreationFlag,
    ProfilingVerbosity,
    TensorIOMode,
    complain,
    nptype,
    session_of,
)


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
