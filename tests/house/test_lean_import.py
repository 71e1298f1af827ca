"""Running an artifact needs no torch: every runtime module imports with all heavy packages blocked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "speechquant"
BLOCKED = (
    "torch",
    "transformers",
    "safetensors",
    "onnx",
    "onnx_ir",
    "onnxscript",
    "matplotlib",
    "jinja2",
    "scipy",
)
# Rooms that make artifacts. Whoever imports them has installed the extra `quantize` or `report`.
EXEMPT = (
    "speechquant.models",
    "speechquant.simulation",
    "speechquant.search",
    "speechquant.learn",
    "speechquant.report",
    "speechquant.engines.export",
    "speechquant.jobs.comparison",
    "speechquant.jobs.learning",
    "speechquant.jobs.quantization",
)

GUARD = """
import importlib, sys

blocked, names = set(sys.argv[1].split()), sys.argv[2].split()

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Finder())
failed = []
for name in names:
    try:
        importlib.import_module(name)
    except ImportError as error:
        failed.append(f"{name}: {error}")
print("\\n".join(failed))
"""


def runtime_modules(source=SOURCE, package="speechquant"):
    """Every module of the package that is not in an exempt room, new ones included."""
    # By file name: pkgutil.walk_packages would import the exempt rooms to look inside them.
    files = [path.relative_to(source).with_suffix("").parts for path in sorted(source.rglob("*.py"))]
    names = sorted(".".join([package, *parts]).removesuffix(".__init__") for parts in files)
    exempt = tuple(f"{name}." for name in EXEMPT)
    return [name for name in names if not f"{name}.".startswith(exempt) and not name.endswith(".__main__")]


def failures(names, blocked, path=()):
    """Lines `module: reason` of the modules that a fresh interpreter cannot import without `blocked`."""
    code = f"import sys; sys.path[:0] = {list(map(str, path))!r}\n{GUARD}"
    command = [sys.executable, "-c", code, " ".join(blocked), " ".join(names)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1] if done.stdout.strip() else []


def test_runtime_modules_import_without_the_heavy_packages():
    assert failures(runtime_modules(), BLOCKED) == []


def test_all_runtime_rooms_are_covered():
    names = runtime_modules()
    for room in ("audio", "data", "decoding", "metrics", "evaluation", "numerics", "artifact", "jobs", "cli"):
        assert f"speechquant.{room}" in names
    assert "speechquant.errors" in names
    assert not any(name.startswith("speechquant.models") for name in names)


@pytest.mark.parametrize("line", ["import torch", "from torch.nn import functional", "import scipy.stats"])
def test_a_heavy_import_is_found(tmp_path, line):
    room = tmp_path / "leanprobe"
    room.mkdir()
    (room / "__init__.py").write_text("")
    (room / "light.py").write_text("import json\n")
    (room / "heavy.py").write_text(f"{line}\n")
    names = runtime_modules(room, "leanprobe")
    assert names == ["leanprobe", "leanprobe.heavy", "leanprobe.light"]
    found = failures(names, BLOCKED, path=[tmp_path])
    assert len(found) == 1
    assert found[0].startswith("leanprobe.heavy: ")
