"""OpenVINO: everything really runs in int8, and computes what the simulation computes."""

from __future__ import annotations

import gc
import itertools
import shutil
import subprocess
import sys

import numpy as np
import openvino
import pytest
import torch
from engine_checks import ALL, assert_threads_may_share, noise_ratio, torch_outputs

from speechquant.engines import EngineOptions, load_recognizer, read_coverage
from speechquant.engines.cpu import read_cpu
from speechquant.engines.export import export_onnx
from speechquant.engines.openvino import OpenVINOGraph
from speechquant.errors import EngineError

EXACT = EngineOptions(threads=1, precision="f32")
# Without VNNI, OpenVINO cuts products of 8 by 8 bits off, and has no setting against it: docs/engines.md.
WEIGHT_BITS = 6 if read_cpu().saturates else 8


@pytest.fixture(scope="module")
def exported(exports_for):
    return exports_for("openvino")


def engine_outputs(made, model, wave):
    graph = OpenVINOGraph(made.files[0], EXACT)
    found = graph.run({"wave": graph.put(model.features(wave).numpy())})
    return [graph.get(found[name]) for name in graph.outputs]


@pytest.mark.parametrize("arch", ALL)
def test_int8_equals_the_simulation(models, exported, simulation, noise, arch):
    model, (made, table) = models(arch), exported(arch, weight_bits=WEIGHT_BITS)
    operators = {site.module for site in model.sites()}
    assert made.coverage.int8 == made.coverage.total == len(operators)
    assert {name for record in made.operators for name in record.modules} == operators
    for samples in (16011, 400):
        wave = noise(samples)
        with torch.no_grad():
            plain = torch_outputs(model, model.features(wave))
        with simulation(model, table):
            expected = torch_outputs(model, model.features(wave))
        got = engine_outputs(made, model, wave)
        # Sums are exact; a value near the middle of two steps may round the other way.
        assert noise_ratio(expected, got) < 0.02 * noise_ratio(expected, plain)


@pytest.mark.parametrize("arch", ["wav2vec2-base", "moonshine-tiny"])
def test_the_float_export_equals_torch(models, exported, noise, arch):
    model, (made, _) = models(arch), exported(arch, quantized=False)
    assert (made.coverage.int8, made.coverage.broken) == (0, ())
    wave = noise(4001)
    with torch.no_grad():
        expected = torch_outputs(model, model.features(wave))
    for a, b in zip(expected, engine_outputs(made, model, wave), strict=True):
        np.testing.assert_allclose(b, a, atol=2e-5)


WIDTHS = [
    *itertools.product(["wav2vec2-base"], [(6, 6), (4, 8), (8, 4), (16, 16), (16, 8)]),
    ("moonshine-tiny", (4, 8)),
]


@pytest.mark.parametrize("case", WIDTHS, ids=str)
def test_other_widths_equal_the_simulation(models, exported, simulation, noise, case):
    """16-bit activations over 8-bit weights fail here if the engine quantizes the activations by itself."""
    arch, (bits, weight_bits) = case
    model, (made, table) = models(arch), exported(arch, bits=bits, weight_bits=weight_bits)
    assert made.coverage.int8 == (made.coverage.total if bits <= 8 else 0)
    wave = noise(4001)
    with simulation(model, table):
        expected = torch_outputs(model, model.features(wave))
    tolerance = {4: 3e-2, 16: 1e-7}.get(bits, 1e-3)
    assert noise_ratio(expected, engine_outputs(made, model, wave)) < tolerance


PARTIAL = {
    "inputs only": lambda site: site.role == "input",
    "weights only": lambda site: site.role == "weight",
    "no attention": lambda site: "attention" not in site.module,
}


@pytest.mark.parametrize("keep", PARTIAL)
def test_partial_tables_leave_the_rest_in_float(models, exported, simulation, noise, keep):
    model, (made, table) = (
        models("wav2vec2-base"),
        exported("wav2vec2-base", weight_bits=WEIGHT_BITS, keep=PARTIAL[keep]),
    )
    names = {site.module for site in model.sites()}
    both = {name for name in names if {f"{name}:input", f"{name}:weight"} <= table.entries.keys()}
    assert set(made.coverage.fallbacks) == names - both
    assert made.coverage.broken == ()
    wave = noise(4001)
    with simulation(model, table):
        expected = torch_outputs(model, model.features(wave))
    assert noise_ratio(expected, engine_outputs(made, model, wave)) < 1e-4


