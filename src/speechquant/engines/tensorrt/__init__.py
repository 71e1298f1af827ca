"""TensorRT: check graphs, build engines, run them. Importing this needs neither TensorRT nor onnx."""

from __future__ import annotations

from speechquant.engines.tensorrt.build import (
    BuildOptions,
    Built,
    Precision,
    build_engines,
)
from speechquant.engines.tensorrt.half import to_half
from speechquant.engines.tensorrt.layers import integer_layers, integer_nodes
from speechquant.engines.tensorrt.profiles import Seconds, parse_seconds
from speechquant.engines.tensorrt.recognizer import TensorRtRecognizer, open_recognizer
from speechquant.engines.tensorrt.validate import Problem, rule_names, validate_tensorrt

__all__ = [
    "BuildOptions",
    "Built",
    "Precision",
    "Problem",
    "Seconds",
    "TensorRtRecognizer",
    "build_engines",
    "integer_layers",
    "integer_nodes",
    "open_recognizer",
    "parse_seconds",
    "rule_names",
    "to_half",
    "validate_tensorrt",
]
