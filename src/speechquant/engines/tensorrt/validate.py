"""Static validation: what TensorRT would refuse, or run in float, is found without TensorRT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from speechquant.engines.tensorrt.graph import Graph, read_model
from speechquant.engines.tensorrt.operators import OPSETS
from speechquant.engines.tensorrt.quantizers import RULES

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Problem", "rule_names", "validate_tensorrt"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a graph that breaks a rule.

    `node` is the name of the node or graph input, empty where the whole graph is meant; `rule` is one of
    `rule_names()`.
    """

    node: str
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.node or 'graph'}: {self.message} ({self.rule})"


def rule_names() -> tuple[str, ...]:
    """The rules in the order of checking; `onnx` says that a file breaks the ONNX standard itself."""
    return ("onnx", *RULES)


def validate_tensorrt(source: str | Path | Any) -> list[Problem]:
    """Check a graph against everything that is known about TensorRT's parser and builder.

    Args:
        source: A file or an `onnx.ModelProto`.

    Returns:
        All problems, none where the graph is fit for a strongly typed network of TensorRT 10 or 11. This is
        no promise that a kernel exists for every layer: only a build shows that.

    Raises:
        EngineError: the file cannot be read.
        MissingExtraError: the `onnx` package is not installed.
    """
    model = read_model(source)
    from onnx import checker, shape_inference

    # Of another version an operator may not even exist, which would be reported in its place.
    version = next((entry.version for entry in model.opset_import if not entry.domain), 0)
    if version not in OPSETS:
        return [Problem("", "opset", f"opset {version} is outside {OPSETS[0]} to {OPSETS[-1]}")]
    try:
        checker.check_model(model)
        graph = Graph(model)
    except (checker.ValidationError, shape_inference.InferenceError, ValueError) as error:
        return [Problem("", "onnx", str(error).strip().splitlines()[0])]
    return [Problem(node, name, text) for name, check in RULES.items() for node, text in check(graph)]
