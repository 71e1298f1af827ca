"""Which engines are here, and what they will do on this processor."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from speechquant.engines import engine_names
from speechquant.engines.cpu import read_cpu

if TYPE_CHECKING:
    from speechquant.engines.cpu import Cpu

__all__ = ["EngineReport", "EngineStatus", "engines"]

_PACKAGES = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"),
    "openvino": ("openvino",),
    "tensorrt": ("tensorrt", "tensorrt-cu12", "tensorrt-cu13"),
}
_UNKNOWN = "this system does not tell what the processor can do; the engines choose by themselves"
_SATURATES = (
    "this processor has no VNNI: its fast products of uint8 and int8 are cut off at 16 bits; ONNX Runtime takes "
    "exact ones; for OpenVINO and other programs quantize with --bits w6a8, whose weights leave room"
)
_INSTALL = {"openvino": "pip install 'speechquant[openvino]'"}


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """One engine: its version, None where it is not installed, and what it computes with or how to get it."""

    name: str
    version: str | None
    uses: str


@dataclass(frozen=True, slots=True)
class EngineReport:
    """The processor, the number of its cores, the engines, and what the user should know, one line each."""

    cpu: Cpu
    cores: int
    engines: tuple[EngineStatus, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        derived = {"bf16": self.cpu.bf16, "integer": self.cpu.integer, "saturates": self.cpu.saturates}
        return asdict(self) | {"cpu": asdict(self.cpu) | derived}


def engines(cpu: Cpu | None = None) -> EngineReport:
    """Look at what is installed, and at the processor.

    Args:
        cpu: by default that of this machine.
    """
    found = cpu or read_cpu()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return EngineReport(
        found, cores, tuple(_status(name, found) for name in engine_names()), tuple(_warnings(found))
    )


def _status(name: str, cpu: Cpu) -> EngineStatus:
    installed = _version(name)
    if installed is None:
        return EngineStatus(name, None, f"not installed: {_INSTALL.get(name, f'pip install {name}')}")
    return EngineStatus(name, installed, _uses(name, cpu))


def _version(name: str) -> str | None:
    """The version of an engine; it is not imported, which takes long."""
    if find_spec(name) is None:
        return None
    for package in _PACKAGES.get(name, (name,)):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return "unknown"


def _uses(name: str, cpu: Cpu) -> str:
    if name == "tensorrt":
        return "int8 tensor cores of the GPU; build engines with `speechquant build-trt`"
    integer = cpu.integer or ("its own choice" if not cpu.known else "plain instructions")
    rest = "bf16 for CTC models, f32 for others" if name == "openvino" and cpu.bf16 else "f32"
    return f"int8 by {integer}, the rest in {rest}{_providers() if name == 'onnxruntime' else ''}"


def _providers() -> str:
    """What `--provider` may name; nothing where ONNX Runtime is installed but does not load."""
    try:
        from speechquant.engines.session import provider_names
    except ImportError:
        return ""
    return f"; providers {', '.join(provider_names())}"


def _warnings(cpu: Cpu) -> list[str]:
    if not cpu.known:
        return [_UNKNOWN]
    return [_SATURATES] if cpu.saturates else []
