"""The setting `rounding` from the recipe to the artifact: everything holds the very same integers."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import soundfile
import torch

from speechquant.artifact import load_artifact, verify_artifact
from speechquant.data import usable
from speechquant.engines import load_recognizer
from speechquant.errors import DataError, RecipeError
from speechquant.jobs.quantization import quantize, workbench
from speechquant.jobs.recipe import Recipe, load_recipe
from speechquant.learn import rounding_names
from speechquant.metrics import argmax_agreement
from speechquant.models import load_model
from speechquant.models.random import random_model
from speechquant.numerics import quantize as to_integers

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("rounding"), np.random.default_rng(5)
    random_model("wav2vec2-large-lv60", root / "model", tiny=True)
    for role in ("calibration", "dev", "test"):
        (root / role).mkdir()
        for i in range(2):
            noise = (0.1 * rng.standard_normal(6400 + 1000 * i)).astype(np.float32)
            soundfile.write(root / role / f"{i}.wav", noise, 16_000)
            (root / role / f"{i}.txt").write_text("SOME MORE WORDS")
    roles = {role: str(root / role) for role in ("calibration", "dev", "test")}
    return {"model": str(root / "model"), "method": "max", "bits": "w4a8", "threads": 1, **roles}


@pytest.fixture(scope="module")
def outcome(settings, tmp_path_factory):
    output = tmp_path_factory.mktemp("out") / "artifact"
    return quantize(load_recipe(**settings, rounding="gptq", output=output))


def test_the_recipe_knows_every_method_and_no_other(settings):
    choices = Recipe.model_json_schema()["properties"]["rounding"]["enum"]
    assert tuple(sorted(choices)) == rounding_names()
    with pytest.raises(RecipeError, match=r"--rounding: choose .*adaround.* not 'best'"):
        load_recipe(**settings, rounding="best", output="o")


def test_the_artifact_holds_the_rounded_integers(outcome):
    weights = outcome.findings.weights
    artifact = load_artifact(outcome.artifact)
    tensors = artifact.tensors()
    sites = [entry.site for entry in artifact.scale_table() if entry.site.role == "weight"]
    assert {site.name for site in sites} == weights.integers.keys()
    for site in sites:
        stored = tensors.integers(f"{site.module}.weight")
        np.testing.assert_array_equal(stored, weights.integers[site.name])
    assert verify_artifact(outcome.artifact).problems == ()


def test_they_are_not_those_of_rounding_to_nearest(outcome, settings):
    model, weights = load_model(settings["model"]), outcome.findings.weights
    changed = [
        np.any(
            to_integers(model.operator(e.site.module).weight.numpy(), e.scale, e.spec)
            != weights.integers[e.site.name]
        )
        for e in weights.table
        if e.site.role == "weight"
    ]
    assert np.mean(changed) > 0.9


def test_the_method_and_its_errors_are_recorded(outcome):
    assert json.loads((outcome.artifact / "quantization.json").read_text())["rounding"] == "gptq"
    found = json.loads((outcome.artifact / "metrics.json").read_text())["rounding"]
    assert found["method"] == "gptq"
    assert found["errors"].keys() == outcome.findings.weights.integers.keys()
    errors = found["errors"].values()
    assert sum(e["rounded"] for e in errors) < sum(e["nearest"] for e in errors)


def test_engine_and_simulation_agree_on_them(outcome, settings):
    """Most frames are equal although both differ from the float model on many."""
    assert outcome.findings.engines.agreement.value > 97
    waves = [soundfile.read(f"{settings['test']}/{i}.wav", dtype="float32")[0] for i in range(2)]
    heard = load_recognizer(outcome.artifact).recognize(waves)
    simulated = outcome.findings.test["simulated"].transcripts.values()
    assert argmax_agreement([t.frames for t in heard], [t.frames for t in simulated]) > 0.97


def test_the_float_model_is_not_touched(outcome, settings):
    found = outcome.findings.test["float"].transcripts.values()
    waves = [soundfile.read(f"{settings['test']}/{i}.wav", dtype="float32")[0] for i in range(2)]
    alone = load_model(settings["model"]).recognizer().recognize(waves)
    assert [t.frames for t in found] == [t.frames for t in alone]


def test_weights_alone_need_speech_too_and_tell_what_they_could_not_use(settings, tmp_path, monkeypatch):
    speech = tmp_path / "speech"
    shutil.copytree(settings["calibration"], speech)
    (speech / "bad.wav").write_bytes(b"RIFF, but no sound")
    (speech / "bad.txt").write_text("LOST")
    alone = {**settings, "bits": "w4a16", "calibration": str(speech)}
    read, original = [], usable.iter_loaded

    def loaded(corpus, **rest):
        read.append(len(corpus))
        return original(corpus, **rest)

    monkeypatch.setattr(usable, "iter_loaded", loaded)
    found = quantize(load_recipe(**alone, output=tmp_path / "out"))
    (skipped,) = json.loads((found.artifact / "metrics.json").read_text())["skipped"]
    assert (skipped["role"], skipped["id"]) == ("calibration", "bad")
    assert load_artifact(found.artifact).info.rounding == "gptq"
    assert read == [3]

    # No more of it is read than is used.
    read.clear()
    with monkeypatch.context() as few:
        few.setattr(workbench, "_ROUNDING_UTTERANCES", 1)
        quantize(load_recipe(**{**settings, "bits": "w4a16"}, output=tmp_path / "one"))
    assert read == [1]
    for path in speech.glob("*.wav"):
        path.write_bytes(b"RIFF, but no sound")
    with pytest.raises(DataError, match=r"no usable speech in the calibration set: 3 of 3 skipped"):
        quantize(load_recipe(**alone, output=tmp_path / "none"))
