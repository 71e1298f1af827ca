"""Weights in groups: both engines hold 4 bits and compute what float arithmetic on the same grid gives."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from speechquant.engines import EngineOptions, load_recognizer, read_coverage
from speechquant.engines.export import export_onnx
from speechquant.engines.export.dialects.nbits import pack_blocks
from speechquant.engines.openvino import OpenVINOGraph
from speechquant.errors import EngineError
from speechquant.numerics import Entry, QuantSpec, ScaleTable, Site, weight_scales

ENGINES = ["onnxruntime", "openvino"]
EXACT = EngineOptions(threads=1, precision="f32")


def table_of(model, modules, size=64, bits=4, keep=lambda name: True):
    spec = QuantSpec(bits, "group", group_size=size)
    entries = {}
    for name in filter(keep, modules):
        weight = model.operator(name).weight.detach().numpy()
        site = Site(name, "weight", "x")
        entries[site.name] = Entry(site, spec, weight_scales(weight, spec))
    return ScaleTable(entries)


def rounded(weight, entry):
    """Group after group, written for these tests."""
    spec, rows = entry.spec, weight.reshape(len(weight), -1)
    out = np.empty_like(rows)
    for start in range(0, rows.shape[1], spec.group_size):
        part = slice(start, start + spec.group_size)
        scale = entry.scale[:, start // spec.group_size, None]
        out[:, part] = np.clip(np.rint(rows[:, part] / scale), spec.qmin, spec.qmax) * scale
    return out.reshape(weight.shape)


@contextmanager
def on_grid(model, table):
    originals = []
    for entry in table:
        weight = model.operator(entry.site.module).weight
        originals.append((weight, weight.data))
        weight.data = torch.from_numpy(rounded(weight.data.numpy(), entry))
    try:
        with torch.no_grad():
            yield
    finally:
        for weight, data in originals:
            weight.data = data


def run(engine, path, feeds):
    if engine == "openvino":
        graph = OpenVINOGraph(path, EXACT)
        found = graph.run({name: graph.put(value) for name, value in feeds.items()})
        return [found[name] for name in graph.outputs]
    # Without our session options: the file alone must keep activations in float.
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(path, options).run(None, feeds)


@pytest.mark.parametrize(("size", "bits", "count"), [(16, 4, 32), (32, 4, 50), (64, 4, 31), (16, 8, 24)])
def test_blocks_have_the_layout_of_the_operator_s_definition(size, bits, count):
    values = (
        np.random.default_rng(0).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (3, count)).astype(np.int8)
    )
    packed = pack_blocks(values, size, bits)
    groups = -(-count // size)
    assert packed.shape == (3, groups, size * bits // 8)
    assert packed.dtype == np.uint8
    for row in range(3):
        for index in range(groups * size):
            place = index % size
            byte = int(packed[row, index // size, place * bits // 8])
            level = byte if bits == 8 else byte >> 4 * (place % 2) & 15
            assert level - 2 ** (bits - 1) == (values[row, index] if index < count else 0)


LINEARS = [
    (96, 40, 32, 4),
    (100, 24, 64, 4),
    (100, 24, 64, 3),
    (100, 24, 64, 8),
    (31, 8, 16, 4),
    (48, 8, 64, 4),
    (288, 24, 64, 4),
    (64, 16, 256, 4),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("shape", LINEARS, ids=str)
def test_a_linear_whatever_its_size(bench, tmp_path, engine, shape):
    inputs, outputs, size, bits = shape
    torch.manual_seed(inputs)
    model = bench(torch.nn.Linear(inputs, outputs, bias=outputs != 24), torch.randn(2, 7, inputs), axis=1)
    table = table_of(model, ["operator"], size, bits)
    made = export_onnx(model, table, tmp_path, engine)
    x = torch.randn(1, 13, inputs)
    with on_grid(model, table):
        expected = torch.tanh(model.operator("operator")(x)).numpy()
    (got,) = run(engine, made.files[0], {"wave": x.numpy()})
    np.testing.assert_allclose(got, expected, atol=3e-6)
    held = bits <= 4 and (engine == "onnxruntime" or inputs % 16 == 0)
    found = made.coverage
    assert (found.int8, found.weights_4bit, found.total) == (0, int(held), 1)
    assert found.expanded == (() if held or bits > 4 else ("operator",))
    assert found.fallbacks == (("operator",) if bits > 4 else ())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("granularity", ["channel", "tensor"])
@pytest.mark.parametrize("shape", [(48, 2), (288, 3), (300, 4), (768, 2)], ids=str)
def test_few_bits_are_held_in_four_whatever_shares_their_scale(bench, tmp_path, engine, granularity, shape):
    inputs, bits = shape
    torch.manual_seed(inputs)
    model = bench(torch.nn.Linear(inputs, 24), torch.randn(2, 7, inputs), axis=1)
    weight = model.operator("operator").weight.detach().numpy()
    spec = QuantSpec(bits, granularity, narrow=True)
    entry = Entry(Site("operator", "weight", "x"), spec, weight_scales(weight, spec, "mse"))
    made = export_onnx(model, ScaleTable({entry.site.name: entry}), tmp_path, engine)
    scale = np.broadcast_to(entry.scale, (24,))[:, None]
    top = 2 ** (bits - 1) - 1
    grid = torch.from_numpy((np.clip(np.rint(weight / scale), -top, top) * scale).astype(np.float32))
    x = torch.randn(1, 13, inputs)
    with torch.no_grad():
        expected = torch.tanh(torch.nn.functional.linear(x, grid, model.operator("operator").bias)).numpy()
    (got,) = run(engine, made.files[0], {"wave": x.numpy()})
    np.testing.assert_allclose(got, expected, atol=5e-6)
    held = engine == "onnxruntime" or inputs % 16 == 0
    assert (made.coverage.weights_4bit, len(made.coverage.expanded)) == (int(held), int(not held))
    # Half a byte for each weight, a fourth for filling and scales that are said again for every block.
    assert sum(file.stat().st_size for file in made.files) < 24 * inputs * 0.75 + 2000


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("size", [16, 64])
def test_a_convolution_is_small_on_disk_and_float_in_memory(bench, tmp_path, engine, groups, size):
    torch.manual_seed(0)
    conv = torch.nn.Conv1d(16, 24, 5, stride=2, padding=2, groups=groups)
    model = bench(conv, torch.randn(2, 16, 40), axis=2)
    table = table_of(model, ["operator"], size)
    made = export_onnx(model, table, tmp_path, engine)
    x = torch.randn(1, 16, 53)
    with on_grid(model, table):
        expected = torch.tanh(conv(x)).numpy()
    (got,) = run(engine, made.files[0], {"wave": x.numpy()})
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert made.coverage.expanded == ("operator",)
    kinds = onnx.TensorProto
    stored = {
        tensor.data_type for tensor in onnx.load(made.files[0]).graph.initializer if len(tensor.dims) > 1
    }
    assert stored == {kinds.INT4, kinds.FLOAT16}


@pytest.fixture(scope="module")
def exported(models, tmp_path_factory):
    made = {}

    def make(arch, engine, **settings):
        key = (arch, engine, str(settings))
        if key not in made:
            model = models(arch)
            modules = dict.fromkeys(site.module for site in model.sites())
            table = table_of(model, modules, **settings)
            made[key] = export_onnx(model, table, tmp_path_factory.mktemp("export"), engine), table
        return made[key]

    return make


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("arch", ["wav2vec2-base", "wavlm-base", "moonshine-tiny"])
def test_whole_models_equal_float_arithmetic(models, exported, noise, arch, engine):
    model, (made, table) = models(arch), exported(arch, engine)
    wave = noise(4001)
    features = model.features(wave)
    with on_grid(model, table):
        out = model.parts()[0].module(features)
        transcript = model.recognizer(signature="grid").recognize([wave])[0]
    expected = [t.numpy() for t in (out if isinstance(out, list) else [out])]
    got = run(engine, made.files[0], {"wave": features.numpy()})
    for a, b in zip(expected, got, strict=True):
        np.testing.assert_allclose(b, a, atol=2e-5)
    found = made.coverage
    assert (found.int8, found.fallbacks, found.small) == (0, (), found.total)
    convolutions = {n for n, part in model.module.named_modules() if isinstance(part, torch.nn.Conv1d)}
    assert convolutions <= set(found.expanded)
    recognizer = load_recognizer(made.folder, engine=engine, vocabulary=model.folder, options=EXACT)
    heard = recognizer.recognize([wave])[0]
    assert (heard.tokens, heard.frames) == (transcript.tokens, transcript.frames)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_the_table_leaves_out_stays_in_float(models, exported, noise, engine):
    def keep(name):
        return "attention" not in name

    model, (made, table) = models("wav2vec2-base"), exported("wav2vec2-base", engine, size=32, keep=keep)
    features = model.features(noise(4001))
    with on_grid(model, table):
        expected = model.parts()[0].module(features).numpy()
    (got,) = run(engine, made.files[0], {"wave": features.numpy()})
    np.testing.assert_allclose(got, expected, atol=2e-5)
    assert made.coverage.broken == ()
    assert made.coverage.fallbacks
    assert all("attention" in name for name in made.coverage.fallbacks)


@pytest.mark.parametrize("engine", ENGINES)
def test_activations_of_8_bits_over_groups_are_computed_in_float(bench, tmp_path, engine):
    torch.manual_seed(0)
    model = bench(torch.nn.Linear(64, 16), torch.randn(2, 7, 64), axis=1)
    weights = table_of(model, ["operator"], 32)
    site = Site("operator", "input", "x")
    table = ScaleTable(
        {**weights.entries, site.name: Entry(site, QuantSpec(8), np.float32(0.03).reshape(()))}
    )
    made = export_onnx(model, table, tmp_path, engine)
    x = torch.randn(1, 9, 64)
    with on_grid(model, weights):
        grid = torch.clamp(torch.round(x / 0.03), -128, 127) * 0.03
        expected = torch.tanh(model.operator("operator")(grid)).numpy()
    (got,) = run(engine, made.files[0], {"wave": x.numpy()})
    np.testing.assert_allclose(got, expected, atol=1e-4)
    assert (made.coverage.int8, made.coverage.broken) == (0, ())


@pytest.mark.parametrize("engine", ENGINES)
def test_the_tied_embedding_is_stored_once(models, exported, engine):
    made, _ = exported("moonshine-tiny", engine)
    weight = models("moonshine-tiny").module.proj_out.weight
    step = onnx.load(made.files[1])
    owners = ("embed_tokens/weight", "proj_out/weight")
    large = [tensor for tensor in step.graph.initializer if tensor.name.endswith(owners)]
    assert len(large) == 1
    # One group of 64 for each of 32 weights: ONNX Runtime's blocks are filled up, OpenVINO's are as long as the row.
    assert len(large[0].raw_data) == weight.numel() // 2 * (2 if engine == "onnxruntime" else 1)


def test_equal_tables_give_equal_bytes(models, exported, tmp_path):
    for engine in ENGINES:
        made, table = exported("wav2vec2-base", engine)
        again = export_onnx(models("wav2vec2-base"), table, tmp_path / engine, engine)
        assert [path.read_bytes() for path in again.files] == [path.read_bytes() for path in made.files]


@pytest.mark.parametrize("engine", ENGINES)
def test_coverage_does_not_trust_the_manifest(models, exported, tmp_path, engine):
    """A float file under a manifest that promises 4 bits."""
    from speechquant.engines.manifest import Manifest

    promised = Manifest.load(exported("wav2vec2-base", engine)[0].folder)
    plain = export_onnx(models("wav2vec2-base"), None, tmp_path, engine)
    found = read_coverage(plain.folder, promised)
    assert (found.int8, found.weights_4bit, len(found.expanded)) == (0, 0, found.total)


def test_group_sizes_that_onnx_runtime_does_not_know(bench, tmp_path):
    model = bench(torch.nn.Linear(96, 8), torch.randn(2, 7, 96), axis=1)
    with pytest.raises(
        EngineError, match=r"operator: ONNX Runtime has no groups of 48 weights; take one of 16"
    ):
        export_onnx(model, table_of(model, ["operator"], 48), tmp_path)


def test_tensorrt_gets_float_weights_on_the_grid(bench, tmp_path):
    torch.manual_seed(0)
    model = bench(torch.nn.Linear(64, 16), torch.randn(2, 7, 64), axis=1)
    table = table_of(model, ["operator"], 32)
    made = export_onnx(model, table, tmp_path, "tensorrt")
    expected = rounded(model.operator("operator").weight.numpy(), table.get("operator:weight"))
    weights = [onnx.numpy_helper.to_array(t) for t in onnx.load(made.files[0]).graph.initializer]
    assert any(w.shape == (64, 16) and np.array_equal(w.T, expected) for w in weights)
    assert made.coverage.fallbacks == ("operator",)
