"""ONNX Runtime sessions with our settings and one-line errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import onnxruntime

from speechquant.errors import ArtifactError, EngineError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SessionOptions", "open_session"]

_ERRORS_ONLY = 3


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """`threads` inside an operator (None: one per core); `optimized`: where to write the optimised graph."""

    threads: int | None = None
    optimized: Path | None = None


def open_session(path: Path, options: SessionOptions) -> Any:
    """An `onnxruntime.InferenceSession` on the CPU.

    Raises:
        ArtifactError: the file is missing.
        EngineError: ONNX Runtime refuses it, or the number of threads is not positive.
    """
    if not path.is_file():
        raise ArtifactError(f"{path} is missing; export the model again")
    if options.threads is not None and options.threads < 1:
        raise EngineError(f"{options.threads} threads are not possible; give 1 or more")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads or 0
    settings.log_severity_level = _ERRORS_ONLY
    # Weights in 8 bits under float activations become MatMulNBits, whose default quantizes the activations too.
    settings.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    if options.optimized is not None:
        settings.optimized_model_filepath = str(options.optimized)
    try:
        return onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # its classes are not public and derive from nothing but Exception
        reason = str(error).strip().splitlines()[0]
        raise EngineError(f"ONNX Runtime cannot load {path}: {reason}; export the model again") from error
