from __future__ import annotations

import pytest

from speechquant.errors import StorageError
from speechquant.jobs.outputs import check_folder


@pytest.mark.parametrize(
    ("file", "place", "words"),
    [
        ("out/quantization.json", "out", "out: holds an artifact, .*; choose another folder"),
        (
            "out/quantization.json",
            "out/deep/tables",
            "tables: lies in the artifact .*out, .*; choose another",
        ),
        (
            "model/model.safetensors",
            "model",
            r"model: holds a model \(config.json and weights\); choose another",
        ),
        ("file", "file", "file: is a file; choose a folder"),
        ("file", "file/out", "a part of the path is a file"),
    ],
)
def test_a_place_that_is_refused_stays_as_it_was(tmp_path, file, place, words):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    (tmp_path / "model").mkdir(exist_ok=True)
    (tmp_path / "model" / "config.json").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StorageError, match=words) as caught:
        check_folder(tmp_path / place)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_other_files_may_be_there(tmp_path):
    mine = ["config.json", "notes.txt", ".writable"]
    for name in mine:
        check_folder(tmp_path / "deep" / "out")
        (tmp_path / "deep" / "out" / name).touch()
    check_folder(tmp_path / "deep" / "out")
    assert sorted(path.name for path in (tmp_path / "deep" / "out").iterdir()) == sorted(mine)
