"""From an artifact back to graphs, for every engine, without the float model."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import pytest
import soundfile

from speechquant.artifact import ArtifactContents, load_artifact, save_artifact, verify_artifact
from speechquant.engines import load_recognizer
from speechquant.engines.cpu import read_cpu
from speechquant.engines.export import export_onnx
from speechquant.errors import ArtifactError, EngineError, MissingExtraError, StorageError
from speechquant.jobs import evaluate, export, inspect, load, transcribe
from speechquant.models import load_model
from speechquant.models.random import random_model
from speechquant.numerics import Entry, QuantSpec, ScaleTable, weight_scales

ARCHITECTURES = ["wav2vec2-base", "wavlm-base", "moonshine-tiny"]


def quantized_artifact(arch, folder, bits=8):
    """An artifact in `folder/out`; the model's own folder is `folder/model`."""
    model = random_model(arch, folder / "model", tiny=True)
    entries = {}
    for site in model.sites():
        if site.role == "weight":
            # Without VNNI, OpenVINO cuts products of 8 by 8 bits off: docs/engines.md.
            spec = QuantSpec(min(bits, 7) if read_cpu().saturates else bits, "channel", narrow=True)
            scale = weight_scales(model.operator(site.module).weight.detach().numpy(), spec)
        else:
            spec, scale = QuantSpec(bits), np.float32(0.03).reshape(())
        entries[site.name] = Entry(site, spec, np.asarray(scale, np.float32))
    table = ScaleTable(entries)
    contents = ArtifactContents(
        name=arch,
        source=arch,
        family=model.model_type,
        task=model.runtime.task,
        method="max",
        bits=f"w{bits}a{bits}",
        model_files=model.kept_files,
        weights={name: tensor.numpy() for name, tensor in model.module.state_dict().items()},
        table=table,
        metrics={},
        model_signature=model.signature,
        data_signatures={},
        recipe="bits: w8a8\n",
        onnx=lambda place: export_onnx(model, table, place) and None,
    )
    return save_artifact(contents, folder / "out"), model


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Artifacts by architecture; tests that change one make their own copy."""
    known = {}

    def make(arch="wav2vec2-base"):
        if arch not in known:
            known[arch] = quantized_artifact(arch, tmp_path_factory.mktemp(arch))
        return known[arch]

    return make


@pytest.fixture(scope="module")
def exported(made, tmp_path_factory):
    """A copy of the wav2vec2 artifact with OpenVINO's graphs."""
    folder = tmp_path_factory.mktemp("exported") / "art"
    shutil.copytree(made()[0].folder, folder)
    export(folder, engine="openvino")
    return folder


