"""Whole models: the engine computes what the simulation computes, for every family."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from engine_checks import ALL, noise_ratio, plain_session, torch_outputs

from speechquant.engines import load_recognizer
from speechquant.engines.export import export_onnx

LENGTHS = (4001, 6399, 400)


@pytest.fixture(scope="module")
def exported(exports_for):
    return exports_for("onnxruntime")


def engine_outputs(made, features):
    return plain_session(made.files[0]).run(None, {"wave": features.numpy()})


@pytest.mark.parametrize("arch", ALL)
def test_the_float_export_equals_torch(models, exported, noise, arch):
    model, (made, _) = models(arch), exported(arch, quantized=False)
    assert (made.coverage.int8, made.coverage.broken) == (0, ())
    for samples in LENGTHS:
        wave = noise(samples)
        with torch.no_grad():
            expected = torch_outputs(model, model.features(wave))
        for a, b in zip(expected, engine_outputs(made, model.features(wave)), strict=True):
            np.testing.assert_allclose(b, a, atol=2e-5)


@pytest.mark.parametrize("arch", ALL)
def test_int8_equals_the_simulation(models, exported, simulation, noise, arch):
    model, (made, table) = models(arch), exported(arch)
    operators = {site.module for site in model.sites()}
    assert made.coverage.int8 == made.coverage.total == len(operators)
    assert {name for record in made.operators for name in record.modules} == operators
    for samples in LENGTHS:
        wave = noise(samples)
        with torch.no_grad():
            plain = torch_outputs(model, model.features(wave))
        with simulation(model, table):
            expected = torch_outputs(model, model.features(wave))
        got = engine_outputs(made, model.features(wave))
        # A sum that is rounded differently may cross a rounding step further on: rare, and far below the
        # quantization noise itself.
        assert noise_ratio(expected, got) < 0.02 * noise_ratio(expected, plain)


WIDTHS = [(6, 6), (4, 8), (8, 4), (16, 16), (16, 8)]


@pytest.mark.parametrize("case", itertools.product(["wav2vec2-base", "moonshine-tiny"], WIDTHS), ids=str)
def test_other_widths_equal_the_simulation(models, exported, simulation, noise, case):
    arch, (bits, weight_bits) = case
    model, (made, table) = models(arch), exported(arch, bits=bits, weight_bits=weight_bits)
    assert made.coverage.int8 == (made.coverage.total if bits <= 8 else 0)
    wave = noise(4001)
    with simulation(model, table):
        expected = torch_outputs(model, model.features(wave))
    tolerance = 1e-3 if bits > 4 else 3e-2
    assert noise_ratio(expected, engine_outputs(made, model.features(wave))) < tolerance


PARTIAL = {
    "inputs only": lambda site: site.role == "input",
    "weights only": lambda site: site.role == "weight",
    "one block": lambda site: site.layer.endswith(".1"),
    "no attention": lambda site: "attention" not in site.module,
}


@pytest.mark.parametrize("keep", PARTIAL)
def test_partial_tables_leave_the_rest_in_float(models, exported, simulation, noise, keep):
    model, (made, table) = models("wav2vec2-base"), exported("wav2vec2-base", keep=PARTIAL[keep])
    both = {name for name in {s.module for s in model.sites()} if f"{name}:input" in table.entries}
    both = {name for name in both if f"{name}:weight" in table.entries}
    assert made.coverage.int8 == len(both)
    assert made.coverage.broken == ()
    assert not both & set(made.coverage.fallbacks)
    wave = noise(4001)
    with simulation(model, table):
        expected = torch_outputs(model, model.features(wave))
    assert noise_ratio(expected, engine_outputs(made, model.features(wave))) < 1e-4


def test_linears_of_one_input_are_one_product(exported):
    records = exported("wav2vec2-base")[0].operators
    fused = [record.modules for record in records if len(record.modules) > 1]
    assert len(fused) == 2
    assert all(
        [name.rsplit(".", 1)[1] for name in names] == ["q_proj", "k_proj", "v_proj"] for names in fused
    )
    records = exported("moonshine-tiny")[0].operators
    cross = [r.modules for r in records if r.part == "encode" and "decoder" in r.modules[0]]
    assert [len(names) for names in cross] == [4]


@pytest.mark.parametrize("quantized", [True, False])
def test_the_tied_embedding_is_stored_once(models, exported, quantized):
    import onnx

    made, _ = exported("moonshine-tiny", quantized=quantized)
    weight = models("moonshine-tiny").module.proj_out.weight.numpy()
    # Quantized or not, every row keeps its direction.
    direction = weight / np.linalg.norm(weight, axis=1, keepdims=True)
    copies = 0
    for tensor in onnx.load(made.files[1]).graph.initializer:
        values = onnx.numpy_helper.to_array(tensor).astype(np.float32)
        for side in (values, values.T):
            if side.shape == weight.shape:
                unit = side / np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9)
                copies += bool(((unit * direction).sum(1) > 0.999).all())
    assert copies == 1


def test_equal_exports_have_equal_bytes_and_no_paths(models, table_for, exported, tmp_path):
    made, table = exported("hubert-large")
    again = export_onnx(models("hubert-large"), table, tmp_path)
    assert again.files[0].read_bytes() == made.files[0].read_bytes()
    assert (tmp_path / "engine.json").read_bytes() == (made.folder / "engine.json").read_bytes()
    assert b".py" not in made.files[0].read_bytes()


@pytest.mark.parametrize(
    "case", itertools.product(["hubert-large", "moonshine-tiny"], [True, False]), ids=str
)
def test_the_recogniser_writes_what_torch_writes(models, exported, simulation, noise, case):
    arch, quantized = case
    model, (made, table) = models(arch), exported(arch, quantized=quantized)
    waves = [noise(samples, seed) for seed, samples in enumerate((5000, 16000, 900, 16000))]
    recognizer = load_recognizer(made.folder, vocabulary=model.folder, threads=1)
    found = recognizer.recognize(waves)
    with simulation(model, table or ()):
        expected = model.recognizer(signature="x").recognize(waves)
    assert [t.text for t in found] == [t.text for t in expected]
    assert [t.tokens for t in found] == [t.tokens for t in expected]
    assert [t.capped for t in found] == [t.capped for t in expected]
    assert [t.words for t in found] == [t.words for t in expected]
    assert [recognizer.recognize([wave])[0] for wave in waves] == found
    assert (recognizer.sampling_rate, recognizer.length_exact) == (16000, model.length_exact)
