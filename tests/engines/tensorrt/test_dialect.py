"""The written graphs compute what the simulation computes, judged by two evaluators that know no int8 kernels."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from engine_checks import ALL, noise_ratio, torch_outputs
from onnx.reference import ReferenceEvaluator

from speechquant.engines import load_recognizer
from speechquant.engines.export import dialect_names, export_onnx
from speechquant.engines.tensorrt import integer_nodes, validate_tensorrt
from speechquant.errors import EngineError


def plain_session(path):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options)


def test_the_dialect_is_registered():
    assert "tensorrt" in dialect_names()


@pytest.mark.parametrize("quantized", [True, False])
@pytest.mark.parametrize("arch", ALL)
def test_a_graph_breaks_no_rule(exports, arch, quantized):
    made, _ = exports(arch, quantized=quantized)
    assert {str(path.name): validate_tensorrt(path) for path in made.files} == {
        path.name: [] for path in made.files
    }


@pytest.mark.parametrize("arch", ALL)
def test_every_operator_multiplies_dequantized_integers(models, exports, arch):
    made, _ = exports(arch)
    operators = {site.module for site in models(arch).sites()}
    assert {name for record in made.operators for name in record.modules} == operators
    for path in made.files:
        nodes = {record.node for record in made.operators if record.part == path.stem}
        assert integer_nodes(path, sorted(nodes)) == nodes


@pytest.mark.parametrize("arch", ALL)
def test_plain_arithmetic_equals_the_simulation(models, exports, simulation, noise, arch):
    model, (made, table) = models(arch), exports(arch)
    session = plain_session(made.files[0])
    for samples in (4001, 6399, 400):
        features = model.features(noise(samples))
        with torch.no_grad():
            plain = torch_outputs(model, features)
        with simulation(model, table):
            expected = torch_outputs(model, features)
        got = session.run(None, {"wave": features.numpy()})
        # A value on the edge of a step may fall to the other side: rare, far below the quantization noise.
        assert noise_ratio(expected, got) < 0.02 * noise_ratio(expected, plain)


@pytest.mark.parametrize("arch", ["wav2vec2-base", "hubert-large", "moonshine-tiny"])
def test_the_reference_evaluator_equals_the_simulation(models, exports, simulation, noise, arch):
    model, (made, table) = models(arch), exports(arch)
    features = model.features(noise(1300))
    with torch.no_grad():
        plain = torch_outputs(model, features)
    with simulation(model, table):
        expected = torch_outputs(model, features)
    got = ReferenceEvaluator(str(made.files[0])).run(None, {"wave": features.numpy()})
    assert noise_ratio(expected, got) < 0.02 * noise_ratio(expected, plain)


@pytest.mark.parametrize("evaluator", [plain_session, lambda path: ReferenceEvaluator(str(path))])
@pytest.mark.parametrize("past", [0, 3])
def test_a_decoder_step_equals_the_simulation(models, exports, simulation, past, evaluator):
    model, (made, table) = models("moonshine-tiny"), exports("moonshine-tiny")
    part, rng = model.parts()[1], np.random.default_rng(past)
    token, _, mask, own, cross = part.inputs
    feeds = [
        torch.tensor(rng.integers(0, model.module.proj_out.out_features, tuple(token.shape))),
        torch.tensor([past]),
        torch.tensor(rng.random(tuple(mask.shape)) < 0.7).logical_or(torch.arange(mask.shape[1]) == 0),
        [
            torch.tensor(rng.standard_normal((*t.shape[:2], past, t.shape[3])), dtype=torch.float32)
            for t in own
        ],
        [torch.tensor(rng.standard_normal(tuple(t.shape)), dtype=torch.float32) for t in cross],
    ]
    with torch.no_grad():
        logits, caches = part.module(*feeds)
        plain = [logits.numpy(), *(c.numpy() for c in caches)]
    with simulation(model, table):
        logits, caches = part.module(*feeds)
        expected = [logits.numpy(), *(c.numpy() for c in caches)]
    flat = [t for entry in feeds for t in (entry if isinstance(entry, list) else [entry])]
    got = evaluator(made.files[1]).run(
        None, {name: t.numpy() for name, t in zip(part.input_names, flat, strict=True)}
    )
    # Of two rows, one step that falls to the other side is a visible share; both ways must stay below noise.
    assert noise_ratio(expected, got) < 0.05 * noise_ratio(expected, plain)


@pytest.mark.parametrize(
    "case", itertools.product(["wav2vec2-base", "moonshine-tiny"], [(6, 6), (4, 8), (16, 8)]), ids=str
)
def test_other_widths_equal_the_simulation(models, exports, simulation, noise, case):
    arch, (bits, weight_bits) = case
    model, (made, table) = models(arch), exports(arch, bits=bits, weight_bits=weight_bits)
    features = model.features(noise(4001))
    with simulation(model, table):
        expected = torch_outputs(model, features)
    got = plain_session(made.files[0]).run(None, {"wave": features.numpy()})
    assert noise_ratio(expected, got) < (1e-3 if bits > 4 else 3e-2)
    assert validate_tensorrt(made.files[0]) == []


SCALE, WEIGHT_SCALE = 2.0**-5, 2.0**-6
CONVS = [
    # channels in, out, kernel, stride, padding, groups, bits
    (1, 6, 10, 5, 0, 1, 8),
    (8, 6, 3, 2, 1, 1, 8),
    (8, 8, 16, 1, 8, 4, 8),
    (8, 12, 19, 1, 9, 2, 4),
]


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("geometry", CONVS, ids=str)
def test_a_convolution_is_exact(bench, simulation, tmp_path, geometry, dilation):
    inputs, out, kernel, stride, padding, groups, bits = geometry
    conv = torch.nn.Conv1d(inputs, out, kernel, stride, padding, dilation, groups, bias=kernel % 2 == 0)
    rng = np.random.default_rng(kernel)
    with torch.no_grad():
        for parameter in conv.parameters():
            steps = rng.integers(-127, 128, tuple(parameter.shape))
            parameter.copy_(torch.tensor(steps * WEIGHT_SCALE * (1 if parameter.dim() > 1 else SCALE)))
    model = bench(conv, torch.zeros(2, inputs, 5 * kernel), axis=2)
    table = model.table(SCALE, np.full(out, WEIGHT_SCALE * 2 ** (8 - bits)), bits)
    made = export_onnx(model, table, tmp_path, dialect="tensorrt")
    x = (rng.integers(-300, 300, (2, inputs, 4 * kernel + 3)) * SCALE / 2).astype(np.float32)
    with simulation(model, table):
        expected = np.tanh(conv(torch.tensor(x)).numpy())
    np.testing.assert_allclose(plain_session(made.files[0]).run(None, {"wave": x})[0], expected, atol=2e-6)
    # The bench names its time axis otherwise; nothing else may be wrong.
    assert {problem.rule for problem in validate_tensorrt(made.files[0])} == {"profile"}


def test_weights_are_stored_as_integers_and_the_tied_one_once(models, exports):
    made, _ = exports("moonshine-tiny")
    tensors = [onnx.numpy_helper.to_array(t) for t in onnx.load(made.files[1]).graph.initializer]
    matrices = [t for t in tensors if t.ndim == 2 and t.size > 64]
    assert {t.dtype for t in matrices} == {np.dtype(np.int8)}
    # Every row of the quantized weight keeps its direction.
    weight = models("moonshine-tiny").module.proj_out.weight.numpy()
    copies = 0
    for side in (t.astype(np.float32) for m in matrices for t in (m, m.T) if t.shape == weight.shape):
        lengths = np.linalg.norm(side, axis=1) * np.linalg.norm(weight, axis=1)
        copies += bool(((side * weight).sum(1) > 0.999 * lengths).all())
    assert copies == 1


def test_graphs_are_no_engines(gpu, exports):
    made, _ = exports("hubert-large")
    with pytest.raises(EngineError, match="speechquant build-trt"):
        load_recognizer(made.folder, engine="tensorrt")
