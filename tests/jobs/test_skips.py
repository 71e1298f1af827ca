"""Every kind of unusable utterance in every role is a counted skip with its reason, also on a resumed run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from speechquant.data import Skipped
from speechquant.errors import AudioError, DataError
from speechquant.evaluation import EvaluationStore
from speechquant.jobs import Silent
from speechquant.jobs.quantization import workbench as module
from speechquant.jobs.quantization.workbench import Workbench
from speechquant.jobs.recipe import load_recipe
from speechquant.jobs.sources import open_corpora
from speechquant.models.random import random_model
from speechquant.numerics import ScaleTable

torch.set_num_threads(1)

RATE = 16_000
REASONS = {
    "cut": "truncated",
    "empty": "0 bytes",
    "long": "longer than 120",
    "nan": "NaN",
    "silent": "silent",
    "zero": "no samples",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return random_model("wav2vec2-large-lv60", tmp_path_factory.mktemp("model"), tiny=True)


def write_bad(folder, rng):
    """One file of each kind in REASONS, different for every call."""
    # Two hours at the lowest rate that recordings have are two hours all the same.
    soundfile.write(folder / "long.wav", rng.integers(-9, 9, 7200 * 1000).astype(np.int16), 1000)
    soundfile.write(folder / "zero.wav", np.zeros(0), RATE)
    soundfile.write(folder / "silent.wav", np.zeros(rng.integers(8000, 16_000)), RATE)
    broken = rng.standard_normal(RATE)
    broken[500] = np.nan
    soundfile.write(folder / "nan.wav", broken, RATE, subtype="FLOAT")
    soundfile.write(folder / "cut.wav", 0.1 * rng.standard_normal(RATE), RATE)
    (folder / "cut.wav").write_bytes((folder / "cut.wav").read_bytes()[:9000])
    (folder / "empty.wav").write_bytes(b"")


def write_good(folder, rng, count=3):
    for i in range(count):
        soundfile.write(folder / f"good{i}.wav", 0.1 * rng.standard_normal(6400 + 800 * i), RATE)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(5)
    for role in ("calibration", "dev", "test"):
        folder = root / role
        folder.mkdir()
        write_good(folder, rng)
        write_bad(folder, rng)
        for path in folder.glob("*.wav"):
            path.with_suffix(".txt").write_text("SOME WORDS")
        (folder / "good1.txt").unlink()
    return {role: str(root / role) for role in ("calibration", "dev", "test")}


@pytest.fixture
def bench(model, tmp_path):
    opened = []

    def make(**settings):
        recipe = load_recipe(model="m", output="o", allow_overlap=True, **settings)
        store = EvaluationStore(tmp_path / "store.sqlite")
        opened.append(store)
        return Workbench(model, open_corpora(recipe), recipe, store, tmp_path, Silent())

    yield make
    for store in opened:
        store.close()


def skips(made):
    """All skips by role, as the job's result lists them."""
    made.calibrate()
    found = {"calibration": made.skipped["calibration"]}
    for role in ("dev", "test"):
        evaluator, corpus = made.scoring(getattr(made.corpora, role))
        evaluated = made.simulate(ScaleTable({}), evaluator, corpus).skipped
        found[role] = (*made.skipped.get(role, ()), *evaluated)
    return found


def check(skipped, expected):
    assert {item.id for item in skipped} == set(expected)
    assert len(skipped) == len(expected)
    for item in skipped:
        assert isinstance(item, Skipped)
        assert expected[item.id] in item.reason


def test_each_kind_in_each_role_also_when_resumed(bench, data, monkeypatch):
    first = skips(bench(**data))
    check(first["calibration"], REASONS)
    for role in ("dev", "test"):
        check(first[role], {**REASONS, "good1": "no transcript"})
    monkeypatch.setattr(module, "observe", None)
    assert skips(bench(**data)) == first


def test_kept_histograms_do_not_hide_what_was_skipped(bench, data):
    made = bench(**data)
    histograms = made.calibrate()
    with pytest.raises((AudioError, DataError)):
        bench(**{**data, "dev": data["calibration"], "test": data["calibration"]}, strict=True)
    strict = replace(made, recipe=made.recipe.model_copy(update={"strict": True}), skipped={})
    with pytest.raises(AudioError, match="truncated"):
        strict.calibrate()
    made.store.close()
    made.store.path.unlink()
    again = bench(**data)
    assert again.calibrate() == histograms
    check(again.skipped["calibration"], REASONS)


def test_nothing_usable_says_how_many_and_why(bench, data, tmp_path):
    only = tmp_path / "only"
    only.mkdir()
    rng = np.random.default_rng(1)
    for i in range(3):
        soundfile.write(only / f"{i}.wav", 0.1 * rng.standard_normal(130 * 1000), 1000)
        (only / f"{i}.txt").write_text("A")
    reason = r"3 of 3 skipped, the first: .*0\.wav.*longer than 120 seconds"
    with pytest.raises(DataError, match=f"in the calibration set: {reason}"):
        bench(**{**data, "calibration": str(only)}).calibrate()
    made = bench(**{**data, "dev": str(only)})
    evaluator, dev = made.scoring(made.corpora.dev)
    with pytest.raises(DataError, match=f"in the dev set: {reason}"):
        made.simulate(ScaleTable({}), evaluator, dev)


def test_audio_only_cuts_what_is_long_and_counts_the_rest(bench, model, tmp_path, monkeypatch):
    calls, rng = tmp_path / "calls", np.random.default_rng(7)
    calls.mkdir()
    write_good(calls, rng, 4)
    write_bad(calls, rng)
    (calls / "long.wav").unlink()
    soundfile.write(calls / "call.wav", 0.1 * rng.standard_normal(40 * RATE), RATE)
    kind = type(model.recognizer())
    real = kind.recognize
    monkeypatch.setattr(
        kind, "recognize", lambda self, waves: [replace(found, text="A WORD") for found in real(self, waves)]
    )
    made = bench(audio_only=str(calls))
    found = skips(made)
    expected = {name: reason for name, reason in REASONS.items() if name != "long"}
    check([item for skipped in found.values() for item in skipped], expected)
    parts = [made.corpora.calibration, made.corpora.dev, made.corpora.test]
    holding = [part for part in parts if any(u.id.startswith("call#") for u in part)]
    assert [[u.id for u in part if u.id.startswith("call#")] for part in holding] == [
        ["call#0001", "call#0002"]
    ]
    assert skips(bench(audio_only=str(calls))) == found
