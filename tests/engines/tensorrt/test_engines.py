"""Build and run on a machine whose TensorRT and CUDA are fakes with the real names."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from types import ModuleType

import fake_cuda
import fake_tensorrt
import numpy as np
import onnxruntime
import pytest
from engine_checks import assert_threads_may_share

from speechquant.engines import Manifest, load_recognizer
from speechquant.engines.cpu import read_cpu
from speechquant.engines.onnxruntime import OnnxRuntimeGraph
from speechquant.engines.recognizers import _Steps
from speechquant.engines.session import SessionOptions
from speechquant.engines.tensorrt import BuildOptions, Seconds, build_engines, integer_layers
from speechquant.errors import ArtifactError, EngineError, MissingExtraError, RecipeError
from speechquant.jobs.build_trt import build_trt
from speechquant.jobs.progress import Silent

SHORT = BuildOptions(seconds=(Seconds(0, 1, 2),), batch=4)


@pytest.fixture
def build(gpu, exports, tmp_path):
    def make(arch, options=SHORT, name="engines"):
        return build_engines(exports(arch)[0].folder.parent, tmp_path / name, options)

    return make


@pytest.fixture
def transcripts(models, exports, simulation):
    """What torch writes with the quantizers simulated."""

    def make(arch, waves):
        with simulation(models(arch), exports(arch)[1]):
            return models(arch).recognizer(signature="x").recognize(waves)

    return make


@pytest.mark.parametrize("arch", ["hubert-large", "moonshine-tiny"])
def test_engines_write_what_torch_writes(transcripts, models, build, noise, arch):
    waves = [
        noise(samples, seed) for seed, samples in enumerate((5000, 16000, 900, 16000, 16000, 16000, 16000))
    ]
    recognizer = load_recognizer(build(arch).folder, engine="tensorrt")
    found = recognizer.recognize(waves)
    expected = transcripts(arch, waves)
    assert [t.text for t in found] == [t.text for t in expected]
    assert [t.tokens for t in found] == [t.tokens for t in expected]
    assert [t.words for t in found] == [t.words for t in expected]
    assert recognizer.recognize(waves[::-1]) == found[::-1]
    assert (recognizer.backend, recognizer.sampling_rate) == ("tensorrt", 16000)
    assert recognizer.length_exact == models(arch).length_exact


def test_closing_gives_everything_back(build, noise, gpu):
    recognizer = load_recognizer(build("hubert-large").folder, engine="tensorrt")
    recognizer.recognize([noise(8000)])
    assert gpu.device
    recognizer.close()
    assert (gpu.device, gpu.pinned, gpu.streams) == ({}, {}, set())


def without_integers(path, _options):
    """A session that computes in float what other ones compute in integers."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options)


def test_any_tokens_give_the_logits_of_another_engine(build, exports, noise, monkeypatch):
    """A random network says one token for ever, so that its transcripts alone prove little about decoding."""
    if read_cpu().saturates:
        monkeypatch.setattr("speechquant.engines.onnxruntime.open_session", without_integers)
    waves = [noise(samples, seed) for seed, samples in enumerate((16000, 9000, 30000))]
    recognizer = load_recognizer(build("moonshine-tiny").folder, engine="tensorrt")
    files = exports("moonshine-tiny")[0].files
    other = [OnnxRuntimeGraph(path, SessionOptions(threads=1)) for path in files]
    both = []
    for encode, step in (recognizer._sessions.values(), other):
        found = [encode.run({"wave": encode.put(wave[None])}) for wave in waves]
        rows = [[encode.get(row[name]) for name in encode.outputs] for row in found]
        steps, rng = _Steps(step, list(encode.outputs), rows), np.random.default_rng(0)
        both.append([steps(rng.integers(0, 28, (3, 1)), position) for position in range(6)])
    got, expected = np.array(both[0]), np.array(both[1])
    # What the tokens change must be far larger than what two evaluators of one graph differ in.
    assert ((got - expected) ** 2).mean() < 0.01 * np.diff(expected, axis=0).var()


def test_caches_stay_on_the_device(build, noise, gpu):
    recognizer = load_recognizer(build("moonshine-tiny").folder, engine="tensorrt")
    recognizer.recognize([noise(16000)])
    down = [size for kind, size in gpu.copies if kind == fake_cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost]
    up = [size for kind, size in gpu.copies if kind == fake_cuda.cudaMemcpyKind.cudaMemcpyHostToDevice]
    (transcript,) = recognizer.recognize([noise(16000)])
    steps = len(transcript.tokens) + (not transcript.capped)
    # Four cross caches come back once; then one row of logits per step, all of one size.
    assert len(down) == 4 + steps
    assert len(set(down[4:])) == 1
    # The wave, a mask and four caches; then a token and its position per step.
    assert len(up) == 6 + 2 * steps


