"""A folder from elsewhere is not believed: its manifest, its links, its weights."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from speechquant.artifact import load_artifact, verify_artifact
from speechquant.errors import ArtifactError


def edit(folder, change):
    path = folder / "quantization.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


FILE = {"sha256": "0" * 64, "bytes": 1}
BAD_MANIFESTS = {
    "parent": (lambda v: v["files"].update({"../secret": FILE}), "not a path inside"),
    "absolute": (lambda v: v["files"].update({"/etc/passwd": FILE}), "not a path inside"),
    "backslash": (lambda v: v["files"].update({"a\\..\\b": FILE}), "not a path inside"),
    "hidden parent": (lambda v: v["files"].update({"onnx/../../x": FILE}), "not a path inside"),
    "unknown key": (lambda v: v.update(surprise=1), "surprise"),
    "missing key": (lambda v: v.pop("sites"), "sites"),
    "newer format": (lambda v: v.update(format_version=2), "format version"),
    "wrong type": (lambda v: v["sites"][0].update(bits="8"), r"sites\.0\.bits"),
    "bits": (lambda v: v["sites"][0].update(bits=64), r"sites\.0\.bits"),
    "negative scale": (lambda v: v["sites"][0].update(scale=-1.0), r"sites\.0\.scale"),
    "no scale": (lambda v: v["sites"][0].update(scale=None), r"sites\.0"),
    "twice": (lambda v: v["sites"].append(v["sites"][0]), "twice"),
    "hash": (lambda v: v["files"].update(x={"sha256": "z", "bytes": 1}), "sha256"),
}


@pytest.mark.parametrize("case", BAD_MANIFESTS)
def test_a_manifest_that_cannot_be_trusted(saved, case):
    change, text = BAD_MANIFESTS[case]
    edit(saved.folder, change)
    with pytest.raises(ArtifactError, match=text) as caught:
        load_artifact(saved.folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"p_opt": NaN}', "\xff", "[" * 100_000])
def test_a_manifest_that_is_not_json(saved, text):
    (saved.folder / "quantization.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ArtifactError):
        load_artifact(saved.folder)


def test_a_link_out_of_the_folder_is_refused(saved, tmp_path):
    (tmp_path / "outside").write_bytes(b"secret")
    (saved.folder / "vocab.json").unlink()
    (saved.folder / "vocab.json").symlink_to(tmp_path / "outside")
    with pytest.raises(ArtifactError, match="link that leads out"):
        load_artifact(saved.folder)


def test_not_an_artifact(tmp_path):
    with pytest.raises(ArtifactError, match="no such"):
        load_artifact(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match="is not an artifact"):
        load_artifact(tmp_path)


def test_a_pickle_is_never_opened(saved, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "exploded",))

    (saved.folder / "model.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ArtifactError, match="cannot be read"):
        saved.tensors()
    assert verify_artifact(saved.folder).problems
    assert not (tmp_path / "exploded").exists()
