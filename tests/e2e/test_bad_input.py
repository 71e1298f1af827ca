"""Whatever is wrong with model, speech or disk: exit code 2 and one line, or a counted skip."""

from __future__ import annotations

import json
import os
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROLES = ("calibration", "dev", "test")


@pytest.fixture
def models(model, tmp_path):
    """Copies of the tiny model that a test may spoil."""

    def copy(spoil):
        folder = tmp_path / "spoiled"
        shutil.copytree(model, folder)
        spoil(folder)
        return folder

    return copy


@pytest.fixture
def data(speech, tmp_path):
    """Manifests by role that a test may change; `data(role, change)` returns the options for all."""

    def options(role, change):
        rows = [json.loads(line) for line in getattr(speech, role).read_text().splitlines()]
        for index, row in enumerate(rows):
            copy = tmp_path / f"{role}-{index}.wav"
            shutil.copyfile(row["path"], copy)
            row["path"] = str(copy)
        path = tmp_path / f"{role}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        change(path, rows)
        return f"--{role}", path

    return options


def rewrite(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def set_json(name, **values):
    def spoil(folder):
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**content, **values}))

    return spoil


def truncate(share):
    def spoil(folder):
        path = folder / "model.safetensors"
        os.truncate(path, int(path.stat().st_size * share))

    return spoil


def scribble(folder):
    path = folder / "model.safetensors"
    path.write_bytes(b"\xff" * 64 + path.read_bytes()[64:])


def nan_weights(folder):
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = np.full_like(tensors["lm_head.weight"], np.nan)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def only_pickle(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


MODELS = {
    "no config": (lambda folder: (folder / "config.json").unlink(), ["config.json"]),
    "config is no JSON": (lambda folder: (folder / "config.json").write_text("{"), ["config.json"]),
    "unknown architecture": (set_json("config.json", model_type="gpt-7"), ["gpt-7", "hubert"]),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), ["safetensors"]),
    "half the weights": (truncate(0.5), ["damaged or incomplete"]),
    "empty weights": (truncate(0), ["damaged or incomplete"]),
    "corrupt header": (scribble, ["damaged or incomplete"]),
    "pickled weights": (only_pickle, ["safetensors"]),
    "NaN weights": (nan_weights, ["lm_head.weight", "NaN"]),
    "no vocabulary": (lambda folder: (folder / "vocab.json").unlink(), ["vocab.json"]),
    "other vocabulary": (
        lambda folder: (folder / "vocab.json").write_text('{"<pad>": 0, "A": 99}'),
        ["vocabulary"],
    ),
}


@pytest.mark.parametrize("case", MODELS)
def test_unusable_models(run, failed, models, tmp_path, case):
    spoil, words = MODELS[case]
    failed(run("-o", tmp_path / "out", source=models(spoil)), "spoiled", *words)
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_not_there(cli, failed, roles, tmp_path):
    for name in (tmp_path / "nowhere", "./nowhere"):
        failed(cli("quantize", name, *roles, "-o", tmp_path / "out"), "nowhere", "folder")
    failed(cli("quantize", "demo:nothing", *roles, "-o", tmp_path / "out"), "demo:hubert-mini")
    failed(cli("quantize", *roles, "-o", tmp_path / "out"), "model: is missing")


def twice(path, rows):
    rewrite(path, [*rows, rows[0]])


