"""Which speech of a training needs transcripts, and what to do without."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import soundfile

from speechquant.errors import DataError
from speechquant.jobs.learn_recipe import load_learn_recipe
from speechquant.jobs.learning.roles import open_roles
from speechquant.jobs.recipe import load_recipe
from speechquant.jobs.sources import open_corpora


@pytest.fixture
def without(corpora, tmp_path):
    """Roles of which some have lost their transcripts."""

    def make(*names, **settings):
        roles = {}
        for name, folder in corpora.items():
            roles[name] = tmp_path / name
            shutil.copytree(folder, roles[name])
            for path in roles[name].glob("*.txt") if name in names else ():
                path.unlink()
        return open_roles(
            load_learn_recipe(model="m", output="o", **{k: str(v) for k, v in roles.items()}, **settings)
        )

    return make


@pytest.mark.parametrize(
    "settings", [{"task_weight": 0}, {"method": "allocate", "average_bits": 3}], ids=["training", "allocate"]
)
def test_training_needs_no_transcripts(without, settings):
    assert not without("train", **settings).train.has_text


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("train", {}, "by --task-weight 0"),
        ("train", {"method": "float"}, "the float control learns from nothing else"),
        ("dev", {}, "to measure the WER"),
        ("dev", {"task_weight": 0}, "to measure the WER"),
        ("dev", {"method": "allocate", "average_bits": 3}, "to measure the WER"),
        ("test", {}, "to measure the WER"),
    ],
)
def test_advice_fits_training(without, name, settings, words):
    with pytest.raises(DataError) as caught:
        without(name, **settings)
    said = str(caught.value)
    assert f"/{name}: the {name} set has no transcripts" in said
    assert words in said
    assert "--audio-only" not in said
    assert "\n" not in said


def test_one_without_a_transcript_is_refused_when_strict(corpora, tmp_path):
    shutil.copytree(corpora["dev"], tmp_path / "some")
    next((tmp_path / "some").glob("*.txt")).unlink()
    roles = {**corpora, "dev": str(tmp_path / "some")}
    assert len(open_roles(load_learn_recipe(model="m", output="o", **roles)).dev) == 2
    with pytest.raises(DataError, match="1 of 2 skipped"):
        open_roles(load_learn_recipe(model="m", output="o", **roles, strict=True))


@pytest.mark.parametrize("role", ["train", "check", "calibration"])
def test_minutes_take_so_much_speech_and_no_more(corpora, role):
    seconds, place = 1.2, {"model": "m", "output": "o"}
    if role == "calibration":
        sets = {"calibration": corpora["train"], "dev": corpora["dev"], "test": corpora["test"]}
        found = open_corpora(load_recipe(**place, **sets, calibration_minutes=seconds / 60)).calibration
    else:
        # Of the two, dev is what training is judged by.
        sets = {"train": corpora["test"], "dev": corpora["train"]} if role == "check" else corpora
        roles = open_roles(load_learn_recipe(**place, **sets, **{f"{role}_minutes": seconds / 60}))
        found = getattr(roles, role)
        assert len(roles.dev) == (5 if role == "check" else 2)
    lengths = [soundfile.info(item.audio).duration for item in found]
    longest = max(soundfile.info(path).duration for path in Path(corpora["train"]).glob("*.wav"))
    assert seconds - longest < sum(lengths) <= seconds
