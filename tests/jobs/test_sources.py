"""Names of built-in things, and the division of speech without transcripts."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from speechquant.data import check_roles
from speechquant.errors import DataError, MissingExtraError, ModelError
from speechquant.jobs.recipe import load_recipe
from speechquant.jobs.sources import open_corpora, resolve_corpus, resolve_model, shipped_recipe


@pytest.fixture
def folder(tmp_path, tone):
    def make(count):
        for i in range(count):
            tone(f"calls/{i:02}.wav", seconds=0.2 + 0.01 * i, hertz=200 + 10 * i)
        return tmp_path / "calls"

    return make


def divided(folder, **settings):
    return open_corpora(load_recipe(model="m", output="o", audio_only=str(folder), **settings))


def ids(corpus):
    return [utterance.id for utterance in corpus]


@pytest.mark.parametrize("count", [3, 4, 5, 10, 23])
def test_audio_only_is_divided_without_overlap_or_loss(folder, count):
    place = folder(count)
    found = divided(place)
    parts = [ids(found.calibration), ids(found.dev), ids(found.test)]
    assert all(parts)
    assert sorted([*parts[0], *parts[1], *parts[2]]) == sorted(ids(resolve_corpus(str(place))))
    assert len(parts[0]) == max(1, round(0.2 * count))
    assert abs(len(parts[1]) - 0.4 * count) <= 1
    assert [found.calibration.name, found.dev.name, found.test.name] == ["calibration", "dev", "test"]
    check_roles(found.calibration, found.dev, found.test)


def test_the_division_depends_on_names_and_seed_alone(folder, tmp_path):
    place = folder(12)
    one = divided(place)
    shutil.move(place, tmp_path / "elsewhere")
    again = divided(tmp_path / "elsewhere")
    assert [ids(one.calibration), ids(one.dev)] == [ids(again.calibration), ids(again.dev)]
    other = divided(tmp_path / "elsewhere", seed=1)
    assert ids(other.dev) != ids(one.dev)


def test_audio_only_hides_transcripts(folder):
    place = folder(4)
    for path in sorted(place.glob("*.wav")):
        path.with_suffix(".txt").write_text("SOME WORDS")
    found = divided(place)
    assert not any(u.text for corpus in (found.calibration, found.dev, found.test) for u in corpus)


def test_too_few_files_for_three_roles(folder):
    with pytest.raises(DataError, match="at least 3 audio files"):
        divided(folder(2))


def test_one_long_call_is_enough(tone):
    path = tone("calls/call.wav", seconds=100)
    found = divided(path.parent)
    parts = [ids(found.calibration), ids(found.dev), ids(found.test)]
    assert all(parts)
    joined = [*parts[0], *parts[1], *parts[2]]
    assert joined == [f"call#{n:04}" for n in range(1, len(joined) + 1)]
    assert "parts of the same recordings" in found.warnings[0]


@pytest.fixture
def told(tone):
    """A folder for each role, with texts; returns the settings and where the texts of one role are."""
    for number, role in enumerate(("calibration", "dev", "test")):
        for i in range(3):
            path = tone(f"{role}/{i}.wav", hertz=100 + 50 * i + 7 * number)
            path.with_suffix(".txt").write_text("A B")
    root = path.parent.parent
    return {role: str(root / role) for role in ("calibration", "dev", "test")}


@pytest.mark.parametrize("role", ["dev", "test"])
def test_missing_transcripts_are_noticed_before_any_work(told, role):
    texts = sorted(Path(told[role]).glob("*.txt"))
    texts[0].unlink()
    texts[1].write_text(" ")
    assert len(getattr(open_corpora(load_recipe(model="m", output="o", **told)), role)) == 3
    with pytest.raises(
        DataError, match=f"{role}: 2 of 3 skipped, the first: utterance '0' has no transcript"
    ):
        open_corpora(load_recipe(model="m", output="o", strict=True, **told))
    texts[2].unlink()
    with pytest.raises(DataError, match=r"transcripts are empty; add them$"):
        open_corpora(load_recipe(model="m", output="o", **told))


@pytest.mark.parametrize("minutes", [None, 0.001])
def test_the_advice_for_missing_transcripts_is_that_of_the_verb(told, minutes):
    recipe = load_recipe(model="m", output="o", dev_minutes=minutes, **told)
    for utterance in open_corpora(recipe).dev:
        utterance.audio.with_suffix(".txt").unlink()
    with pytest.raises(DataError, match=r"transcript.*, or go home$"):
        open_corpora(recipe, otherwise="go home")


def test_calibration_needs_no_transcripts(told):
    for path in Path(told["calibration"]).glob("*.txt"):
        path.write_text("")
    assert len(open_corpora(load_recipe(model="m", output="o", strict=True, **told)).calibration) == 3


def test_the_same_recording_under_two_names_is_found(folder):
    place = folder(6)
    for path in sorted(place.glob("*.wav")):
        shutil.copy(path, path.with_name(f"copy-{path.name}"))
    with pytest.raises(DataError, match="--allow-overlap"):
        divided(place)
    assert divided(place, allow_overlap=True).warnings


@pytest.mark.parametrize("model", ["demo", "demo:moonshine", "demo:hubert-mini"])
def test_built_in_models(model):
    assert (Path(resolve_model(model)) / "model.safetensors").is_file()
    assert shipped_recipe(model).is_file()


def test_own_models_are_left_alone():
    assert resolve_model("org/model") == "org/model"
    assert shipped_recipe("org/model") is None


def test_built_in_corpora_are_disjoint_where_they_must():
    names = ("calibration", "dev", "test")
    corpora = [resolve_corpus(f"demo:{name}") for name in names]
    assert check_roles(*corpora) == []
    small, dev = resolve_corpus("demo:dev-small"), corpora[1]
    assert set(ids(small)) < set(ids(dev))


def test_unknown_built_ins():
    with pytest.raises(ModelError, match="demo:hubert-mini"):
        resolve_model("demo:gpt")
    with pytest.raises(DataError, match="dev-small"):
        resolve_corpus("demo:everything")


def test_without_the_demo_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "speechquant_demo", None)
    with pytest.raises(MissingExtraError, match=r"speechquant\[demo\]"):
        resolve_model("demo")


def test_minutes_take_a_random_part(tone):
    for role in "cdt":
        for i in range(8):
            path = tone(f"{role}/{i}.wav", seconds=1, hertz=100 + 50 * i + 7 * ord(role))
            path.with_suffix(".txt").write_text("A B")
    root = path.parent.parent
    sets = {"calibration": str(root / "c"), "dev": str(root / "d"), "test": str(root / "t")}
    recipe = load_recipe(model="m", output="o", dev_minutes=3.5 / 60, test_minutes=0.001, **sets)
    found = open_corpora(recipe)
    assert [len(found.calibration), len(found.dev), len(found.test)] == [8, 3, 1]


def test_an_artifact_is_no_model_to_quantize(artifact):
    with pytest.raises(ModelError, match="is an artifact; give the float model it was made from"):
        resolve_model(str(artifact))
