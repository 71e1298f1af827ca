from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

# The fakes are modules of these tests.
sys.path.insert(0, str(Path(__file__).parent))

import fake_cuda
import fake_tensorrt


@pytest.fixture
def gpu(monkeypatch):
    """A machine with a GPU, on which TensorRT and the CUDA bindings are installed."""
    card = fake_cuda.Card()
    for name, module in fake_cuda.modules(card).items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt.module(card))
    return card


@pytest.fixture(scope="session")
def exports(models, exports_for):
    """The export of an architecture for TensorRT, as an artifact keeps it, and the scale table."""
    export = exports_for("tensorrt")

    def make(arch, **settings):
        result, table = export(arch, **settings)
        for path in models(arch).kept_files:
            shutil.copy(path, result.folder.parent)
        return result, table

    return make
