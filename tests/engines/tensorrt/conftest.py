from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

# The fakes are modules of these tests.
sys.path.insert(0, str(Path(__file__).parent))

import fake_cuda
import fake_tensorrt

from speechquant.engines.export import export_onnx


@pytest.fixture
def gpu(monkeypatch):
    """A machine with a GPU, on which TensorRT and the CUDA bindings are installed."""
    card = fake_cuda.Card()
    for name, module in fake_cuda.modules(card).items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt.module(card))
    return card


@pytest.fixture(scope="session")
def exports(models, table_for, tmp_path_factory):
    """The export of an architecture for TensorRT, as an artifact keeps it, and the scale table."""
    made = {}

    def make(arch, *, quantized=True, **settings):
        key = (arch, quantized, str(settings))
        if key not in made:
            model = models(arch)
            table = table_for(model, **settings) if quantized else None
            home = tmp_path_factory.mktemp("artifact")
            result = export_onnx(model, table, home / "tensorrt", dialect="tensorrt")
            for path in model.kept_files:
                shutil.copy(path, home)
            made[key] = result, table
        return made[key]

    return make
