"""Equal signatures may share stored results, so whatever decides a result must decide the signature."""

from __future__ import annotations

import json

from speechquant.models import base, load_model
from speechquant.models.random import random_model


def test_preprocessing_decides_the_signature(tmp_path):
    before = random_model("wav2vec2-base", tmp_path / "model", tiny=True)
    path = tmp_path / "model" / "preprocessor_config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps(settings | {"do_normalize": not settings["do_normalize"]}))
    after = load_model(str(tmp_path / "model"))
    assert before.runtime.normalize != after.runtime.normalize
    assert before.signature != after.signature
    assert before.results_signature != after.results_signature


def test_the_code_decides_the_signature_of_results_alone(tmp_path, monkeypatch):
    model = random_model("wav2vec2-base", tmp_path, tiny=True)
    signature, results = model.signature, model.results_signature
    assert load_model(str(tmp_path)).results_signature == results
    monkeypatch.setattr(base, "RESULTS_VERSION", base.RESULTS_VERSION + 1)
    assert model.signature == signature
    assert model.results_signature != results
    assert model.recognizer().signature == model.results_signature