@pytest.mark.parametrize(
    "case", itertools.product(["hubert-large", "moonshine-tiny"], [True, False]), ids=str
)
def test_the_recogniser_writes_what_torch_writes(models, exported, simulation, noise, case):
    arch, quantized = case
    model, (made, table) = models(arch), exported(arch, quantized=quantized)
    waves = [noise(samples, seed) for seed, samples in enumerate((5000, 16000, 900, 16000))]
    recognizer = load_recognizer(made.folder, engine="openvino", vocabulary=model.folder, options=EXACT)
    found = recognizer.recognize(waves)
    with simulation(model, table or ()):
        expected = model.recognizer(signature="x").recognize(waves)
    assert [t.text for t in found] == [t.text for t in expected]
    assert [t.tokens for t in found] == [t.tokens for t in expected]
    assert [t.words for t in found] == [t.words for t in expected]
    assert [recognizer.recognize([wave])[0] for wave in waves] == found
    assert (recognizer.backend, recognizer.length_exact) == ("openvino", model.length_exact)


@pytest.mark.parametrize("arch", ["hubert-large", "moonshine-tiny"])
def test_short_audio_does_not_spoil_what_follows(models, exported, noise, arch):
    """Engines generate code by shape, and attention over a few frames may not serve for many."""
    model, (made, _) = models(arch), exported(arch, quantized=False)
    graph = OpenVINOGraph(made.files[0], EXACT)
    for samples in (900, 5100, 16_000, 900, 40_000):
        wave = noise(samples)
        with torch.no_grad():
            expected = torch_outputs(model, model.features(wave))
        found = graph.run({"wave": graph.put(model.features(wave).numpy())})
        for a, b in zip(expected, [graph.get(found[name]) for name in graph.outputs], strict=True):
            np.testing.assert_allclose(b, a, atol=2e-5)


def test_a_long_text_stays_right(models, exported):
    """The cache grows from nothing past every block size of the engine's kernels."""
    model, (made, _) = models("moonshine-tiny"), exported("moonshine-tiny", quantized=False)
    graph, part = OpenVINOGraph(made.files[1], EXACT), model.parts()[1]
    own = [name for name in part.input_names if name.startswith("self_")]
    shape = tuple(part.inputs[4][0].shape[1:])
    names = [name for name in part.input_names if name.startswith("cross_") and name != "cross_mask"]
    cross = {
        n: np.random.default_rng(i).normal(size=(1, *shape)).astype(np.float32) for i, n in enumerate(names)
    }
    mask = np.ones((1, shape[1]), bool)
    theirs = [torch.zeros(1, shape[0], 0, shape[2]) for _ in own]
    ours = {name: value.numpy() for name, value in zip(own, theirs, strict=True)}
    for step in range(40):
        token, position = np.array([[step % 20]]), np.array([step])
        with torch.no_grad():
            memory = [torch.from_numpy(array) for array in cross.values()]
            logits, theirs = part.module(
                torch.from_numpy(token), torch.from_numpy(position), torch.from_numpy(mask), theirs, memory
            )
        found = graph.run({"token": token, "position": position, "cross_mask": mask, **cross, **ours})
        ours = {name: found[f"new_{name}"] for name in own}
        np.testing.assert_allclose(found["logits"].reshape(1, -1), logits.numpy(), atol=5e-5)


def test_threads_may_share_a_recogniser(models, exported, noise):
    made, _ = exported("moonshine-tiny")
    recognizer = load_recognizer(
        made.folder, engine="openvino", vocabulary=models("moonshine-tiny").folder, options=EXACT
    )
    assert_threads_may_share(recognizer, [noise(4000 + 777 * i, seed=i) for i in range(5)])


def test_outputs_outlive_later_runs(exported, noise):
    """An engine's tensor may borrow memory from an array that nobody else keeps."""
    graph = OpenVINOGraph(exported("hubert-large")[0].files[0], EXACT)
    waves = [noise(20_000, seed)[None] for seed in range(6)]
    kept = [graph.run({"wave": graph.put(wave)})["logits"] for wave in waves]
    gc.collect()
    rubbish = [np.full(kept[0].shape, 7.0, np.float32) for _ in range(50)]
    again = [graph.get(graph.run({"wave": graph.put(wave)})["logits"]) for wave in waves]
    for one, two in zip(kept, again, strict=True):
        np.testing.assert_array_equal(graph.get(one), two)
    assert len(rubbish) == 50


