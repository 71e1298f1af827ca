from __future__ import annotations

import shutil

import pytest

from speechquant.data import Corpus, Utterance, check_roles, open_corpus
from speechquant.errors import DataError


class Source:
    def __init__(self, mark):
        self._mark = mark

    def samples(self):
        raise AssertionError("roles are checked without decoding")

    def fingerprint(self):
        return self._mark


def one(path, name="u", speaker=None):
    return Corpus("c", (Utterance(name, path, "x", speaker),))


def test_disjoint_sets_pass(tone):
    assert check_roles(*(one(tone(f"{n}.wav", hertz=100 + n)) for n in range(3))) == []
    assert check_roles(one(tone("a.wav")), None, None) == []


@pytest.mark.parametrize(
    ("at", "names"),
    [((0, 1), "calibration and the dev"), ((1, 2), "dev and the test"), ((0, 2), "calibration and the test")],
)
def test_the_same_file_in_two_roles(tone, at, names):
    corpora = [one(tone(f"{n}.wav", hertz=100 + n)) for n in range(3)]
    corpora[at[1]] = one(corpora[at[0]][0].audio, "renamed")
    with pytest.raises(DataError, match=rf"'renamed' .*is in both the {names} set.*--allow-overlap"):
        check_roles(*corpora)
    warnings = check_roles(*corpora, allow_overlap=True)
    assert len(warnings) == 1
    assert "renamed" in warnings[0]


def test_a_copy_under_another_name(tone, tmp_path):
    path = tone("a.wav")
    shutil.copyfile(path, tmp_path / "b.wav")
    with pytest.raises(DataError, match="both the dev and the test"):
        check_roles(None, one(path), one(tmp_path / "b.wav", "other"))


def test_equal_ids_and_sizes_prove_nothing(tone):
    first, second = tone("x/1.wav"), tone("y/1.wav", hertz=500)
    assert first.stat().st_size == second.stat().st_size
    assert check_roles(None, one(first, "1"), one(second, "1")) == []


def test_sources_are_told_apart_by_fingerprint():
    assert check_roles(None, one(Source("a")), one(Source("b"))) == []
    with pytest.raises(DataError, match="both the dev and the test"):
        check_roles(None, one(Source("a")), one(Source("a")))


def test_a_recording_twice_in_one_role_is_no_overlap(tone):
    path = tone()
    twice = Corpus("c", (Utterance("1", path), Utterance("2", path)))
    assert check_roles(twice, None, None) == []


def test_missing_files_are_left_to_the_loader(tmp_path):
    assert check_roles(None, one(tmp_path / "no.wav"), one(tmp_path / "no.wav")) == []


def test_shared_speakers_are_only_a_warning(tone):
    dev, test = one(tone("a.wav"), speaker="s1"), one(tone("b.wav", hertz=500), speaker="s1")
    assert [("dev" in line, "test" in line, "s1" in line) for line in check_roles(None, dev, test)] == [
        (True,) * 3
    ]
    assert check_roles(None, one(tone("c.wav")), test) == []


def test_the_demo_splits_are_disjoint_in_files_and_speakers(speech):
    splits = [open_corpus(speech / f"{name}.jsonl") for name in ("calibration", "dev", "test")]
    assert check_roles(*splits) == []
    with pytest.raises(DataError, match="114 such recordings"):
        check_roles(splits[0], splits[1], splits[1])
