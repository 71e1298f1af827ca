"""Products of the largest integers come out whole, whatever the processor does with them by default."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from engine_checks import noise_ratio, torch_outputs
from onnx import TensorProto, helper, numpy_helper

from speechquant.engines import EngineOptions, load_recognizer, session
from speechquant.engines.cpu import Cpu
from speechquant.engines.export import export_onnx
from speechquant.engines.session import SessionOptions, open_session
from speechquant.simulation import activation_table, observe, quantized, weight_table

ROWS, INPUTS, OUTPUTS = 40, 256, 48
CONSTANTS = {
    "scale": np.float32(0.5),
    "zero": np.int8(0),
    "weight_scale": np.full(OUTPUTS, 0.25, np.float32),
    "weight_zero": np.zeros(OUTPUTS, np.int8),
}


@pytest.fixture
def product(tmp_path):
    """A Linear in QDQ form whose integers are as large as they can be, and its weight."""
    weight = np.random.default_rng(3).choice([-127, 126, 127], (INPUTS, OUTPUTS)).astype(np.int8)
    initializers = [
        numpy_helper.from_array(np.asarray(v), k) for k, v in {**CONSTANTS, "weight": weight}.items()
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node("DequantizeLinear", ["weight", "weight_scale", "weight_zero"], ["w"], axis=1),
        helper.make_node("MatMul", ["d", "w"], ["y"]),
    ]
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [ROWS, size])]
        for name, size in (("x", INPUTS), ("y", OUTPUTS))
    ]
    graph = helper.make_graph(nodes, "product", *ends, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, tmp_path / "product.onnx")
    return tmp_path / "product.onnx", weight


def test_sums_of_the_largest_products_are_exact(product):
    path, weight = product
    integers = np.random.default_rng(4).choice([-128, 126, 127], (ROWS, INPUTS))
    (found,) = open_session(path, SessionOptions(1)).run(None, {"x": (0.5 * integers).astype(np.float32)})
    # Multiples of an eighth below 2^22: float32 has them all.
    np.testing.assert_array_equal(found, 0.125 * (integers @ weight.astype(np.int64)))


@pytest.mark.parametrize(("features", "exact"), [(("avx2",), True), (("avx2", "avx-vnni"), False)])
def test_exact_kernels_are_asked_for_where_fast_ones_are_not(product, monkeypatch, features, exact):
    monkeypatch.setattr(session, "read_cpu", lambda: Cpu("c", "x86_64", features))
    options = open_session(product[0], SessionOptions(1)).get_session_options()
    entry = "session.x64quantprecision"
    if exact:
        assert options.get_session_config_entry(entry) == "1"
    else:
        with pytest.raises(RuntimeError, match=entry):
            options.get_session_config_entry(entry)


@pytest.mark.parametrize("own", [(), ("transformer.0",)], ids=["weights alone", "all but one block"])
def test_files_with_integers_for_weights_alone_load_and_are_exact_too(
    models, noise, tmp_path, monkeypatch, own
):
    monkeypatch.setattr(session, "read_cpu", lambda: Cpu("c", "x86_64", ("avx2",)))
    model, wave = models("hubert-large"), noise(9000)
    table = weight_table(model, model.sites(), bits=8)
    if own:
        sites = [site for site in model.sites() if site.layer not in own]
        histograms = observe(model, [wave])
        table = table.merged(activation_table(sites, histograms=histograms, calibrator="max", bits=8))
    export_onnx(model, table, tmp_path)
    engine = load_recognizer(tmp_path, vocabulary=model.folder, options=EngineOptions(1))
    with quantized(model, table), torch.no_grad():
        expected = torch_outputs(model, model.features(wave))
    assert noise_ratio(expected, [engine.logits(wave)[None]]) < 1e-4


def test_transcripts_of_other_products_are_not_taken_for_these(models, tmp_path, monkeypatch):
    model, signatures = models("hubert-large"), []
    export_onnx(model, None, tmp_path)
    for features in (("avx2",), ("avx2", "avx-vnni")):
        monkeypatch.setattr(session, "read_cpu", lambda features=features: Cpu("c", "x86_64", features))
        options = EngineOptions(1)
        signatures.append(load_recognizer(tmp_path, vocabulary=model.folder, options=options).signature)
    assert len(set(signatures)) == 2