def test_the_tied_embedding_is_stored_once(models, exported):
    import onnx

    made, table = exported("moonshine-tiny")
    weight = models("moonshine-tiny").module.proj_out.weight.numpy()
    steps = np.rint(weight / table.get("proj_out:weight").scale[:, None])
    tensors = [onnx.numpy_helper.to_array(t) for t in onnx.load(made.files[1]).graph.initializer]
    copies = [t.dtype for t in tensors for side in (t, t.T) if np.array_equal(side, steps)]
    assert copies == [np.int8]
    assert not [t for t in tensors if t.dtype == np.float32 and t.size == weight.size]


def test_precision_and_version_are_part_of_the_signature(models, exported, monkeypatch):
    made, _ = exported("hubert-large")

    def signature(made=made, arch="hubert-large", **settings):
        options, folder = EngineOptions(threads=1, **settings), models(arch).folder
        return load_recognizer(made.folder, engine="openvino", vocabulary=folder, options=options).signature

    def speaking(**settings):
        return signature(exported("moonshine-tiny")[0], "moonshine-tiny", **settings)

    monkeypatch.setattr("speechquant.engines.openvino._able", lambda: True)
    assert signature(precision="bf16") == signature() != signature(precision="f32")
    assert speaking(precision="bf16") != speaking() == speaking(precision="f32")
    monkeypatch.setattr("speechquant.engines.openvino._able", lambda: False)
    exact = signature()
    assert exact == signature(precision="f32")
    with pytest.raises(EngineError, match="no bf16; take precision f32"):
        signature(precision="bf16")
    monkeypatch.setattr(openvino, "__version__", "2099.1")
    assert signature() != exact


def test_a_cache_holds_the_compiled_model(models, exported, noise, tmp_path):
    made, _ = exported("hubert-large")
    options = EngineOptions(threads=1, precision="f32", cache=tmp_path / "cache")
    first, second = (
        load_recognizer(
            made.folder, engine="openvino", vocabulary=models("hubert-large").folder, options=options
        )
        for _ in range(2)
    )
    assert list((tmp_path / "cache").glob("*.blob"))
    assert first.recognize([noise(6000)]) == second.recognize([noise(6000)])


def test_coverage_does_not_trust_the_manifest(models, exported, tmp_path):
    """A float graph under the manifest of a quantized one: every operator is a fallback, and a defect."""
    quantized, _ = exported("moonshine-tiny")
    plain, _ = exported("moonshine-tiny", quantized=False)
    shutil.copytree(quantized.folder, tmp_path, dirs_exist_ok=True)
    for path in plain.files:
        shutil.copy(path, tmp_path)
    found = read_coverage(tmp_path)
    assert (found.int8, found.total) == (0, quantized.coverage.total)
    assert found.fallbacks == found.broken


@pytest.mark.parametrize("content", [b"", None])
def test_a_broken_graph_is_named(models, exported, tmp_path, content):
    made, _ = exported("hubert-large")
    shutil.copytree(made.folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "model.onnx"
    path.write_bytes(path.read_bytes()[:-5000] if content is None else content)
    with pytest.raises(EngineError) as caught:
        load_recognizer(tmp_path, engine="openvino", vocabulary=models("hubert-large").folder)
    assert f"OpenVINO cannot load {path}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nonsense_is_refused(models, exported, tmp_path):
    made, folder = exported("hubert-large")[0], models("hubert-large").folder
    with pytest.raises(EngineError, match="unknown precision 'f8'"):
        EngineOptions(precision="f8")
    with pytest.raises(EngineError, match="was exported for openvino, not for onnxruntime; run `speechquant"):
        load_recognizer(made.folder)
    export_onnx(models("hubert-large"), None, tmp_path)
    with pytest.raises(EngineError, match="no bf16 on CPUs"):
        load_recognizer(tmp_path, vocabulary=folder, options=EngineOptions(precision="bf16"))


INTERRUPTED = """
import signal, sys
from pathlib import Path
from speechquant.engines import EngineOptions
from speechquant.engines.openvino import OpenVINOGraph
path, options = Path(sys.argv[1]), EngineOptions(threads=1)
first = OpenVINOGraph(path, options)
second = OpenVINOGraph(path, options)
del first
del second
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_is_an_interrupt_after_models_ended_out_of_order(exported):
    made = exported("hubert-large")[0]
    # faulthandler too, as every pytest, has a stack for signal handlers that must stay the one in use.
    command = [sys.executable, "-X", "faulthandler", "-c", INTERRUPTED, str(made.files[0])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr
