"""The assets of the demo: complete, unaltered, and with no speaker in two roles."""

from __future__ import annotations

import hashlib
import json
from itertools import combinations, pairwise
from pathlib import Path

import pytest
import soundfile
import yaml

import speechquant_demo as demo

CORPORA = ("calibration", "dev", "dev-small", "test")
PACKAGE = Path(demo.__file__).parent
LICENSES = Path(__file__).parents[2] / "packages" / "speechquant-demo" / "licenses"
SUMS = dict(reversed(line.split("  ")) for line in (PACKAGE / "SHA256SUMS").read_text().splitlines())


def rows(name):
    return [json.loads(line) for line in demo.corpus(name).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", CORPORA)
def test_manifest_describes_its_files(name):
    folder = demo.corpus(name).parent
    entries = rows(name)
    assert len({row["id"] for row in entries}) == len(entries)
    for row in entries:
        assert row["text"].strip()
        info = soundfile.info(folder / row["path"])
        assert (info.samplerate, info.channels) == (16000, 1)
        assert info.duration == pytest.approx(row["seconds"], abs=0.05)


@pytest.mark.parametrize(
    ("name", "utterances", "minutes", "speakers"),
    [("calibration", 36, 4.5, 22), ("dev", 114, 26.1, 2), ("dev-small", 22, 5.0, 2), ("test", 46, 10.0, 2)],
)
def test_size_is_what_the_readme_says(name, utterances, minutes, speakers):
    entries = rows(name)
    assert len(entries) == utterances
    assert sum(row["seconds"] for row in entries) / 60 == pytest.approx(minutes, abs=0.1)
    assert len({row["speaker"] for row in entries}) == speakers


def test_roles_share_no_speaker():
    speakers = {name: {row["speaker"] for row in rows(name)} for name in ("calibration", "dev", "test")}
    for one, other in combinations(speakers, 2):
        assert not speakers[one] & speakers[other], (one, other)


def test_dev_small_is_a_part_of_dev():
    dev = rows("dev")
    assert all(row in dev for row in rows("dev-small"))


def test_calibration_spans_lengths():
    seconds = sorted(row["seconds"] for row in rows("calibration"))
    assert seconds[0] < 3
    assert seconds[-1] > 12
    assert max(longer - shorter for shorter, longer in pairwise(seconds)) < 1.5


def test_models_are_complete():
    assert set(demo.models()) == {"moonshine-tiny", "hubert-mini-ctc"}
    for name, folder in demo.models().items():
        assert demo.model(name) == folder
        present = {path.name for path in folder.iterdir()}
        wanted = {"config.json", "model.safetensors", "preprocessor_config.json", "README.md", "LICENSE"}
        assert wanted <= present


@pytest.mark.parametrize(("name", "licence"), [("moonshine-tiny", "mit"), ("hubert-mini-ctc", "other")])
def test_models_bring_their_licence(name, licence):
    text = (demo.model(name) / "LICENSE").read_text(encoding="utf-8")
    assert "Permission is hereby granted, free of charge" in text
    assert "Copyright (c)" in text
    assert text in {path.read_text(encoding="utf-8") for path in LICENSES.glob("*.txt")}
    front = (demo.model(name) / "README.md").read_text(encoding="utf-8").split("---\n")[1]
    assert yaml.safe_load(front)["license"] == licence


def test_checksums_list_every_asset():
    files = [p for top in ("models", "data") for p in (PACKAGE / top).rglob("*") if p.is_file()]
    names = {path.relative_to(PACKAGE).as_posix() for path in files} - {"data/README.md"}
    assert set(SUMS) == names


@pytest.mark.parametrize("name", sorted(SUMS))
def test_checksum(name):
    assert hashlib.sha256((PACKAGE / name).read_bytes()).hexdigest() == SUMS[name]


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="choose one of"):
        demo.model("nothing")
    with pytest.raises(ValueError, match="choose one of"):
        demo.corpus("train")