def test_memory_is_used_again(build, noise, gpu):
    recognizer = load_recognizer(build("moonshine-tiny").folder, engine="tensorrt")
    for _ in range(2):
        recognizer.recognize([noise(16000)])
    before = len(gpu.device), len(gpu.pinned)
    for _ in range(3):
        recognizer.recognize([noise(16000)])
    assert (len(gpu.device), len(gpu.pinned)) == before


def test_several_threads_may_share_a_recogniser(build, noise):
    recognizer = load_recognizer(build("hubert-large").folder, engine="tensorrt")
    assert_threads_may_share(recognizer, [noise(4000 + 777 * i, seed=i) for i in range(5)])


def test_profiles_are_chosen_by_length(build, noise):
    one = load_recognizer(build("hubert-large").folder, engine="tensorrt")
    two = BuildOptions(seconds=(Seconds(0, 0.3, 0.5), Seconds(0.5, 1, 2)), batch=2)
    split = load_recognizer(build("hubert-large", two, "two").folder, engine="tensorrt")
    for samples in (4000, 20000, 4000, 8000):
        assert split.recognize([noise(samples)]) == one.recognize([noise(samples)])
    with pytest.raises(EngineError, match="wave has shape") as caught:
        split.recognize([noise(32001)])
    assert "(1, 32001)" in str(caught.value)
    assert "--seconds" in str(caught.value)


def test_fp16_engines_run(build, noise):
    half = BuildOptions(seconds=SHORT.seconds, precision="fp16")
    built = build("hubert-large", half, "half")
    assert built.coverage.int8 == built.coverage.total
    exact = load_recognizer(build("hubert-large").folder, engine="tensorrt")
    other = load_recognizer(built.folder, engine="tensorrt")
    wave = noise(8000)[None]
    a, b = exact.logits(wave), other.logits(wave)
    assert 0 < float(((a - b) ** 2).mean() / (a**2).mean()) < 5e-3
    assert exact.signature != other.signature


def test_a_folder_of_engines_is_complete(exports, build):
    built = build("moonshine-tiny")
    manifest = Manifest.load(built.folder)
    assert [file.part for file in manifest.files] == ["encode", "step"]
    assert [path.name for path in built.files] == ["encode.plan", "step.plan"]
    assert manifest.coverage == built.coverage
    assert (built.coverage.int8, built.coverage.broken) == (built.coverage.total, ())
    assert manifest.operators == exports("moonshine-tiny")[0].operators
    described = json.loads((built.folder / "build.json").read_text())
    assert described["tensorrt"] == built.version == "10.15.1.29"
    assert (described["seconds"], described["precision"]) == (["0:1:2"], "fp32")
    assert (built.folder / "tokenizer.json").is_file()


def test_options_reach_the_builder(build, tmp_path):
    cache = tmp_path / "caches" / "timing"
    options = BuildOptions(
        seconds=(Seconds(0, 1, 2), Seconds(2, 4, 8)),
        batch=3,
        workspace=64,
        portable=True,
        timing_cache=cache,
        level=5,
    )
    build("hubert-large", options)
    (config,) = fake_tensorrt.Builder.made
    assert config.limits == {fake_tensorrt.MemoryPoolType.WORKSPACE: 64 * 2**20}
    assert config.hardware_compatibility_level == fake_tensorrt.HardwareCompatibilityLevel.AMPERE_PLUS
    assert config.builder_optimization_level == 5
    assert [p.shapes["wave"] for p in config._profiles] == [
        [(1, 400), (1, 16000), (3, 32000)],
        [(1, 32000), (1, 64000), (3, 128000)],
    ]
    assert cache.read_bytes() == b"timed"
    build("hubert-large", options, "again")
    assert cache.read_bytes() == b"timedtimed"
    cache.write_bytes(b"of another GPU")
    build("hubert-large", options, "anew")
    assert cache.read_bytes() == b"timed"


def one_line(caught):
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_tensorrt_is_named(exports, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingExtraError) as caught:
        build_engines(exports("hubert-large")[0].folder, tmp_path)
    assert "pip install tensorrt" in one_line(caught)


def test_missing_cuda_bindings_are_named(build, monkeypatch):
    folder = build("hubert-large").folder
    monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(MissingExtraError) as caught:
        load_recognizer(folder, engine="tensorrt")
    assert "pip install cuda-python" in one_line(caught)


def test_an_old_tensorrt_is_refused(gpu, exports, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt.module(gpu, "8.6.1"))
    with pytest.raises(EngineError, match=r"8\.6\.1 is too old"):
        build_engines(exports("hubert-large")[0].folder, tmp_path)


def test_a_machine_without_a_gpu_is_named(build, gpu):
    folder = build("hubert-large").folder
    gpu.devices = 0
    with pytest.raises(EngineError, match="cudaGetDeviceCount failed"):
        load_recognizer(folder, engine="tensorrt")


