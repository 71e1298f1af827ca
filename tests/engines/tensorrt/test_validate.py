"""Every rule lets the export pass and finds the graph in which just that was broken."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from broken_graphs import BROKEN, Edit, change_scale, other_axis, quantized_bias, unknown_axis, unsigned
from onnx import TensorProto, helper, numpy_helper

from speechquant.engines.tensorrt import Problem, rule_names, validate_tensorrt
from speechquant.errors import EngineError


@pytest.fixture(scope="module")
def good(exports):
    made, _ = exports("hubert-large")
    return onnx.load(made.files[0])


def test_the_export_breaks_no_rule(good):
    assert validate_tensorrt(good) == []


@pytest.mark.parametrize(("rule", "change"), BROKEN, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_graph_is_found(good, rule, change):
    edit = Edit(good)
    change(edit)
    found = validate_tensorrt(edit.model)
    assert rule in {problem.rule for problem in found}
    assert all("\n" not in str(problem) for problem in found)


def test_every_rule_has_a_broken_graph():
    assert {rule for rule, _ in BROKEN} == set(rule_names())


@pytest.mark.parametrize("change", [change_scale(0.0), other_axis("MatMul"), quantized_bias, unknown_axis])
def test_a_problem_names_the_node_and_only_its_own_rule_is_broken(good, change):
    edit = Edit(good)
    change(edit)
    (problem,) = validate_tensorrt(edit.model)
    names = {node.name for node in edit.graph.node} | {value.name for value in edit.graph.input}
    assert isinstance(problem, Problem)
    assert problem.node in names
    assert problem.node in str(problem)


def turned_weight(axis):
    """x @ W.T with a square W, whose scales fit along both axes."""
    grid = ["scale", "zero"]
    nodes = [
        helper.make_node("DequantizeLinear", ["weight", *grid], ["floats"], name="weight", axis=axis),
        helper.make_node("Transpose", ["floats"], ["turned"], name="turn", perm=[1, 0]),
        helper.make_node("MatMul", ["wave", "turned"], ["logits"], name="product"),
    ]
    values = [
        numpy_helper.from_array(np.eye(4, dtype=np.int8), "weight"),
        numpy_helper.from_array(np.full(4, 0.1, np.float32), "scale"),
        numpy_helper.from_array(np.zeros(4, np.int8), "zero"),
    ]
    wave, logits = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in ("wave", "logits")
    )
    graph = helper.make_graph(nodes, "g", [wave], [logits], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def test_the_axis_is_followed_through_a_transpose():
    assert validate_tensorrt(turned_weight(0)) == []
    assert [problem.rule for problem in validate_tensorrt(turned_weight(1))] == ["axis"]


def test_what_a_file_says_about_a_value_is_not_believed(good):
    edit = Edit(good)
    unsigned(edit)
    stale = {value.type.tensor_type.elem_type for value in edit.graph.value_info}
    assert TensorProto.INT8 in stale
    assert "signed" in {problem.rule for problem in validate_tensorrt(edit.model)}


def test_a_file_that_is_no_graph_is_refused(tmp_path):
    path = tmp_path / "a.onnx"
    path.write_bytes(b"not a graph")
    with pytest.raises(EngineError, match="not a readable ONNX file"):
        validate_tensorrt(path)
    with pytest.raises(EngineError, match="not a readable ONNX file"):
        validate_tensorrt(tmp_path / "none.onnx")