def latin(path, rows):
    rows[1]["text"] = "CAF\u00c9"
    path.write_bytes("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("latin-1"))


def without_text(path, rows):
    rewrite(path, [{key: value for key, value in row.items() if key != "text"} for row in rows])


def all_silent(path, rows):
    for row in rows:
        soundfile.write(row["path"], np.zeros(16_000), 16_000)


def all_gone(path, rows):
    for row in rows:
        Path(row["path"]).unlink()


CORPORA = {
    "missing": (lambda path, rows: path.unlink(), ["dev.jsonl", "not found"]),
    "empty": (lambda path, rows: path.write_text(""), ["dev.jsonl"]),
    "not JSON": (lambda path, rows: path.write_text("path,text\na.wav,A\n"), ["dev.jsonl", "line 1"]),
    "wrong encoding": (latin, ["dev.jsonl, line 2", "UTF-8"]),
    "UTF-16": (lambda path, rows: path.write_bytes(path.read_text().encode("utf-16")), ["UTF-16"]),
    "duplicate ids": (twice, ["duplicate utterance id"]),
    "no transcripts": (without_text, ["no transcripts", "--audio-only"]),
    "all audio missing": (all_gone, ["none of its 4 audio files exist"]),
    "all audio silent": (all_silent, ["skipped"]),
}


@pytest.mark.parametrize("case", CORPORA)
def test_unusable_speech(run, failed, data, tmp_path, case):
    change, words = CORPORA[case]
    failed(run(*data("dev", change), "-o", tmp_path / "out"), *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("role", ROLES)
def test_a_role_without_any_usable_audio(run, failed, data, tmp_path, role):
    failed(run(*data(role, all_silent), "-o", tmp_path / "out", "--method", "mse"))


@pytest.mark.parametrize("pair", ["calibration dev", "dev test", "calibration test"])
def test_overlapping_roles(run, failed, speech, tmp_path, pair):
    one, two = pair.split()
    failed(run(f"--{one}", getattr(speech, two), "-o", tmp_path / "out"), one, two, "--allow-overlap")


def spoil_audio(path, rows):
    """Ten unusable utterances of every kind beside four good ones."""
    root, good = path.parent, rows[0]["path"]
    samples, rate = soundfile.read(good, dtype="float32")
    holes = samples.copy()
    holes[100:200] = np.nan
    (root / "zero-bytes.wav").touch()
    (root / "garbage.wav").write_bytes(bytes(range(256)) * 40)
    soundfile.write(root / "zero-seconds.wav", samples[:0], rate)
    soundfile.write(root / "short.wav", samples[:800], rate)
    soundfile.write(root / "silent.wav", 0 * samples, rate)
    soundfile.write(root / "nan.wav", holes, rate, subtype="FLOAT")
    soundfile.write(root / "scale.wav", samples * np.float32(1e38), rate, subtype="FLOAT")
    soundfile.write(root / "long.wav", np.zeros(4000 * 7200, np.int16), 4000, subtype="PCM_U8")
    soundfile.write(root / "whole.flac", samples, rate)
    (root / "truncated.flac").write_bytes((root / "whole.flac").read_bytes()[:-2000])
    names = ("zero-bytes.wav", "garbage.wav", "zero-seconds.wav", "short.wav", "silent.wav", "nan.wav")
    bad = [*names, "scale.wav", "long.wav", "truncated.flac", "missing.wav"]
    extra = [{"id": name.partition(".")[0], "path": str(root / name), "text": "NO WORDS"} for name in bad]
    rewrite(path, [*extra, *rows])


BAD_IDS = {"zero-bytes", "garbage", "zero-seconds", "short", "silent", "nan", "scale", "long", "truncated"}
BAD_IDS |= {"missing"}


@pytest.mark.parametrize("role", ["calibration", "test"])
def test_unusable_utterances_are_counted_skips(run, data, tmp_path, role):
    for _ in range(2):  # the second run has what the first one stored
        result = run(*data(role, spoil_audio), "-o", tmp_path / "out", "--method", "mse")
        assert result.exit_code == 0, result.output
        metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
        assert {item["id"] for item in metrics["skipped"]} == BAD_IDS
        assert {item["role"] for item in metrics["skipped"]} == {role}
        assert all(item["reason"] and "\n" not in item["reason"] for item in metrics["skipped"])
        assert "skipped 10 unusable utterances" in result.stdout


@pytest.mark.parametrize("role", ROLES)
def test_strict_refuses_them(run, failed, data, tmp_path, role):
    def spoil(path, rows):
        soundfile.write(rows[2]["path"], np.zeros(16_000), 16_000)

    failed(run(*data(role, spoil), "-o", tmp_path / "out", "--method", "mse", "--strict"), f"{role}-2.wav")


def test_characters_outside_the_vocabulary_are_a_warning(run, data, tmp_path):
    def foreign(path, rows):
        rows[0]["text"] = "\u00c5NGSTR\u00d6M 7"
        rewrite(path, rows)

    result = run(*data("test", foreign), "-o", tmp_path / "out", "--method", "mse")
    assert result.exit_code == 0, result.output
    (warning,) = json.loads((tmp_path / "out" / "metrics.json").read_text())["warnings"]
    assert "test: 1 of 4 transcripts" in warning
    assert "(7, \u00c5, \u00d6)" in warning
    assert f"warning: {warning}" in result.stdout


SETTINGS = {
    "grid": (["--cutoffs", "x"], ["cutoffs"]),
    "bits": (["--bits", "w99a8"], ["bits"]),
    "no layer": (["--include", "nothing"], ["--include"]),
    "normaliser": (["--normalizer", "klingon"], ["klingon"]),
    "two ways": (["--audio-only", "x"], ["--audio-only", "exclude"]),
    "recipe": (["--recipe", "nowhere.yaml"], ["nowhere.yaml"]),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_impossible_settings(run, failed, tmp_path, case):
    options, words = SETTINGS[case]
    failed(run(*options, "-o", tmp_path / "out"), *words)


@pytest.mark.parametrize(
    "output", ["/proc/out", "/dev/null", "/dev/null/out", "{file}", "{file}/out", "{folder}", "/"]
)
def test_unwritable_outputs(run, failed, tmp_path, output):
    (tmp_path / "file").write_text("precious")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "photo").write_text("precious")
    output = output.format(file=tmp_path / "file", folder=tmp_path / "folder")
    failed(run("-o", output))
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "photo").read_text() == "precious"


@pytest.fixture
def full_disk(monkeypatch):
    """No file may grow past `size` bytes from the moment a function is called: the kernel refuses the rest."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(room, name, size):
        real = getattr(room, name)

        def limited(*arguments, **options):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
            try:
                return real(*arguments, **options)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

        monkeypatch.setattr(room, name, limited)

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


PLACES = {
    "histograms": ("jobs.quantization.workbench", "save_histograms", 1000, ["histograms"]),
    "store": ("evaluation.store", "EvaluationStore.save", 0, ["evaluations.sqlite"]),
    "store in the search": ("jobs.quantization.workbench", "plain", 20_000, ["evaluations.sqlite"]),
    "export": ("jobs.quantization.measure", "export_onnx", 20_000, ["cannot be written"]),
    "coverage": ("engines.export.write", "read_coverage", 1000, []),
    "weights": ("artifact.save", "save_tensors", 1000, ["out", "cannot be written"]),
    "engine files": ("jobs.quantization.job", "save_artifact", 90_000, ["out", "cannot be written"]),
    "page": ("artifact.save", "_write", 5000, ["out", "cannot be written"]),
}


@pytest.mark.parametrize("case", PLACES)
def test_a_full_disk(run, failed, full_disk, first, tmp_path, monkeypatch, case):  # noqa: PLR0917
    import importlib

    from speechquant.engines.export import export_onnx
    from speechquant.jobs.quantization import measure

    room, name, size, words = PLACES[case]
    module = importlib.import_module(f"speechquant.{room}")
    if case in {"export", "coverage"}:
        monkeypatch.setattr(measure, "export_onnx", export_onnx)
    owner, _, name = name.rpartition(".")
    module = getattr(module, owner) if owner else module
    out = tmp_path / "out"
    shutil.copytree(first.folder, out)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    full_disk(module, name, size)
    failed(run("-o", out, "--method", "mse"), *words)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.work"]
