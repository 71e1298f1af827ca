"""The 16-bit form: same nodes, consistent types, close results, and sums and scales still in 32 bits."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from engine_checks import ALL, noise_ratio
from onnx import TensorProto
from test_dialect import plain_session

from speechquant.engines.tensorrt import to_half, validate_tensorrt


def halved(exports, arch, part=0):
    path = exports(arch)[0].files[part]
    return path, to_half(path)


def types(model):
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    return {
        **{value.name: value.type.tensor_type.elem_type for value in (*inferred.input, *inferred.value_info)},
        **{tensor.name: tensor.data_type for tensor in inferred.initializer},
    }


@pytest.mark.parametrize("arch", ALL)
def test_results_stay_close(exports, noise, arch):
    path, model = halved(exports, arch)
    assert validate_tensorrt(model) == []
    wave = noise(4001)[None]
    expected = plain_session(path).run(None, {"wave": wave})
    got = plain_session(model.SerializeToString()).run(None, {"wave": wave})
    assert {value.dtype for value in got} == {np.dtype(np.float32)}
    assert noise_ratio(expected, got) < 5e-3


def test_a_decoder_step_is_fit_too(exports):
    path, model = halved(exports, "moonshine-tiny", 1)
    assert validate_tensorrt(model) == []
    before = onnx.load(path).graph
    assert [i.name for i in model.graph.input] == [i.name for i in before.input]
    assert [o.name for o in model.graph.output] == [o.name for o in before.output]
    assert {node.name for node in before.node} <= {node.name for node in model.graph.node}


@pytest.mark.parametrize("arch", ["wav2vec2-base", "moonshine-tiny"])
def test_what_is_computed_in_16_bits(exports, arch):
    _, model = halved(exports, arch)
    kinds = types(model)
    by_type = {}
    for node in model.graph.node:
        by_type.setdefault(node.op_type, set()).add(kinds.get(node.output[0], TensorProto.FLOAT))
    assert by_type["Gelu"] == {TensorProto.FLOAT16}
    # Attention products; those with weights are integers inside, and float32 outside.
    assert TensorProto.FLOAT16 in by_type["MatMul"]
    for name in ("Softmax", "LayerNormalization", "DequantizeLinear"):
        assert by_type[name] == {TensorProto.FLOAT}
    for name in {"Sin", "Cos"} & set(by_type):
        assert by_type[name] == {TensorProto.FLOAT}


def test_the_original_is_not_changed(exports):
    path = exports("hubert-large")[0].files[0]
    model = onnx.load(path)
    before = model.SerializeToString(deterministic=True)
    to_half(model)
    assert model.SerializeToString(deterministic=True) == before
