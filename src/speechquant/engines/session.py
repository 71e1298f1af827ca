"""ONNX Runtime sessions with our settings and one-line errors."""

from __future__ import annotations

from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from typing import TYPE_CHECKING, Any

import onnxruntime

from speechquant.engines.cpu import read_cpu
from speechquant.errors import ArtifactError, EngineError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SessionOptions", "open_session", "provider_names", "version"]

_CPU = "cpu"
_ERRORS_ONLY = 3
# The fused kernel of a sum and a layer norm takes longer than the two by themselves.
_SLOWER_FUSED = ["SkipLayerNormFusion"]
_SUFFIX = "ExecutionProvider"


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """`threads` inside an operator (None: one per core); `optimized`: where to write the optimised graph.

    `provider` is the execution provider by its short name, `cuda` for `CUDAExecutionProvider`.
    """

    threads: int | None = None
    optimized: Path | None = None
    provider: str = _CPU


def open_session(path: Path, options: SessionOptions) -> Any:
    """An `onnxruntime.InferenceSession` on the CPU or another execution provider.

    Raises:
        ArtifactError: the file is missing.
        EngineError: ONNX Runtime refuses it, the number of threads is not positive, or the provider is not
            there or cannot start.
    """
    if not path.is_file():
        raise ArtifactError(f"{path} is missing; export the model again")
    if options.threads is not None and options.threads < 1:
        raise EngineError(f"{options.threads} threads are not possible; give 1 or more")
    providers = _providers(options.provider)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads or 0
    settings.log_severity_level = _ERRORS_ONLY
    # Weights in 8 bits under float activations become MatMulNBits, whose default quantizes the activations too.
    settings.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    if _exact() and _quantizes(path):
        # Products of uint8 and int8 are cut off on such processors, those of uint8 and uint8 are not. Where weights
        # alone are integers it would keep ONNX Runtime from MatMulNBits.
        settings.add_session_config_entry("session.x64quantprecision", "1")
    if options.optimized is not None:
        settings.optimized_model_filepath = str(options.optimized)
    try:
        session = onnxruntime.InferenceSession(
            path, settings, providers=providers, disabled_optimizers=_SLOWER_FUSED
        )
    except Exception as error:  # its classes are not public and derive from nothing but Exception
        reason = str(error).strip().splitlines()[0]
        raise EngineError(f"ONNX Runtime cannot load {path}: {reason}; export the model again") from error
    # ONNX Runtime goes on without a provider whose driver or library is missing.
    if providers[0] not in session.get_providers():
        raise EngineError(
            f"provider {options.provider} cannot start here: its driver or a library is missing; install it, or "
            "take provider cpu"
        )
    return session


def version(provider: str = _CPU) -> str:
    """Everything about ONNX Runtime here that may change a result: its version, provider, and kind of products."""
    parts = [onnxruntime.__version__, "" if provider == _CPU else provider, "exact" if _exact() else ""]
    return " ".join(filter(None, parts))


def _exact() -> bool:
    """Whether products of 8-bit integers must be asked for that are not cut off."""
    return read_cpu().saturates


def _quantizes(path: Path) -> bool:
    """Whether a graph quantizes activations; the names of its operators stand in the file as they are."""
    if not path.stat().st_size:
        return False
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        return data.find(b"QuantizeLinear") >= 0


def provider_names() -> tuple[str, ...]:
    """Short names of the execution providers of the installed ONNX Runtime, the fastest first."""
    return tuple(name.removesuffix(_SUFFIX).lower() for name in onnxruntime.get_available_providers())


def _providers(name: str) -> list[str]:
    """Full names, the one wanted first. The CPU stands behind it for operators that it has not."""
    known = dict(zip(provider_names(), onnxruntime.get_available_providers(), strict=True))
    wanted = known.get(name.lower())
    if wanted is None:
        raise EngineError(
            f"the installed ONNX Runtime has no provider {name}, only {', '.join(known)}; choose one of them, or "
            "install the build that has it, such as onnxruntime-gpu for cuda"
        )
    return list(dict.fromkeys([wanted, known[_CPU]]))
