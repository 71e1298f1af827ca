"""The Python interface in plain arguments, on the small artifact and on a tiny random model."""

from __future__ import annotations

import subprocess
import sys

import artifact_fakes as fakes
import numpy as np
import pytest
import soundfile

import speechquant as sq
from speechquant.errors import AudioError, RecipeError


def test_load_transcribes_files_and_samples_alike(artifact, tmp_path):
    path = fakes.write_speech(tmp_path / "a.wav", "BAD CAB")
    samples = soundfile.read(path, dtype="float32")[0]
    model = sq.load(artifact)
    assert model.sampling_rate == 16_000
    found = [model.transcribe(path), model.transcribe(str(path)), model.transcribe(samples)]
    assert [result.text for result in found] == ["BAD CAB"] * 3
    assert [word.text for word in found[2].words] == ["BAD", "CAB"]


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(16_000, np.float32),
        np.zeros(0, np.float32),
        np.full(16_000, np.nan, np.float32),
        np.ones((2, 16_000), np.float32),
    ],
    ids=["silent", "empty", "nan", "stereo"],
)
def test_bad_samples(artifact, samples):
    with pytest.raises(AudioError) as caught:
        sq.load(artifact).transcribe(samples)
    assert "\n" not in str(caught.value)


def test_evaluate(artifact, tmp_path):
    for name, said, written in (("x", "BAD CAB", "BAD DAD CAB"), ("y", "AC", "AC")):
        fakes.write_speech(tmp_path / f"{name}.wav", said)
        (tmp_path / f"{name}.txt").write_text(written)
    report = sq.evaluate([artifact], tmp_path)
    errors = report.results[0].evaluation.errors
    assert (errors.words, errors.deletions, errors.errors) == (4, 1, 1)


def test_quantize_says_what_is_missing(tmp_path):
    with pytest.raises(RecipeError, match="output: is missing"):
        sq.quantize("model", calibration="c", dev="d", test="t")
    with pytest.raises(RecipeError, match="--audio-only"):
        sq.quantize("model", tmp_path / "out")
    with pytest.raises(RecipeError, match="no such setting"):
        sq.quantize("model", tmp_path / "out", audio_only="x", bit=3)


def test_quantize_takes_the_recipe_of_a_built_in_model(tmp_path, monkeypatch):
    import speechquant.jobs.quantization as room

    asked = []
    monkeypatch.setattr(room, "quantize", lambda recipe, progress: asked.append(recipe))
    sq.quantize("demo:hubert-mini", tmp_path / "out", bits="w4a8")
    sq.quantize("demo", tmp_path / "out", audio_only="calls")
    assert (asked[0].calibration, asked[0].naive, asked[0].bits) == ("demo:calibration", True, "w4a8")
    assert (asked[1].audio_only, asked[1].dev) == ("calls", None)


@pytest.mark.parametrize("module", ["speechquant.errors", "speechquant.learn"])
def test_the_room_of_the_same_name_does_not_hide_the_verb(module):
    call = "sq.learn('m', 'o', train='t', dev='d', bit=3)"
    code = f"import speechquant as sq, {module}\ntry: {call}\nexcept sq.SpeechquantError as e: print(e)"
    command = [sys.executable, "-c", f"{code}\nfrom speechquant.learn import Quantizers"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "bit: no such setting"


def test_learn_takes_arguments_and_a_recipe(tmp_path, monkeypatch):
    import speechquant.jobs.learning as room

    asked = []
    monkeypatch.setattr(room, "learn", lambda recipe, progress: asked.append((recipe, progress)) or "outcome")
    path = tmp_path / "recipe.yaml"
    path.write_text("train: t\ndev: d\nmethod: one-stage\naverage_bits: 3.5\n")
    assert sq.learn(tmp_path / "model", tmp_path / "out", recipe=path, steps=7, progress="hears") == "outcome"
    ((recipe, progress),) = asked
    assert (recipe.model, recipe.output) == (str(tmp_path / "model"), tmp_path / "out")
    assert (recipe.method, recipe.average_bits, recipe.steps, progress) == ("one-stage", 3.5, 7, "hears")


def test_learn_says_what_is_missing(tmp_path):
    with pytest.raises(RecipeError, match="output: is missing"):
        sq.learn("model", train="t", dev="d")
    with pytest.raises(RecipeError, match="takes one budget"):
        sq.learn("model", tmp_path / "out", train="t", dev="d", method="allocate")
    with pytest.raises(RecipeError, match="no such setting"):
        sq.learn("model", tmp_path / "out", train="t", dev="d", bit=3)
