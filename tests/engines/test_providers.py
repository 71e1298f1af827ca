"""Execution providers of ONNX Runtime: what is not there, or cannot start, is said and never silently the CPU."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest

from speechquant.engines import EngineOptions, load_recognizer
from speechquant.engines.session import SessionOptions, open_session, provider_names
from speechquant.errors import EngineError

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


@pytest.fixture
def graph(tmp_path):
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Neg", ["x"], ["y"])
    float_ = onnx.TensorProto.FLOAT
    body = onnx.helper.make_graph([node], "neg", [value("x", float_, ["n"])], [value("y", float_, ["n"])])
    opset = onnx.helper.make_opsetid("", 20)
    onnx.save(onnx.helper.make_model(body, opset_imports=[opset], ir_version=10), tmp_path / "neg.onnx")
    return tmp_path / "neg.onnx"


@pytest.fixture
def with_cuda(monkeypatch):
    """An ONNX Runtime that was built for CUDA; `started` is what its sessions say that they run on."""

    def make(started):
        asked = []

        def session(path, settings, providers, **_settings):
            asked.append(providers)
            return SimpleNamespace(get_providers=lambda: started, get_outputs=list)

        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
        monkeypatch.setattr(onnxruntime, "InferenceSession", session)
        return asked

    return make


def test_the_cpu_is_the_default_and_always_there(graph):
    assert "cpu" in provider_names()
    for options in (SessionOptions(), SessionOptions(provider="CPU")):
        session = open_session(graph, options)
        assert session.get_providers() == [CPU]
        np.testing.assert_array_equal(session.run(None, {"x": np.ones(2, np.float32)})[0], [-1, -1])


def test_another_provider_stands_before_the_cpu(graph, with_cuda):
    asked = with_cuda([CUDA, CPU])
    assert provider_names() == ("cuda", "cpu")
    open_session(graph, SessionOptions(provider="cuda"))
    open_session(graph, SessionOptions())
    assert asked == [[CUDA, CPU], [CPU]]


def test_a_provider_that_cannot_start_is_not_silently_the_cpu(graph, with_cuda):
    with_cuda([CPU])
    with pytest.raises(EngineError, match="provider cuda cannot start here"):
        open_session(graph, SessionOptions(provider="cuda"))


def test_a_provider_that_is_not_installed_names_those_that_are(graph):
    with pytest.raises(EngineError, match=r"no provider quantum, only .*cpu") as caught:
        open_session(graph, SessionOptions(provider="quantum"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("engine", ["openvino", "tensorrt"])
def test_only_onnxruntime_has_providers(tmp_path, engine, monkeypatch):
    monkeypatch.setattr("speechquant.engines.base.import_engine", lambda name: None)
    with pytest.raises(EngineError, match=f"engine {engine} has no execution providers"):
        load_recognizer(tmp_path, engine=engine, options=EngineOptions(provider="cuda"))