def noise(samples, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def one_line(caught):
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_integers_of_the_artifact_come_back_bit_for_bit(made, arch):
    artifact, _ = made(arch)
    tensors = artifact.tensors()
    model = load_model(artifact.folder, tensors=tensors)
    table = artifact.scale_table()
    weights = [entry for entry in table if entry.site.role == "weight"]
    assert len(weights) == len(tensors.packed)
    for entry in weights:
        name = f"{entry.site.module}.weight"
        weight = model.operator(entry.site.module).weight.numpy()
        steps = np.rint(weight / entry.scale.reshape(-1, *[1] * (weight.ndim - 1)))
        np.testing.assert_array_equal(steps, tensors.integers(name))


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_exporting_again_gives_the_same_bytes(made, arch, tmp_path):
    """The float model is not needed: the artifact's own graphs come out of its integers."""
    artifact, _ = made(arch)
    (done,) = export(artifact.folder, engine="onnxruntime", output=tmp_path / "bare")
    assert done.folder == tmp_path / "bare"
    names = {path.name for path in artifact.onnx.iterdir()}
    assert {path.name for path in (tmp_path / "bare").iterdir()} >= names
    for name in names:
        assert (tmp_path / "bare" / name).read_bytes() == (artifact.onnx / name).read_bytes(), name


def test_another_engine_goes_into_a_folder_of_its_own(made, exported):
    before = made()[0]
    assert verify_artifact(exported).problems == ()
    assert sorted(path.name for path in (exported / "onnx" / "openvino").iterdir()) == [
        "engine.json",
        "model.onnx",
    ]
    kept = load_artifact(exported).info.files
    assert {name: kept[name] for name in before.info.files} == before.info.files
    found = inspect(exported, engine="openvino")
    assert found.coverage == found.exports["openvino"]
    assert found.exports["openvino"].int8 == found.exports["onnxruntime"].total
    assert {row.runs for row in found.rows} == {"int8"}


def test_an_artifact_without_its_engine_files_is_mended_by_an_export(made, tmp_path):
    shutil.copytree(made()[0].folder, tmp_path / "art")
    (tmp_path / "art" / "onnx" / "engine.json").unlink()
    with pytest.raises(
        ArtifactError, match=r"art has no engine.json; fetch .* or run `speechquant export` on it"
    ):
        load(tmp_path / "art")
    export(tmp_path / "art", engine="onnxruntime")
    assert verify_artifact(tmp_path / "art").problems == ()


def test_both_engines_hear_the_same(exported):
    wave = noise(12000)
    both = [load(exported, engine=name, precision="f32") for name in ("onnxruntime", "openvino")]
    texts = [model.transcribe(wave).text for model in both]
    assert texts[0] == texts[1]
    assert texts[0]


def test_transcribe_and_evaluate_take_an_engine(exported, tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(16000), 16000)
    (tmp_path / "a.txt").write_text("A TEST")
    (result,) = transcribe(exported, [tmp_path / "a.wav"], engine="openvino", precision="f32")
    (reference,) = transcribe(exported, [tmp_path / "a.wav"])
    assert result.transcript.text == reference.transcript.text
    report = evaluate([exported], tmp_path, engine="openvino", precision="f32", cache=tmp_path / "cache")
    assert report.results[0].evaluation.backend == "openvino"
    assert list((tmp_path / "cache").glob("*.blob"))


def test_an_engine_that_was_not_exported_names_the_command(made):
    folder = made("wavlm-base")[0].folder
    for use in (load_recognizer, load, inspect):
        with pytest.raises(EngineError) as caught:
            use(folder, engine="openvino")
        assert "speechquant export" in one_line(caught)
        assert "--engine openvino" in one_line(caught)


def test_a_bare_export_runs_alone(made, tmp_path):
    artifact, model = made()
    export(artifact.folder, engine="openvino", output=tmp_path / "bare")
    wave = noise(9000)
    alone = load_recognizer(tmp_path / "bare", engine="openvino", threads=1).recognize([wave])
    assert alone[0].text == load(tmp_path / "bare", engine="openvino", threads=1).transcribe(wave).text
    assert {path.name for path in model.kept_files} <= {path.name for path in (tmp_path / "bare").iterdir()}
    export(artifact.folder, engine="openvino", output=tmp_path / "bare")


def test_all_engines_and_those_that_are_missing(made, tmp_path, monkeypatch):
    class Listener:
        notes = ()

        def stage(self, title):
            from contextlib import nullcontext

            return nullcontext(lambda *_: None)

        def note(self, message):
            self.notes = (*self.notes, message)

    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "speechquant.engines.openvino", raising=False)
    monkeypatch.delitem(sys.modules["speechquant.engines.base"]._OPENERS, "openvino", raising=False)
    heard, folder = Listener(), made()[0].folder
    done = export(folder, output=tmp_path / "bare", progress=heard)
    assert "onnxruntime" in [item.engine for item in done]
    assert all(item.folder == tmp_path / "bare" / item.engine for item in done)
    assert [note for note in heard.notes if "openvino" in note and "speechquant[openvino]" in note]
    assert load_recognizer(tmp_path / "bare", threads=1).recognize([noise(5000)])
    with pytest.raises(MissingExtraError, match=r"speechquant\[openvino\]"):
        export(folder, engine="openvino")


def test_mistakes_are_named(made, tmp_path):
    folder = made()[0].folder
    with pytest.raises(EngineError, match="unknown engine 'tpu'; choose all or one of onnxruntime"):
        export(folder, engine="tpu")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StorageError, match="holds other files"):
        export(folder, engine="openvino", output=tmp_path)
    with pytest.raises(StorageError, match="is a file"):
        export(folder, engine="openvino", output=tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "mine"
