"""What is saved is what is loaded, to the last bit; what was there before survives every failure."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import artifact_fakes as fakes
import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from speechquant.artifact import (
    check_target,
    is_artifact,
    load_artifact,
    save_artifact,
    shared_or_by_layer,
    staged_folder,
    verify_artifact,
)
from speechquant.errors import ArtifactError, StorageError
from speechquant.numerics import Entry, QuantSpec, ScaleTable, Site


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def leftovers(folder):
    return [p.name for p in folder.iterdir() if p.name.startswith(".")]


def test_the_folder_has_everything_and_verifies(saved, tmp_path):
    names = set(tree(saved.folder))
    assert names == {
        "README.md",
        "config.json",
        "metrics.json",
        "model.safetensors",
        "onnx/engine.json",
        "onnx/model.onnx",
        "quantization.json",
        "recipe.yaml",
        "report.html",
        "vocab.json",
    }
    assert set(saved.info.files) == names - {"quantization.json"}
    assert verify_artifact(saved.folder).problems == ()
    assert leftovers(tmp_path) == []
    assert is_artifact(saved.folder)


def test_the_scale_table_comes_back_exactly(saved):
    wanted, got = fakes.table(fakes.weights()), saved.scale_table()
    assert got.signature == wanted.signature == saved.info.signatures.scale_table
    assert [e.site for e in got] == [e.site for e in wanted]
    assert (saved.info.selected_layers, saved.info.p_opt) == (("conv.0",), 0.05)


def test_weights_come_back_within_half_a_step_and_the_rest_exactly(saved):
    original, tensors, table = fakes.weights(), saved.tensors(), saved.scale_table()
    assert set(tensors) == set(original)
    np.testing.assert_array_equal(tensors["conv.bias"], original["conv.bias"])
    step = table.entries["conv:weight"].scale[:, None, None]
    assert (np.abs(tensors["conv.weight"] - original["conv.weight"]) <= step * 0.5001).all()
    step = table.entries["head:weight"].scale
    assert (np.abs(tensors["head.weight"] - original["head.weight"]) <= step * 0.5001).all()
    with pytest.raises(KeyError):
        tensors["nothing"]


def test_tied_weights_are_stored_once_and_packed(saved):
    stored = load_file(saved.folder / "model.safetensors")
    assert "embed.weight" not in stored
    assert stored["head.weight"].dtype == np.uint8
    assert stored["head.weight"].size == -(-7 * fakes.CHANNELS * 4 // 8)
    assert stored["conv.weight.scale"].shape == (fakes.CHANNELS,)
    tensors = saved.tensors()
    np.testing.assert_array_equal(tensors["embed.weight"], tensors["head.weight"])


def test_weights_on_their_grid_are_kept_exactly(tmp_path):
    first = save_artifact(fakes.contents(tmp_path / "model"), tmp_path / "a")
    arrays = dict(first.tensors())
    again = fakes.contents(tmp_path / "model", weights=arrays, table=first.scale_table())
    second = save_artifact(again, tmp_path / "b")
    for name, array in arrays.items():
        np.testing.assert_array_equal(second.tensors()[name], array)


@pytest.mark.parametrize("bits", [2, 3, 6, 8, 12, 16])
def test_every_bit_width(tmp_path, bits):
    arrays = fakes.weights()
    table = fakes.table(arrays, bits=bits)
    saved = save_artifact(fakes.contents(tmp_path / "m", table=table), tmp_path / "out")
    integers = saved.tensors().integers("conv.weight")
    assert np.abs(integers).max() == 2 ** (bits - 1) - 1
    assert verify_artifact(saved.folder).problems == ()


def test_a_weight_site_without_a_weight_is_refused_and_nothing_is_left(tmp_path):
    spec = QuantSpec(8, narrow=True)
    entry = Entry(Site("gone", "weight", "head"), spec, np.float32(1).reshape(()))
    with pytest.raises(ValueError, match=r"gone\.weight"):
        save_artifact(
            fakes.contents(tmp_path / "model", table=ScaleTable({"gone:weight": entry})), tmp_path / "out"
        )
    assert {p.name for p in tmp_path.iterdir()} == {"model"}


def test_the_card_states_what_was_measured(saved):
    _, front, body = (saved.folder / "README.md").read_text().split("---\n", 2)
    meta = yaml.safe_load(front)
    assert (meta["license"], meta["base_model"]) == ("mit", "someone/tiny")
    assert meta["pipeline_tag"] == "automatic-speech-recognition"
    for figure in ("10.50", "10.00", "p = 0.4", "no significant", "25 %", "`conv.0`", "2 of 2"):
        assert figure in body


@pytest.mark.parametrize(
    ("cutoffs", "text"),
    [
        (0.05, "`conv.0`, cut-off 0.05 %."),
        ({"conv.0": 0.05, "conv.1": 0.1}, "cut-off conv.0 0.05 %, conv.1 0.1 %."),
        (None, "`conv.0`. All"),
    ],
)
def test_cutoffs_are_kept_and_readable(tmp_path, cutoffs, text):
    saved = save_artifact(fakes.contents(tmp_path / "model", p_opt=cutoffs), tmp_path / "out")
    assert json.loads((saved.folder / "quantization.json").read_text())["p_opt"] == cutoffs
    assert load_artifact(saved.folder).info.p_opt == cutoffs
    assert text in (saved.folder / "README.md").read_text()


def test_layers_left_in_float_are_kept_and_readable(saved, tmp_path):
    made = fakes.contents(tmp_path / "model", float_layers=("conv.1", "conv.2"))
    other = save_artifact(made, tmp_path / "other")
    assert load_artifact(other.folder).info.float_layers == ("conv.1", "conv.2")
    told = "Left in float, because no cut-off saved the word error rate: `conv.1`, `conv.2`."
    assert told in (other.folder / "README.md").read_text()
    assert "Left in float" not in (saved.folder / "README.md").read_text()


def test_an_artifact_from_before_there_were_layers_left_in_float(saved):
    path = saved.folder / "quantization.json"
    values = json.loads(path.read_text())
    del values["float_layers"]
    path.write_text(json.dumps(values))
    assert load_artifact(saved.folder).info.float_layers == ()


def test_cutoffs_that_all_layers_share_are_one_number():
    assert shared_or_by_layer({"a": 0.1, "b": 0.1}) == 0.1
    assert shared_or_by_layer({"a": 0.1, "b": 0.2}) == {"a": 0.1, "b": 0.2}
    assert shared_or_by_layer({}) is shared_or_by_layer(None) is None


def test_the_card_has_no_test_against_the_references_themselves(tmp_path):
    metrics = {
        "float": fakes.row(0.0),
        "quantized": fakes.row(1.0),
        "p_value": 0.001,
        "references": "float model",
    }
    saved = save_artifact(fakes.contents(tmp_path / "model", metrics=metrics), tmp_path / "out")
    card = (saved.folder / "README.md").read_text()
    assert "MAPSSWE" not in card
    assert "significant" not in card


def test_the_card_gives_the_ratio_of_turns(tmp_path):
    metrics = {"latency_ms": {"float": 20.0, "quantized": 10.0, "seconds": 10.0, "speedup": {"float": 1.87}}}
    saved = save_artifact(fakes.contents(tmp_path / "model", metrics=metrics), tmp_path / "out")
    assert "1.87 times as fast" in (saved.folder / "README.md").read_text()


def test_card_and_page_say_what_the_file_of_weights_takes(tmp_path):
    base = fakes.contents(tmp_path / "model")
    large = {
        **base.weights,
        "conv.weight": np.zeros((4096, *base.weights["conv.weight"].shape[1:]), np.float32),
    }
    entry = replace(base.table.get("conv:weight"), scale=np.ones(4096, np.float32))
    seen = []

    def page(storage):
        seen.append(storage)
        return f"<p>{storage.stored_bytes}</p>"

    contents = replace(
        base, weights=large, table=ScaleTable({**base.table.entries, "conv:weight": entry}), report=page
    )
    saved = save_artifact(contents, tmp_path / "out")
    size = (saved.folder / "model.safetensors").stat().st_size
    shared_once = {array.ctypes.data: array.size for array in large.values()}
    floats = 4 * sum(shared_once.values())
    assert (saved.folder / "report.html").read_text() == f"<p>{size}</p>"
    assert seen[0].float_bytes == floats > size
    text = f"Weights on disk: {size / 1e6:.1f} MB, {floats / size:.1f} times smaller than in float32"
    assert text in (saved.folder / "README.md").read_text()


def test_the_card_claims_nothing_without_figures(tmp_path):
    changes = {"metrics": {}, "source": "some/local/folder", "license_name": None}
    saved = save_artifact(fakes.contents(tmp_path / "model", **changes), tmp_path / "out")
    card = (saved.folder / "README.md").read_text()
    for word in ("rate (%)", "ms", "MB", "base_model", "license:"):
        assert word not in card


def test_transcripts_by_the_float_model_are_called_disagreement(tmp_path):
    metrics = {"float": fakes.row(0.0), "quantized": fakes.row(3.0), "references": "float model"}
    saved = save_artifact(fakes.contents(tmp_path / "model", metrics=metrics), tmp_path / "out")
    card = (saved.folder / "README.md").read_text()
    assert "Disagreement" in card
    assert "Word error rate" not in card


def test_infinite_figures_become_null(tmp_path):
    metrics = {"quantized": {"wer": float("inf"), "words": 0}}
    saved = save_artifact(fakes.contents(tmp_path / "model", metrics=metrics), tmp_path / "out")
    assert json.loads((saved.folder / "metrics.json").read_text())["quantized"]["wer"] is None
    assert saved.metrics["quantized"]["words"] == 0


def test_an_onnx_folder_is_copied(tmp_path):
    ready = tmp_path / "ready"
    ready.mkdir()
    fakes.fill_onnx(ready)
    saved = save_artifact(fakes.contents(tmp_path / "model", onnx=ready), tmp_path / "deep" / "er" / "out")
    assert tree(saved.onnx) == tree(ready)


def test_an_artifact_or_an_empty_folder_is_replaced(saved, tmp_path):
    (tmp_path / "empty").mkdir()
    save_artifact(fakes.contents(tmp_path / "model"), tmp_path / "empty")
    again = save_artifact(fakes.contents(tmp_path / "model", name="other"), saved.folder)
    assert again.info.model.name == "other"
    assert leftovers(tmp_path) == []


def test_other_folders_and_files_are_not_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    (tmp_path / "file").write_bytes(b"x")
    for name, text in (("photos", "holds other files"), ("file", "is a file")):
        with pytest.raises(ArtifactError, match=text):
            save_artifact(fakes.contents(tmp_path / "model"), tmp_path / name)
        with pytest.raises(ArtifactError, match=text):
            check_target(tmp_path / name)
    with pytest.raises(StorageError, match="is a file"):
        check_target(tmp_path / "file" / "out")
    with pytest.raises(StorageError):
        check_target(Path("/"))
    assert (tmp_path / "photos" / "a.jpg").read_bytes() == b"x"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(StorageError, match="permission"):
        check_target(tmp_path / "locked" / "out")


def _full(*_args, **_kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("what", ["write_bytes", "mkdir", "rename"])
def test_a_full_disk_keeps_the_old_artifact(saved, tmp_path, monkeypatch, what):
    before = tree(saved.folder)
    again = fakes.contents(tmp_path / "model", name="other")
    with monkeypatch.context() as patch:
        patch.setattr(Path, what, _full)
        with pytest.raises(StorageError, match=r"No space left on device; free some space") as caught:
            save_artifact(again, saved.folder)
    assert "\n" not in str(caught.value)
    assert tree(saved.folder) == before
    assert leftovers(tmp_path) == []


def test_a_full_disk_while_weights_are_written(saved, tmp_path, monkeypatch):
    monkeypatch.setattr("safetensors.numpy.save_file", _full)
    with pytest.raises(StorageError, match="No space left"):
        save_artifact(fakes.contents(tmp_path / "model"), tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert leftovers(tmp_path) == []


def test_a_failed_swap_puts_the_old_artifact_back(saved, tmp_path, monkeypatch):
    before, rename = tree(saved.folder), Path.rename

    def fail_for_staging(self, target):
        if ".partial-" in self.name:
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail_for_staging)
        with pytest.raises(StorageError, match="Input/output"):
            save_artifact(fakes.contents(tmp_path / "model", name="other"), saved.folder)
    assert tree(saved.folder) == before
    assert leftovers(tmp_path) == []


def test_an_interrupted_export_leaves_nothing(saved, tmp_path):
    def interrupt(_folder):
        raise KeyboardInterrupt

    before = tree(saved.folder)
    with pytest.raises(KeyboardInterrupt):
        save_artifact(fakes.contents(tmp_path / "model", onnx=interrupt), saved.folder)
    assert tree(saved.folder) == before
    assert leftovers(tmp_path) == []


def test_what_killed_runs_left_is_cleaned_up_and_restored(saved, tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    before = tree(saved.folder)
    saved.folder.rename(tmp_path / f".out.old-{dead.pid}")
    (tmp_path / f".out.partial-{dead.pid}").mkdir()
    (tmp_path / ".out.partial-1").mkdir()  # process 1 lives
    with pytest.raises(ZeroDivisionError), staged_folder(tmp_path / "out"):
        raise ZeroDivisionError
    assert tree(saved.folder) == before
    assert leftovers(tmp_path) == [".out.partial-1"]


def test_neighbours_with_similar_names_are_left_alone(saved, tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = [
        f"{prefix}{kind}-{dead.pid}"
        for prefix in ("", ".", "out.", ".other.", ".xout.", "..out.")
        for kind in ("old", "partial")
    ]
    names += [f".out.old-{dead.pid}.bak", f".out.partial-x-{dead.pid}", f".out.older-{dead.pid}"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "photo").write_bytes(b"x")
    (tmp_path / f".out.old-{dead.pid}").write_bytes(b"a file")
    save_artifact(fakes.contents(tmp_path / "model"), saved.folder)
    shutil.rmtree(saved.folder)
    save_artifact(fakes.contents(tmp_path / "model"), saved.folder)
    for name in names:
        assert (tmp_path / name / "photo").read_bytes() == b"x", name
    assert (tmp_path / f".out.old-{dead.pid}").read_bytes() == b"a file"


@pytest.mark.skipif(sys.platform == "win32", reason="no modes there")
@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_files_have_the_mode_of_new_files(tmp_path, umask):
    before = os.umask(umask)
    try:
        saved = save_artifact(fakes.contents(tmp_path / "model"), tmp_path / "out")
    finally:
        os.umask(before)
    modes = {p.name: p.stat().st_mode & 0o777 for p in saved.folder.rglob("*") if p.is_file()}
    assert len(modes) == 10
    assert set(modes.values()) == {0o666 & ~umask}, modes


@pytest.mark.parametrize("name", ["thesis.docx", "onnx/notes.txt", ".git/config", "link"])
def test_an_artifact_with_other_files_in_it_is_not_replaced(saved, tmp_path, name):
    path = saved.folder / name
    path.parent.mkdir(exist_ok=True)
    if name == "link":
        path.symlink_to(tmp_path, target_is_directory=True)
    else:
        path.write_bytes(b"x")
    with pytest.raises(ArtifactError, match=re.escape(f"({name})")):
        save_artifact(fakes.contents(tmp_path / "model"), saved.folder)
    assert path.exists()


@pytest.mark.parametrize(
    "text", ["{}", "[]", "{", '{"format": "other", "files": {"mine.txt": 1}}', '{"format": "speechquant"}']
)
def test_a_folder_with_another_quantization_json_is_not_replaced(tmp_path, text):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "quantization.json").write_text(text)
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(ArtifactError, match="holds other files"):
        check_target(tmp_path / "out")
