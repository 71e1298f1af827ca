"""What every benchmark needs: where it ran, and how a rate is written."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("speechquant", "torch", "transformers", "onnx", "onnxruntime", "openvino", "nncf", "numpy")


def provenance(about: str) -> dict[str, Any]:
    """Command, commit, machine and versions."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "about": about.strip().splitlines()[0],
        "command": f"python {shlex.join(sys.argv)}",
        "commit": commit,
        "machine": f"{processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version()} | {name: found(name) for name in PACKAGES},
    }


def processor() -> str:
    """The name and the vector abilities that matter here."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    abilities = [
        name
        for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8")
        if name in fields["flags"]
    ]
    return f"{fields.get('model name', 'unknown')} ({' '.join(abilities)})"


def found(package: str) -> str:
    """The installed version."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def cell(value: dict[str, Any] | None) -> str:
    """`3.21 (2.1-4.5), 39/2/13, p 0.018*`."""
    if value is None:
        return ""
    counts = f"{value['substitutions']}/{value['deletions']}/{value['insertions']}"
    text = f"**{value['wer']:.2f}** ({value['low']:.1f}-{value['high']:.1f}), {counts}"
    if (p_value := value.get("p_value")) is not None:
        text += (", p <0.001" if p_value < 0.001 else f", p {p_value:.3f}") + (
            "\\*" if p_value < 0.05 else ""
        )
    return text + (f", {value['capped']} capped" if value.get("capped") else "")


def p_text(p_value: float | None) -> str:
    """`0.018*`, or nothing."""
    if p_value is None:
        return ""
    return ("<0.001" if p_value < 0.001 else f"{p_value:.3f}") + ("\\*" if p_value < 0.05 else "")
