"""Peers are made and run on tiny models; the float model in PyTorch, run by the product itself, is the oracle."""

import logging

import numpy as np
import pytest
from fidelity import Parity
from forced import logits_of, record_steps
from peer_files import Case, _make, maker
from peers import find, open_system

pytest.importorskip("onnxruntime.quantization")
import peer_onnxruntime
import peer_ours

from speechquant.engines.export import export_onnx
from speechquant.metrics import score
from speechquant.models import load_model
from speechquant.models.random import random_model

assert peer_onnxruntime
assert peer_ours


@pytest.fixture(scope="module", params=["hubert-large", "moonshine-tiny"])
def case(request, tmp_path_factory):
    logging.getLogger().setLevel(logging.ERROR)
    case = Case(request.param, tmp_path_factory.mktemp("work"))
    export_onnx(random_model(case.name, case.model, tiny=True), None, case.folder("ort-f32"))
    return case


@pytest.fixture(scope="module")
def wave():
    return np.random.default_rng(1).normal(0, 0.1, 24_000).astype(np.float32)


def parity(case, key, wave, tokens):
    made = _make(case, find(key).files) if find(key).files != "ort-f32" else None
    assert made is None or not made.error
    recognizers = [
        open_system(name, case.folder(find(name).files), case.model, 1) for name in ("ort-f32", key)
    ]
    found = Parity()
    found.add(*(logits_of(recognizer, wave, tokens) for recognizer in recognizers))
    return made, found


def expected_tokens(case, wave):
    return load_model(str(case.model)).recognizer().recognize([wave])[0].tokens


def test_pytorch_and_our_float_file_compute_the_same(case, wave):
    made, found = parity(case, "torch-f32", wave, expected_tokens(case, wave))
    assert found.agreement == 100
    assert found.sqnr > 80
    assert made.coverage.int8 == 0
    assert made.bytes > sum(parameter.nbytes for parameter in load_model(str(case.model)).module.parameters())


@pytest.mark.parametrize(
    ("key", "least"), [("ort-dynamic", 15), ("ort-dynamic-best", 15), ("torch-bf16", 20)]
)
def test_a_peer_computes_nearly_the_same(case, wave, key, least):
    made, found = parity(case, key, wave, expected_tokens(case, wave))
    assert least < found.sqnr < 70
    assert not found.suspect
    if key == "ort-dynamic":
        assert made.coverage.int8 > 0.8 * made.coverage.total
        assert made.bytes < sum(file.size for file in case.manifest.files)


def test_teacher_forcing_asks_what_free_decoding_answers(case, wave):
    if case.name != "moonshine-tiny":
        pytest.skip("CTC has no decoder")
    recognizer = open_system("ort-f32", case.folder("ort-f32"), case.model, 1)
    tokens = expected_tokens(case, wave)
    best = logits_of(recognizer, wave, tokens).argmax(axis=-1)
    assert tuple(best[: len(tokens)]) == tokens
    steps = record_steps(recognizer, [wave])
    assert [int(step["token"][0, 0]) for step in steps[1:]] == list(tokens[: len(steps) - 1])
    assert [step["self_key.0"].shape[2] for step in steps] == list(range(len(steps)))
    # OpenVINO refuses numpy's other integer of 64 bits, although it compares equal.
    assert steps[0]["token"].dtype.char == np.dtype(np.int64).char


def test_what_a_tool_raises_becomes_one_line_and_is_not_tried_again(tmp_path):
    @maker("broken-for-test")
    def fail(case, folder):
        raise RuntimeError("first\nsecond")

    found = _make(Case("hubert-large", tmp_path), "broken-for-test")
    assert found.error == "RuntimeError: first"
    assert (tmp_path / "hubert-large" / "broken-for-test" / "files.json").is_file()


def test_accuracy_is_that_of_the_whole_recogniser(case, wave):
    pytest.importorskip("nncf")
    openvino = pytest.importorskip("openvino")
    from peer_nncf_control import words_right

    waves = [wave, wave[:16_000]]
    heard = [one.text for one in load_model(str(case.model)).recognizer().recognize(waves)]
    texts = ["not a word of it", heard[1] or "silence"]
    models = {
        file.part: openvino.Core().read_model(case.folder("ort-f32") / file.name)
        for file in case.manifest.files
    }
    first = next(iter(models))
    tried = openvino.compile_model(models.pop(first), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    accuracy, each = words_right(case, first, models)(tried, iter(zip(texts, waves, strict=True)))
    normalizer = "whisper-english" if case.manifest.runtime.writes_punctuation else "upper"
    expected = score(dict(enumerate(texts)), dict(enumerate(heard)), normalizer=normalizer)
    assert accuracy == pytest.approx(1 - expected.wer / 100)
    assert each == [-one.errors.errors for one in expected.utterances]
