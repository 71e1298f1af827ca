"""How each engine wants a quantized graph to be written."""

from __future__ import annotations

from speechquant.engines.export.dialects.base import Dialect, Lowered, dialect, dialect_names, register
from speechquant.engines.export.dialects.onnxruntime import OnnxRuntimeDialect
from speechquant.engines.export.dialects.openvino import OpenVINODialect
from speechquant.engines.export.dialects.tensorrt import TensorRTDialect

__all__ = [
    "Dialect",
    "Lowered",
    "OnnxRuntimeDialect",
    "OpenVINODialect",
    "TensorRTDialect",
    "dialect",
    "dialect_names",
    "register",
]
