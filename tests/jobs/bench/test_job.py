"""The whole job on tiny models: which systems there are, from where, and what the command says."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from speechquant.artifact import ArtifactContents, save_artifact
from speechquant.cli import app
from speechquant.engines import find_export
from speechquant.engines.export import export_onnx
from speechquant.errors import (
    ArtifactError,
    EngineError,
    MissingExtraError,
    ModelError,
    RecipeError,
    StorageError,
)
from speechquant.jobs import BenchInterrupted, bench
from speechquant.jobs.bench.footprint import Footprint
from speechquant.models.random import random_model
from speechquant.simulation import activation_table, observe, weight_table

torch.set_num_threads(1)
MEASURE = sys.modules["speechquant.jobs.bench.measure"]
CANDIDATES = sys.modules["speechquant.jobs.bench.candidates"]


@pytest.fixture(scope="session")
def floats(tmp_path_factory):
    """Folder of a tiny float model."""
    folder = tmp_path_factory.mktemp("float") / "tiny"
    random_model("wav2vec2-base", folder, tiny=True)
    return folder


@pytest.fixture(scope="session")
def quantized(floats, tmp_path_factory):
    """An artifact with graphs for ONNX Runtime."""
    from speechquant.models import load_model

    model = load_model(floats)
    wave = (0.1 * np.random.default_rng(0).standard_normal(16_000)).astype(np.float32)
    sites = model.sites()
    inputs = activation_table(sites, histograms=observe(model, [wave]), calibrator="max", bits=8)
    table = weight_table(model, sites, bits=8).merged(inputs)
    contents = ArtifactContents(
        name="tiny",
        source="tiny",
        family=model.model_type,
        task=model.runtime.task,
        method="max",
        bits="w8a8",
        model_files=model.kept_files,
        weights={name: tensor.numpy() for name, tensor in model.module.state_dict().items()},
        table=table,
        metrics={},
        model_signature=model.signature,
        data_signatures={},
        recipe="bits: w8a8\n",
        onnx=lambda place: export_onnx(model, table, place) and None,
    )
    return save_artifact(contents, tmp_path_factory.mktemp("artifact") / "out").folder


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """`export_onnx` that writes equal models once; tables are taken for equal, as no test looks at their values."""
    home, known = tmp_path_factory.mktemp("exported"), {}

    def export(model, table, folder, dialect):
        key = (model.signature, table is None, dialect)
        if key not in known:
            known[key] = export_onnx(model, table, home / str(len(known)), dialect)
        shutil.copytree(known[key].folder, folder)
        return replace(known[key], folder=folder)

    return export


@pytest.fixture
def quick(monkeypatch, exported):
    """No processes, which would import torch; known exports; one turn of half a second."""
    monkeypatch.setattr("speechquant.engines.export.export_onnx", exported)

    def fake(name, opener, wave, *, rate, batch):
        del opener
        return Footprint(name, wave.size / rate, batch, 0.1, 1.0, 1, 2)

    monkeypatch.setattr(MEASURE, "measure_footprint", fake)
    return {"seconds": [0.5], "repeats": 1, "threads": 1}


@pytest.fixture
def cli():
    def call(*arguments):
        return CliRunner().invoke(app, ["bench", *map(str, arguments)])

    return call


def ort(folder):
    return find_export(folder, "onnxruntime")[0]


def test_an_artifact_is_compared_with_its_own_float_model(quantized, quick, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in quantized.rglob("*")}
    result = bench(quantized, output=tmp_path / "out", **quick)
    names = set(result.systems)
    assert {
        "torch f32",
        "onnxruntime f32",
        "onnxruntime int8",
        "openvino f32",
        "openvino int8",
    } <= names
    # bf16 is there where the processor has it, and then int8 runs with and without it.
    short = {"openvino bf16", "openvino int8, f32 rest"}
    assert names & short in (set(), short)
    assert "onnxruntime bf16" not in names
    assert result.title == "artifact out"
    int8 = result.systems["onnxruntime int8"]
    assert int8.open.args == (ort(quantized),)
    assert (int8.coverage.int8, int8.coverage.total) == (22, 22)
    graph = quantized / "onnx"
    wanted = (graph / "model.onnx", graph / "engine.json", quantized / "vocab.json")
    assert int8.bytes == sum(path.stat().st_size for path in wanted)
    assert result.systems["openvino int8"].coverage.int8 == 22
    assert {path: path.stat().st_mtime_ns for path in quantized.rglob("*")} == before
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"bench.json", "bench.md", "latency.svg"}
    values = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert values["threads"] == 1
    assert list(values["systems"]) == list(result.systems)


@pytest.mark.usefixtures("quick")
def test_systems_of_an_artifact_hear_the_same(quantized, tmp_path):
    found = CANDIDATES.of_artifact(
        quantized, ["onnxruntime"], threads=1, scratch=tmp_path, progress=MEASURE.Silent()
    )
    wave = (0.1 * np.random.default_rng(3).standard_normal(8000)).astype(np.float32)
    frames = {name: system.open().recognize([wave])[0].frames for name, system in found.systems.items()}
    assert frames["torch f32"] == frames["onnxruntime f32"]
    assert found.systems["torch f32"].bytes > 3 * found.systems["onnxruntime int8"].coverage.total


def test_without_torch_the_graphs_of_an_artifact_are_compared(quantized, quick, monkeypatch):
    monkeypatch.setitem(sys.modules, "speechquant.models", None)
    result = bench(quantized, **quick)
    assert list(result.systems) == ["onnxruntime int8"]
    assert any("openvino is left out: exporting" in note for note in result.notes)
    assert any("no float system" in note for note in result.notes)


def test_threads_and_audio_are_told(floats, quick):
    result = bench(floats, engines=["onnxruntime"], batches=[2], **{**quick, "threads": 2})
    assert list(result.systems) == ["torch f32", "onnxruntime f32", "onnxruntime int8"]
    assert result.systems["onnxruntime int8"].open.keywords["options"].threads == 2
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    assert result.provenance.threads == 2
    assert result.provenance.audio.startswith("speech of dev")
    assert [cell.latency.batch for cell in result.cells] == [2]
    assert any("worth nothing" in note for note in result.notes)


def test_an_architecture_needs_no_model(quick, monkeypatch):
    monkeypatch.setattr("speechquant.models.random.random_model", partial(random_model, tiny=True))
    result = bench(arch="wav2vec2-base", engines=["onnxruntime"], **quick)
    assert result.title == "architecture wav2vec2-base with random weights"
    assert result.provenance.audio == "noise"
    assert result.realtime is None
    with pytest.raises(ModelError, match=r"no architecture 'bert'.*hubert-large"):
        bench(arch="bert", **quick)


def test_data_gives_the_real_time_factor(floats, quick, speech, tmp_path):
    rows = (speech / "test.jsonl").read_text().splitlines()[:2]
    for row in rows:
        path = json.loads(row)["path"]
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(speech / path, tmp_path / path)
    (tmp_path / "two.jsonl").write_text("\n".join(rows))
    result = bench(floats, engines=["onnxruntime"], data=tmp_path / "two.jsonl", **quick)
    seconds = sum(json.loads(row)["seconds"] for row in rows)
    assert result.realtime.utterances == 2
    assert result.realtime.audio_seconds == pytest.approx(seconds, abs=0.1)
    assert set(result.realtime.factor) == set(result.systems)
    assert "two" in result.provenance.audio


def test_an_interruption_is_written(floats, quick, monkeypatch, tmp_path):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(MEASURE, "take_turns", stop)
    with pytest.raises(BenchInterrupted):
        bench(floats, engines=["onnxruntime"], output=tmp_path / "out", **quick)
    values = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert values["interrupted"] is True
    assert len(values["footprints"]) == 3
    assert "interrupted" in (tmp_path / "out" / "bench.md").read_text()
    assert not list((tmp_path / "out").glob("scratch-*"))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, RecipeError, "--arch"),
        ({"target": "x", "arch": "y"}, RecipeError, "either"),
        ({"target": "x", "threads": 0}, RecipeError, "0 threads"),
        ({"target": "x", "batches": [0]}, RecipeError, "batch of 0"),
        ({"target": "x", "engines": ["tpu"]}, EngineError, "'tpu'; choose all or from onnxruntime"),
        ({"target": "x", "engines": ["tensorrt"]}, EngineError, "tensorrt"),
        ({"target": "/no/such"}, ModelError, "is not|neither"),
    ],
)
def test_mistakes_are_named(arguments, error, words):
    with pytest.raises(error, match=words) as caught:
        bench(**arguments)
    assert "\n" not in str(caught.value)


def test_an_export_alone_has_nothing_to_compare_with(quantized, tmp_path):
    shutil.copytree(quantized / "onnx", tmp_path / "bare")
    with pytest.raises(ArtifactError, match="give the artifact"):
        bench(tmp_path / "bare")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="is a file"):
        bench(quantized, output=tmp_path / "file")


def test_nothing_is_put_into_an_artifact(quantized, tmp_path):
    shutil.copytree(quantized, tmp_path / "out")
    with pytest.raises(StorageError, match="holds an artifact"):
        bench(quantized, output=tmp_path / "out")
    assert not list((tmp_path / "out").glob("bench*"))


@pytest.mark.parametrize(
    ("bits", "kind"),
    [("w8a8", "int8"), ("w4a8", "int8"), ("w6a6", "int8"), ("w4a16", "w4a16"), ("w8a16", "w8a16")],
)
def test_only_integer_products_are_called_int8(bits, kind):
    assert CANDIDATES._kind(bits) == kind


def test_an_engine_that_is_missing(monkeypatch):
    def missing(name):
        if name == "openvino":
            raise MissingExtraError("engine openvino is not installed; pip install x")

    monkeypatch.setattr(CANDIDATES, "import_engine", missing)
    chosen, notes = CANDIDATES.choose_engines(["all"])
    assert chosen == ("onnxruntime",)
    assert len(notes) == 1
    with pytest.raises(MissingExtraError, match="openvino"):
        CANDIDATES.choose_engines(["openvino"])


def test_the_command(cli, quantized, tmp_path, monkeypatch):
    """With a real process for each system, on ONNX Runtime alone: torch takes long to import."""
    monkeypatch.setitem(sys.modules, "speechquant.models", None)
    settings = ("--seconds", 0.5, "--seconds", 1, "--batch", 2, "--repeats", 2, "--threads", 1)
    result = cli(quantized, *settings, "-e", "onnxruntime", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["system", "0.5", "s", "1", "s"] in lines
    assert "artifact out" in result.stdout
    assert "22 of 22" in result.stdout
    assert "CPU threads: 1" in result.stdout
    values = json.loads((tmp_path / "out" / "bench.json").read_text())
    peaks = [item["peak_bytes"] for item in values["footprints"]]
    assert len(peaks) == 2
    assert all(10e6 < peak < 400e6 for peak in peaks)
    assert [cell["batch"] for cell in values["latency"]] == [2, 2]


def test_an_interrupted_command_shows_what_it_has(cli, made, monkeypatch):
    def job(*_, **__):
        raise BenchInterrupted(made(interrupted=True))

    monkeypatch.setattr(sys.modules["speechquant.jobs.bench"], "bench", job)
    result = cli("x")
    assert result.exit_code == 130
    assert "10 (4.00x)" in result.stdout
    assert "interrupted" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--arch"),
        (("x", "--engine", "tpu"), "tpu"),
        (("x", "--seconds", "0"), "0 s of audio"),
        (("x", "--repeats", "0"), "0 repeats"),
        (("/no/such",), "/no/such"),
    ],
)
def test_a_wrong_command_is_one_line(cli, arguments, words):
    result = cli(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert len([line for line in result.stderr.splitlines() if line.startswith("error:")]) == 1
    assert "Traceback" not in result.output


def test_python_has_the_verb(floats):
    import speechquant as sq

    assert sq.bench is bench
    with pytest.raises(sq.SpeechquantError):
        sq.bench(floats, arch="hubert-base")
