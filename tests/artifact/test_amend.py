"""One folder of an artifact is replaced; everything else stays what it was, also after a failure."""

from __future__ import annotations

import os
import shutil

import artifact_fakes as fakes
import pytest

from speechquant.artifact import amended_folder, load_artifact, save_artifact, verify_artifact
from speechquant.errors import StorageError


@pytest.fixture
def artifact(tmp_path):
    return save_artifact(fakes.contents(tmp_path / "model"), tmp_path / "out")


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_new_folder_is_recorded(artifact):
    before = tree(artifact.folder)
    with amended_folder(artifact, "onnx/openvino") as folder:
        fakes.fill_onnx(folder)
    assert verify_artifact(artifact.folder).problems == ()
    after = tree(artifact.folder)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"quantization.json", "onnx/openvino/model.onnx", "onnx/openvino/engine.json"}
    assert before.keys() <= after.keys()
    assert not [p for p in artifact.folder.parent.iterdir() if p.name.startswith(".")]


def test_replacing_leaves_nothing_of_the_old_files_and_keeps_folders_below(artifact):
    with amended_folder(artifact, "onnx/openvino") as folder:
        fakes.fill_onnx(folder)
        (folder / "old.bin").write_bytes(b"old")
    with amended_folder(load_artifact(artifact.folder), "onnx") as folder:
        assert sorted(path.name for path in folder.iterdir()) == ["openvino"]
        fakes.fill_onnx(folder)
    assert (artifact.folder / "onnx" / "openvino" / "old.bin").read_bytes() == b"old"
    with amended_folder(load_artifact(artifact.folder), "onnx/openvino") as folder:
        fakes.fill_onnx(folder)
    assert not (artifact.folder / "onnx" / "openvino" / "old.bin").exists()
    assert verify_artifact(artifact.folder).problems == ()


def test_an_altered_file_is_still_found_out(artifact):
    card = artifact.folder / "README.md"
    card.write_text(card.read_text().replace("tiny", "tinx"))
    with amended_folder(artifact, "onnx/openvino") as folder:
        fakes.fill_onnx(folder)
    assert verify_artifact(artifact.folder).problems == ("README.md: altered (its SHA-256 differs)",)


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_failure_changes_nothing(artifact, failure):
    before = tree(artifact.folder)

    def fill():
        with amended_folder(artifact, "onnx") as folder:
            (folder / "model.onnx").write_bytes(b"half")
            raise failure

    with pytest.raises((KeyboardInterrupt, StorageError)):
        fill()
    assert tree(artifact.folder) == before
    assert not [p for p in artifact.folder.parent.iterdir() if p.name.startswith(".")]


def test_without_hard_links_files_are_copied(artifact, monkeypatch):
    def refuse(*_):
        raise OSError

    monkeypatch.setattr(os, "link", refuse)
    with amended_folder(artifact, "onnx/openvino") as folder:
        fakes.fill_onnx(folder)
    assert verify_artifact(artifact.folder).problems == ()


def test_verify_looks_into_every_engines_files(artifact):
    with amended_folder(artifact, "onnx/openvino") as folder:
        fakes.fill_onnx(folder)
        shutil.copy(folder / "model.onnx", folder / "other.onnx")
        (folder / "model.onnx").write_bytes(b"another graph")
    assert set(verify_artifact(artifact.folder).problems) == {
        "onnx/openvino/model.onnx: engine.json describes another file",
        "onnx/openvino/other.onnx: not named in engine.json",
    }
