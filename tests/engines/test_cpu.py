"""What a processor can do, from what Linux and macOS say about it."""

from __future__ import annotations

import pytest

from speechquant.engines import cpu
from speechquant.engines.cpu import Cpu, parse_cpuinfo, parse_sysctl, read_cpu

SAPPHIRE = "avx2 avx512f avx512_vnni avx_vnni avx512_bf16 amx_int8 amx_bf16 amx_tile"
LINUX = {
    "haswell": ("x86_64", "flags\t\t: fpu sse avx2 fma", "avx2", False, True),
    "skylake": ("x86_64", "flags\t\t: avx2 avx512f avx512bw", "avx512", False, True),
    "cascade lake": ("x86_64", "flags\t\t: avx2 avx512f avx512_vnni", "avx512-vnni", False, False),
    "alder lake": ("x86_64", "flags\t\t: avx2 avx_vnni", "avx-vnni", False, False),
    "sapphire": ("x86_64", f"flags\t\t: {SAPPHIRE}", "amx-int8", True, False),
    "graviton 2": ("aarch64", "Features\t: fp asimd asimddp", "dotprod", False, False),
    "graviton 3": ("aarch64", "Features\t: asimd asimddp sve i8mm bf16", "i8mm", True, False),
    "raspberry": ("aarch64", "Features\t: fp asimd crc32", "neon", False, False),
}


@pytest.mark.parametrize("name", LINUX)
def test_linux(name):
    machine, line, integer, bf16, saturates = LINUX[name]
    text = f"processor\t: 0\nmodel name\t: {name}\n{line}\n\nprocessor\t: 1\nmodel name\t: other\n{line}\n"
    found = parse_cpuinfo(text, machine)
    assert (found.name, found.machine, found.known) == (name, machine, True)
    assert (found.integer, found.bf16, found.saturates) == (integer, bf16, saturates)


def test_macos():
    text = (
        "machdep.cpu.brand_string: Apple M2\nhw.optional.AdvSIMD: 1\nhw.optional.arm.FEAT_DotProd: 1\n"
        "hw.optional.arm.FEAT_I8MM: 1\nhw.optional.arm.FEAT_BF16: 0\n"
    )
    found = parse_sysctl(text, "arm64")
    assert found == Cpu("Apple M2", "arm64", ("neon", "dotprod", "i8mm"))
    assert (found.integer, found.bf16, found.saturates) == ("i8mm", False, False)


def test_what_is_not_known_is_not_claimed():
    cpu = parse_cpuinfo("", "x86_64")
    assert (cpu.known, cpu.features, cpu.integer, cpu.saturates) == (False, (), None, False)


def test_macos_that_tells_nothing(monkeypatch, tmp_path):
    def missing(*_, **__):
        raise FileNotFoundError("/usr/sbin/sysctl")

    monkeypatch.setattr(cpu, "_CPUINFO", tmp_path / "none")
    monkeypatch.setattr(cpu.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(cpu.subprocess, "run", missing)
    found = read_cpu.__wrapped__()
    assert (found.known, found.saturates) == (False, False)


def test_this_machine():
    assert read_cpu().machine
