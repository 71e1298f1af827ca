"""Every kind of damage is found, and named."""

from __future__ import annotations

import hashlib
import json

import artifact_fakes as fakes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from speechquant.artifact import save_artifact, verify_artifact
from speechquant.artifact.weights import Tensors
from speechquant.errors import ArtifactError


@pytest.fixture
def folder(tmp_path):
    return save_artifact(fakes.contents(tmp_path / "model"), tmp_path / "out").folder


def reseal(folder):
    """Record the present hashes, so that only the contents can be what is wrong."""
    path = folder / "quantization.json"
    values = json.loads(path.read_text())
    for name in values["files"]:
        data = (folder / name).read_bytes()
        values["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    path.write_text(json.dumps(values))


def retensor(folder, change, note_change=None):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    with safe_open(path, framework="numpy") as file:
        note = file.metadata()
    change(tensors)
    if note_change:
        notes = json.loads(note["speechquant"])
        note_change(notes["packed"])
        note["speechquant"] = json.dumps(notes)
    save_file(tensors, path, metadata=note)
    reseal(folder)


def only_problem(folder):
    problems = verify_artifact(folder).problems
    assert len(problems) == 1, problems
    return problems[0]


def test_one_altered_byte(folder):
    path = folder / "report.html"
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.write_bytes(data)
    assert only_problem(folder) == "report.html: altered (its SHA-256 differs)"


def test_a_truncated_and_a_missing_file(folder):
    (folder / "recipe.yaml").write_bytes(b"")
    (folder / "vocab.json").unlink()
    problems = verify_artifact(folder).problems
    assert len(problems) == 2
    assert any("recipe.yaml: has 0 bytes" in p for p in problems)
    assert "vocab.json: missing" in problems


def test_an_extra_file_but_not_a_hidden_one(folder):
    (folder / ".gitattributes").write_text("*.onnx filter=lfs")
    assert verify_artifact(folder).problems == ()
    (folder / "onnx" / "evil.so").write_bytes(b"x")
    assert only_problem(folder) == "onnx/evil.so: does not belong to the artifact"


def test_too_few_packed_bytes(folder):
    retensor(folder, lambda t: t.update({"conv.weight": t["conv.weight"][:-1]}))
    assert "conv.weight" in only_problem(folder)


def test_a_shape_that_does_not_fit(folder):
    retensor(folder, lambda _: None, lambda packed: packed["conv.weight"].update(shape=[6, 5, 4]))
    assert "conv.weight" in only_problem(folder)


def test_other_bits_than_recorded(folder):
    retensor(folder, lambda _: None, lambda packed: packed["conv.weight"].update(bits=4))
    assert "4 bits in model.safetensors, 8 in" in only_problem(folder)


def test_an_integer_outside_the_narrow_range(folder):
    def change(tensors):
        tensors["conv.weight"] = tensors["conv.weight"].copy()
        tensors["conv.weight"][0] = 0x80

    retensor(folder, change)
    assert "integers from -128" in only_problem(folder)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_a_scale_that_is_not_positive_and_finite(folder, value):
    def change(tensors):
        tensors["conv.weight.scale"] = tensors["conv.weight.scale"].copy()
        tensors["conv.weight.scale"][2] = value

    retensor(folder, change)
    assert "conv:weight: a scale is not a positive finite number" in verify_artifact(folder).problems


def test_another_scale_than_the_one_recorded(folder):
    path = folder / "quantization.json"
    values = json.loads(path.read_text())
    values["sites"][0]["scale"] *= 1.0001
    path.write_text(json.dumps(values))
    assert "signature differs" in only_problem(folder)


def test_nan_in_a_float_tensor(folder):
    retensor(folder, lambda t: t.update({"conv.bias": np.full(6, np.nan, np.float32)}))
    assert only_problem(folder) == "conv.bias: holds NaN or infinite values"


def test_a_weight_that_is_gone(folder):
    def change(tensors):
        del tensors["conv.weight"], tensors["conv.weight.scale"]

    retensor(folder, change)
    assert any("conv.weight" in p for p in verify_artifact(folder).problems)


@pytest.mark.parametrize(
    "note",
    [
        "[]",
        "{",
        '{"conv.weight": 3}',
        '{"conv.weight": {"bits": 99, "shape": []}}',
        '{"conv.weight": {"bits": Infinity, "shape": [6]}}',
        '{"conv.weight": {"bits": 8, "shape": [Infinity]}}',
        '{"conv.weight": {"bits": 8, "shape": [1e2]}}',
        f'{{"conv.weight": {{"bits": 8, "shape": {[1] * 73}}}}}',
        f'{{"conv.weight": {{"bits": 8, "shape": [{10**400}]}}}}',
        '{"nowhere.weight": {"bits": 8, "shape": [6]}}',
        '{}, "tied": {"other.weight": "nowhere.weight"}',
    ],
)
def test_malformed_notes(folder, note):
    path = folder / "model.safetensors"
    save_file(load_file(path), path, metadata={"speechquant": f'{{"packed": {note}}}'})
    reseal(folder)
    assert any("malformed" in p for p in verify_artifact(folder).problems)
    with pytest.raises(ArtifactError, match="malformed"):
        Tensors(path)


def test_a_huge_shape_is_refused_without_memory(folder):
    retensor(folder, lambda _: None, lambda packed: packed["conv.weight"].update(shape=[1 << 40, 1 << 20]))
    assert "conv.weight" in only_problem(folder)


def reengine(folder, change):
    path = folder / "onnx" / "engine.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    reseal(folder)


def test_engine_files_that_do_not_match(folder):
    reengine(folder, lambda v: v["files"][0].update(name="other.onnx"))
    problems = verify_artifact(folder).problems
    assert "onnx/other.onnx: named in engine.json but missing" in problems
    assert "onnx/model.onnx: not named in engine.json" in problems


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda v: v["files"][0].update(name="../../x.onnx"), "not a plain file name"),
        (lambda v: v["files"][0].update(sha256="0" * 64), "describes another file"),
        (lambda v: v["operators"][0].update(modules=["ghost"]), "ghost: runs in int8 without a scale"),
        (lambda v: v.update(format=99), "format 99"),
    ],
)
def test_an_engine_manifest_that_is_wrong(folder, change, text):
    reengine(folder, change)
    assert text in only_problem(folder)


def test_no_engine_files(folder):
    (folder / "onnx" / "engine.json").unlink()
    assert any("no engine.json; fetch the artifact again" in p for p in verify_artifact(folder).problems)


def test_checks_are_announced_in_order(folder):
    heard = []
    result = verify_artifact(folder, on_check=lambda *step: heard.append(step))
    assert heard == [(i, len(result.checks), check.name) for i, check in enumerate(result.checks)]
    assert all(check.passed and check.items for check in result.checks)


def test_without_a_manifest_nothing_can_be_judged(tmp_path):
    with pytest.raises(ArtifactError, match="not an artifact"):
        verify_artifact(tmp_path)
