"""What every benchmark needs: where it ran, and results as JSON and as a table."""

from __future__ import annotations

import json
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


def write_results(out: Path, lines: list[dict[str, Any]], where: dict[str, Any]) -> None:
    """`<out>.json` with everything and `<out>.md` with the table."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(
        json.dumps({**where, "rows": lines}, indent=1) + "\n", encoding="utf-8"
    )
    sets = [name for name in ("dev", "test", "int8 test") if any(name in line for line in lines)]
    head = ["method", "bits", "layers", *(f"{name} WER % (95 %), S/D/I, p" for name in sets), "notes"]
    table = [head, ["---"] * len(head)]
    floats = {name: lines[0].get(f"float {name}") for name in ("dev", "test")}
    table.append(["float", "", "", *(cell(floats.get(name)) for name in sets), ""])
    for line in lines:
        cells = [cell(line.get(name)) for name in sets]
        table.append([line["method"], line["bits"], line["layers"], *cells, notes(line)])
    words = ", ".join(f"{name} {value['words']:,} words" for name, value in floats.items() if value)
    text = [f"# {where['about']}", "", f"{words}. p: MAPSSWE against float, two-sided. \\*: p < 0.05.", ""]
    text += ["| " + " | ".join(row) + " |" for row in table]
    text += ["", f"    {where['command']}", "", f"Commit {where['commit'][:12]}; {where['machine']};"]
    text += [", ".join(f"{name} {number}" for name, number in where["versions"].items()) + ".", ""]
    out.with_suffix(".md").write_text("\n".join(text), encoding="utf-8")


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


def notes(line: dict[str, Any]) -> str:
    """Decisions and parity of one line."""
    parts = []
    if "selected" in line:
        cutoffs = sorted(set(line["p_opt"].values()))
        parts.append(f"clipped {', '.join(line['selected']) or 'none'}; p_opt {', '.join(map(str, cutoffs))}")
    if "token agreement" in line:
        parts.append(f"tokens agree {line['token agreement']:.1f} %")
    return "; ".join(parts)
