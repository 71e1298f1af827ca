"""What the processor can do that decides how fast, and how exactly, 8-bit integers are multiplied."""

from __future__ import annotations

import platform
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Cpu", "parse_cpuinfo", "parse_sysctl", "read_cpu"]

_CPUINFO = Path("/proc/cpuinfo")
_X86 = ("x86_64", "amd64", "i686", "i386")
# Our name -> the names that Linux gives it in /proc/cpuinfo.
_FEATURES = {
    "avx2": ("avx2",),
    "avx512": ("avx512f",),
    "avx512-vnni": ("avx512_vnni", "avx512vnni"),
    "avx-vnni": ("avx_vnni", "avxvnni"),
    "avx512-bf16": ("avx512_bf16",),
    "amx-int8": ("amx_int8",),
    "amx-bf16": ("amx_bf16",),
    "neon": ("asimd",),
    "dotprod": ("asimddp",),
    "i8mm": ("i8mm",),
    "sve": ("sve",),
    "arm-bf16": ("bf16",),
}
# Our name -> the key of `sysctl -a` on macOS.
_SYSCTL = {
    "neon": "hw.optional.AdvSIMD",
    "dotprod": "hw.optional.arm.FEAT_DotProd",
    "i8mm": "hw.optional.arm.FEAT_I8MM",
    "arm-bf16": "hw.optional.arm.FEAT_BF16",
    "avx2": "hw.optional.avx2_0",
    "avx512": "hw.optional.avx512f",
    "avx512-vnni": "hw.optional.avx512vnni",
}


@dataclass(frozen=True, slots=True)
class Cpu:
    """A processor: its name, its architecture as Python names it, and those of its features that matter.

    `known` is False where this system does not tell the features.
    """

    name: str
    machine: str
    features: tuple[str, ...]
    known: bool = True

    @property
    def x86(self) -> bool:
        """Whether it is of Intel's architecture."""
        return self.machine.lower() in _X86

    @property
    def bf16(self) -> bool:
        """Whether it multiplies bfloat16."""
        return any("bf16" in feature for feature in self.features)

    @property
    def integer(self) -> str | None:
        """The best instructions that it multiplies 8-bit integers with; None where there are none of its own."""
        order = ("amx-int8", "avx512-vnni", "avx-vnni", "i8mm", "dotprod", "avx512", "avx2", "neon")
        return next((name for name in order if name in self.features), None)

    @property
    def saturates(self) -> bool:
        """Whether products of uint8 and int8 are added in pairs in 16 bits, where large ones are cut off."""
        exact = {"amx-int8", "avx512-vnni", "avx-vnni"}
        return self.known and self.x86 and not exact & set(self.features)


@cache
def read_cpu() -> Cpu:
    """The processor of this machine: from /proc/cpuinfo on Linux, sysctl on macOS, elsewhere unknown."""
    machine = platform.machine()
    if _CPUINFO.is_file():
        return parse_cpuinfo(_CPUINFO.read_text(encoding="utf-8", errors="replace"), machine)
    if platform.system() == "Darwin":
        with suppress(OSError):
            done = subprocess.run(["/usr/sbin/sysctl", "-a"], capture_output=True, text=True, check=False)
            return parse_sysctl(done.stdout, machine)
    return Cpu(platform.processor() or machine, machine, (), known=False)


def parse_cpuinfo(text: str, machine: str) -> Cpu:
    """The processor that a /proc/cpuinfo describes."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip().lower(), value.strip())
    flags = set(fields.get("flags", fields.get("features", "")).split())
    features = tuple(name for name, linux in _FEATURES.items() if flags & set(linux))
    return Cpu(fields.get("model name", machine), machine, features, known=bool(flags))


def parse_sysctl(text: str, machine: str) -> Cpu:
    """The processor that `sysctl -a` of macOS describes."""
    pairs = (line.partition(":") for line in text.splitlines())
    fields = {key.strip(): value.strip() for key, _, value in pairs}
    features = tuple(name for name, key in _SYSCTL.items() if fields.get(key) == "1")
    return Cpu(fields.get("machdep.cpu.brand_string", machine), machine, features, known=bool(fields))