def test_a_full_gpu_is_named(build, gpu, noise):
    recognizer = load_recognizer(build("hubert-large").folder, engine="tensorrt")
    gpu.memory = 1000
    with pytest.raises(EngineError, match="cudaMalloc failed: fake: cudaErrorMemoryAllocation"):
        recognizer.recognize([noise(8000)])
    gpu.memory = 2**40
    assert len(recognizer.recognize([noise(8000)])) == 1


def test_an_engine_of_another_machine_is_named(build, caplog):
    folder = build("hubert-large").folder
    (folder / "model.plan").write_bytes(b"of another version")
    with caplog.at_level(logging.ERROR), pytest.raises(EngineError) as caught:
        load_recognizer(folder, engine="tensorrt")
    assert "magic tag mismatch" in one_line(caught)
    assert "build it again" in one_line(caught)
    assert "magic tag mismatch" in caplog.text
    (folder / "model.plan").unlink()
    with pytest.raises(ArtifactError, match=r"model\.plan is missing"):
        load_recognizer(folder, engine="tensorrt")


def test_what_the_parser_refuses_is_named(gpu, exports, tmp_path, monkeypatch):
    monkeypatch.setattr(
        fake_tensorrt.OnnxParser,
        "parse",
        lambda self, model, path=None: self._errors.append(
            fake_tensorrt.ParserError("gelu_1", "out of\norder")
        ),
    )
    with pytest.raises(EngineError) as caught:
        build_engines(exports("hubert-large")[0].folder, tmp_path)
    assert "cannot read model: gelu_1: out of order" in one_line(caught)


def test_what_the_builder_refuses_is_named(gpu, exports, tmp_path, monkeypatch):
    monkeypatch.setattr(fake_tensorrt.IBuilderConfig, "add_optimization_profile", lambda self, profile: 0)
    with pytest.raises(EngineError) as caught:
        build_engines(exports("hubert-large")[0].folder, tmp_path)
    assert "without optimization profiles" in one_line(caught)


def test_a_graph_that_breaks_a_rule_is_not_built(gpu, exports, tmp_path):
    import hashlib

    import onnx

    home = shutil.copytree(exports("hubert-large")[0].folder, tmp_path / "copy")
    path = home / "model.onnx"
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "width"
    onnx.save(model, path)
    with pytest.raises(ArtifactError, match="altered"):
        build_engines(home, tmp_path / "out")
    content = json.loads((home / "engine.json").read_text())
    content["files"][0]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (home / "engine.json").write_text(json.dumps(content))
    with pytest.raises(EngineError) as caught:
        build_engines(home, tmp_path / "out")
    assert "axis 1 of input wave is 'width'" in one_line(caught)


def test_wrong_folders_are_named(build, models, exports, tmp_path):
    from speechquant.engines.export import export_onnx

    export_onnx(models("hubert-large"), None, tmp_path / "ort")
    with pytest.raises(EngineError, match="run `speechquant export ARTIFACT --engine tensorrt`"):
        build_engines(tmp_path / "ort", tmp_path / "out")
    folder = build("hubert-large").folder
    with pytest.raises(EngineError, match="holds engines already"):
        build_engines(folder, tmp_path / "out")
    home = exports("hubert-large")[0].folder
    with pytest.raises(EngineError, match="choose another folder"):
        build_engines(home, home)


def test_the_job_tells_its_steps(gpu, exports, tmp_path):
    class Listener(Silent):
        heard = ()

        def note(self, message):
            self.heard += (message,)

    progress = Listener()
    built = build_trt(exports("moonshine-tiny")[0].folder, tmp_path, SHORT, progress=progress)
    assert built.bytes == sum(path.stat().st_size for path in built.files)
    steps = "check encode", "build encode", "check step", "build step", "read back coverage"
    assert progress.heard == steps


@pytest.mark.parametrize("options", [{"seconds": ()}, {"batch": 0}, {"workspace": 0}, {"level": 6}])
def test_wrong_options_are_refused(options):
    with pytest.raises(RecipeError):
        BuildOptions(**options)


def test_wrong_types_are_refused(build):
    recognizer = load_recognizer(build("hubert-large").folder, engine="tensorrt")
    with pytest.raises(EngineError, match="wave is float64, not float32"):
        recognizer.logits(np.zeros((1, 8000)))


def test_the_inspector_of_both_versions_is_understood():
    layers = [
        {
            "Inputs": [{"Format/Datatype": "Thirty-two wide Int8 format"}],
            "Metadata": "[ONNX Layer: a]\x1e[ONNX Layer: b]",
        },
        {"Inputs": [{"Format": "Row major", "DataType": "Int8"}], "Metadata": "[ONNX Layer: c]"},
        {"Inputs": [{"Format/Datatype": "Row major linear FP32"}], "Metadata": "[ONNX Layer: d]"},
        "a layer without details",
    ]
    assert integer_layers(json.dumps({"Layers": layers})) == {"a", "b", "c"}
    assert integer_layers("{}") == set()
