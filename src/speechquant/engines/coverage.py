"""Read back from an engine which operators it really runs in 8-bit integers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from speechquant.engines.manifest import Coverage, Manifest
from speechquant.engines.session import SessionOptions, open_session
from speechquant.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["INTEGER_OPERATORS", "read_coverage"]

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


def read_coverage(folder: Path, manifest: Manifest | None = None) -> Coverage:
    """Let ONNX Runtime optimise every graph of a folder and look at what became of the operators.

    Args:
        folder: Where the graphs lie.
        manifest: What they are; read from the folder by default.

    Returns:
        Counts over the operators of the model, also where several of them are one node of the graph.

    Raises:
        MissingExtraError: the `onnx` package, which reads the optimised graph, is not installed.
        ArtifactError, EngineError: a file is missing, or the engine refuses it.
    """
    manifest = manifest or Manifest.load(folder)
    kinds = {file.part: _optimized(manifest.path(folder, file.part)) for file in manifest.files}
    fast: list[str] = []
    slow: dict[str, bool] = {}
    for record in manifest.operators:
        if kinds[record.part].get(record.node) in INTEGER_OPERATORS:
            fast += record.modules
        else:
            slow |= dict.fromkeys(record.modules, record.int8)
    total = sum(len(record.modules) for record in manifest.operators)
    return Coverage(len(fast), total, tuple(slow), tuple(name for name, asked in slow.items() if asked))


def _optimized(path: Path) -> Mapping[str, str]:
    """Node name -> operator after the engine's optimisation."""
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError(
            "reading coverage back needs the onnx package: pip install 'speechquant[quantize]'"
        ) from error
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "optimized.onnx"
        open_session(path, SessionOptions(threads=1, optimized=target))
        nodes: Iterable[onnx.NodeProto] = onnx.load(target, load_external_data=False).graph.node
        return {node.name: node.op_type for node in nodes}
