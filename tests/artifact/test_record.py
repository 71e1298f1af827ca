"""A float model that `learn` wrote may be replaced by another one, as long as all of its files are as it wrote them."""

from __future__ import annotations

import artifact_fakes as fakes
import pytest

from speechquant.artifact import check_target, save_artifact, staged_folder, write_float_record
from speechquant.errors import ArtifactError


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def control(tmp_path):
    """A float model as `learn` leaves it."""
    with staged_folder(tmp_path / "control", floats=True) as folder:
        (folder / "model.safetensors").write_bytes(b"weights")
        (folder / "config.json").write_text("{}")
        write_float_record(folder)
    return tmp_path / "control"


def test_a_float_model_that_was_written_here_is_replaced_by_another(control):
    with staged_folder(control, floats=True) as folder:
        (folder / "config.json").write_text("[]")
    assert tree(control) == {"config.json": b"[]"}
    assert [path.name for path in control.parent.iterdir()] == ["control"]


def test_a_float_model_is_not_replaced_by_an_artifact(control, tmp_path):
    before = tree(control)
    with pytest.raises(ArtifactError, match="holds other files"):
        save_artifact(fakes.contents(tmp_path / "model"), control)
    assert tree(control) == before


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "mine/notes.txt", "float-model.json"])
def test_a_float_model_that_was_changed_is_not_replaced(control, name):
    path = control / name
    path.parent.mkdir(exist_ok=True)
    # Of the same length, as weights are that were trained further.
    path.write_bytes(b"x" * (path.stat().st_size if path.exists() else 7))
    before = tree(control)
    for attempt in (check_target, lambda *a, **k: staged_folder(*a, **k).__enter__()):
        with pytest.raises(ArtifactError, match=r"choose another folder") as caught:
            attempt(control, floats=True)
        assert "float-model.json" in str(caught.value) or name == "float-model.json"
    assert tree(control) == before


@pytest.mark.parametrize(
    "text", ["{}", "[]", '{"files": 7}', '{"files": {"../control": {"sha256": "", "bytes": 0}}}']
)
def test_a_damaged_record_of_a_float_model_lets_nothing_be_replaced(control, text):
    (control / "float-model.json").write_text(text)
    with pytest.raises(ArtifactError, match="holds other files"):
        check_target(control, floats=True)


def test_a_link_is_no_file_of_a_float_model(control, tmp_path):
    (control / "config.json").rename(tmp_path / "elsewhere.json")
    (control / "config.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(ArtifactError, match=r"config\.json was added or changed"):
        check_target(control, floats=True)
