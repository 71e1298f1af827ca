"""`speechquant quantize` from a model folder and speech to an artifact that transcribes without torch."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import yaml

from speechquant.artifact import load_artifact
from speechquant.numerics import dequantize, quantize

FILES = {
    "README.md",
    "config.json",
    "metrics.json",
    "model.safetensors",
    "onnx/engine.json",
    "onnx/model.onnx",
    "preprocessor_config.json",
    "quantization.json",
    "recipe.yaml",
    "report.html",
    "vocab.json",
}
KEYS = {
    "float",
    "naive_max",
    "quantized",
    "simulated",
    "p_value",
    "bytes",
    "latency_ms",
    "coverage",
    "selected_layers",
    "p_opt",
    "dev_passes",
    "seconds",
    "peak_rss_mb",
    "versions",
    "references",
    "skipped",
    "warnings",
    "agreement",
}
SYSTEMS = ("float", "naive_max", "quantized", "simulated")

LEAN = """
import sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "transformers", "onnx", "onnx_ir", "onnxscript", "scipy"}:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Finder())
from speechquant.cli import app
for line in sys.stdin.read().splitlines():
    try:
        app(line.split("\\t"))
    except SystemExit as end:
        print(f"== {end.code}", flush=True)
"""


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def files_of(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_every_file_is_there_and_listed(first):
    found = files_of(first.folder)
    assert found >= FILES
    assert set(load_artifact(first.folder).info.files) == found - {"quantization.json"}
    assert [path.name for path in first.folder.parent.iterdir() if path.name.startswith(".")] == []


def test_metrics(first):
    metrics = metrics_of(first.folder)
    assert metrics.keys() >= KEYS
    for system in SYSTEMS:
        found = metrics[system]
        errors = found["substitutions"] + found["deletions"] + found["insertions"]
        assert found["wer"] == pytest.approx(100 * errors / found["words"])
        assert found["low"] <= found["wer"] <= found["high"]
        assert found["words"] == metrics["float"]["words"] > 0
    assert set(metrics["seconds"]) == {"calibrate", "search", "round", "export", "evaluate"}
    assert metrics["bytes"]["quantized"] == (first.folder / "onnx" / "model.onnx").stat().st_size
    assert metrics["bytes"]["quantized"] < metrics["bytes"]["float"]
    assert metrics["coverage"]["int8"] + len(metrics["coverage"]["fallbacks"]) == metrics["coverage"]["total"]
    assert metrics["latency_ms"].keys() >= {"float", "quantized", "pytorch", "seconds"}
    assert metrics["dev_passes"] <= metrics["dev_requests"]
    assert (metrics["references"], metrics["skipped"], metrics["model"]) == ("transcripts", [], "tiny-ctc")
    assert metrics["agreement"]["unit"] == "frames"
    assert metrics["agreement"]["value"] > 90


def test_results_go_to_stdout_and_progress_to_stderr(first):
    metrics = metrics_of(first.folder)
    for text in ("float", "naive max w8a8", "stablequant w8a8", "simulated", "report.html", "p_opt", "int8"):
        assert text in first.stdout or (text == "p_opt" and not metrics["selected_layers"]), text
    assert f"{metrics['quantized']['wer']:.2f}" in first.stdout
    for stage in ("calibrate", "search", "export", "save"):
        assert f"{stage}: done" in first.stderr
        assert f"{stage}: done" not in first.stdout
    assert "error" not in first.stderr


def test_weights_are_the_float_models_on_their_grid(first, model):
    from safetensors.numpy import load_file

    floats = load_file(model / "model.safetensors")
    artifact = load_artifact(first.folder)
    tensors = artifact.tensors()
    compared = 0
    for entry in artifact.scale_table():
        name = f"{entry.site.module}.weight"
        if entry.site.role == "weight" and name in floats:
            expected = dequantize(quantize(floats[name], entry.scale, entry.spec), entry.scale)
            np.testing.assert_array_equal(tensors[name], expected)
            compared += 1
    assert compared > 15
    for name in set(tensors) & set(floats):
        if name.endswith(".bias"):
            np.testing.assert_array_equal(tensors[name], floats[name])


def test_the_card_and_the_page_show_the_same_figures(first):
    metrics = metrics_of(first.folder)
    card = (first.folder / "README.md").read_text(encoding="utf-8")
    page = (first.folder / "report.html").read_text(encoding="utf-8")
    for system in ("float", "quantized"):
        assert f"{metrics[system]['wer']:.2f}" in card
        assert f"{metrics[system]['wer']:.2f}" in page
    assert "Word error rate" in card
    assert "://" not in page.replace("http://www.w3.org/", "")


def test_the_recipe_repeats_the_run(first, cli, figures, tmp_path):
    path = first.folder / "recipe.yaml"
    text = path.read_text(encoding="utf-8")
    command = shlex.split(text.splitlines()[0].removeprefix("# "))
    assert command == ["speechquant", "quantize", "--recipe", str(path)]
    assert yaml.safe_load(text)["naive"] is True
    again = tmp_path / "again"
    result = cli(*command[1:], "-o", again)
    assert result.exit_code == 0, result.output
    one, two = load_artifact(first.folder), load_artifact(again)
    assert one.scale_table().signature == two.scale_table().signature
    assert one.info.signatures == two.info.signatures
    assert figures(first.folder) == figures(again)
    # The header of a safetensors file has its notes in random order.
    tensors = one.tensors(), two.tensors()
    assert tensors[0].stored == tensors[1].stored
    assert all(np.array_equal(tensors[0].raw(name), tensors[1].raw(name)) for name in tensors[0].stored)
    for name in ("onnx/model.onnx", "onnx/engine.json", "vocab.json"):
        assert (first.folder / name).read_bytes() == (again / name).read_bytes(), name


def test_the_artifact_is_used_without_torch(first, speech):
    wav = min(speech.wavs.glob("*.wav"))
    commands = [
        ["transcribe", first.folder, wav],
        ["transcribe", first.folder, wav, "--format", "json"],
        ["transcribe", first.folder, wav, "--format", "srt"],
        ["evaluate", first.folder, "--data", speech.test, "--json"],
        ["verify", first.folder],
        ["inspect", first.folder],
    ]
    lines = "\n".join("\t".join(map(str, command)) for command in commands)
    done = subprocess.run(
        [sys.executable, "-c", LEAN], input=lines, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    text, record, subtitles, evaluation, verified, inspected, rest = done.stdout.split("== 0\n")
    assert rest == ""
    assert json.loads(record)["text"] == text.strip()
    assert "-->" in subtitles or not text.strip()
    found, metrics = json.loads(evaluation)["results"][0], metrics_of(first.folder)["quantized"]
    for name in ("words", "substitutions", "deletions", "insertions", "wer", "low", "high"):
        assert found[name] == metrics[name], name
    assert "wrong" not in verified
    assert len([line for line in inspected.splitlines() if ":input" in line or ":weight" in line]) == len(
        load_artifact(first.folder).scale_table()
    )


@pytest.mark.parametrize("asked", ["percentile w4a8", "entropy w6a6", "mse w8a8"])
def test_other_methods_and_widths(cli, model, roles, tmp_path, asked):
    method, bits = asked.split()
    result = cli("quantize", model, *roles, "-o", tmp_path / "out", "--method", method, "--bits", bits)
    assert result.exit_code == 0, result.output
    artifact = load_artifact(tmp_path / "out")
    assert (artifact.info.method, artifact.info.bits) == (method, bits)
    weight_bits = {entry.spec.bits for entry in artifact.scale_table() if entry.site.role == "weight"}
    assert weight_bits == {int(bits[1])}
    assert artifact.metrics["dev_passes"] == 1
    assert f"{method} {bits}" in result.stdout
    assert "clipped layers" not in result.stdout
    assert cli("verify", tmp_path / "out").exit_code == 0


def test_speech_without_transcripts(cli, model, speech, tmp_path, monkeypatch):
    from dataclasses import replace

    from speechquant.engines import onnxruntime
    from speechquant.models.ctc_recognizer import CTCRecognizer

    def wordy(kind):
        # A random network says hardly anything, so its letters are spaced out to make words.
        real = kind.recognize

        def recognize(self, waves):
            return [replace(found, text=" ".join(f"W{found.text}")) for found in real(self, waves)]

        monkeypatch.setattr(kind, "recognize", recognize)

    wordy(CTCRecognizer)
    for name in dir(onnxruntime):
        kind = getattr(onnxruntime, name)
        if isinstance(kind, type) and "recognize" in vars(kind) and hasattr(kind, "backend"):
            wordy(kind)
    (tmp_path / "wavs").mkdir()
    for path in speech.wavs.glob("*.wav"):
        (tmp_path / "wavs" / path.name).write_bytes(path.read_bytes())
    for i in range(4):
        soundfile.write(tmp_path / "wavs" / f"silent-{i}.wav", np.zeros(16_000 + i), 16_000)
    options = ("--threads", 1, "--method", "mse")
    result = cli("quantize", model, "--audio-only", tmp_path / "wavs", "-o", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    metrics = metrics_of(tmp_path / "out")
    assert metrics["references"] == "float model"
    assert metrics["float"]["wer"] == 0
    assert sorted(item["id"] for item in metrics["skipped"]) == [f"silent-{i}" for i in range(4)]
    assert {item["role"] for item in metrics["skipped"]} <= {"calibration", "dev", "test"}
    assert "skipped 4 unusable utterances" in result.stdout
    assert "Disagreement with the float model" in result.stdout
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "Disagreement with the float model" in card
    assert "float model's own output" in card
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "float model" in page
    assert "disagree" in page.lower() or "differ from the float model" in page
    recipe = yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text(encoding="utf-8"))
    assert recipe["audio_only"] == str(tmp_path / "wavs")


def test_a_trained_model_keeps_its_words(cli, roles, tmp_path):
    options = [*roles, "--cutoffs", "0:0.5:0.5", "--include", "transformer.[0-2]", "--no-naive"]
    result = cli("quantize", "demo:hubert-mini", *options, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    metrics = metrics_of(tmp_path / "out")
    assert metrics["model"] == "hubert-mini-ctc"
    assert 0 < metrics["float"]["wer"] < 90
    assert abs(metrics["quantized"]["wer"] - metrics["float"]["wer"]) < 15
    assert metrics["agreement"]["value"] > 97
    assert metrics["coverage"]["fallbacks"]
    table = load_artifact(tmp_path / "out").scale_table()
    assert {entry.site.layer.partition(".")[0] for entry in table} == {"transformer"}
    assert "IT IS POSSIBLE" in result.stdout or "reference" in result.stdout


def test_an_artifact_is_replaced_and_other_folders_are_not(cli, failed, model, roles, tmp_path):
    out = tmp_path / "out"
    options = ("-o", out, "--method", "mse")
    assert cli("quantize", model, *roles, *options).exit_code == 0
    before = load_artifact(out).scale_table().signature
    assert cli("quantize", model, *roles, *options, "--exclude", "conv.*").exit_code == 0
    assert load_artifact(out).scale_table().signature != before
    (tmp_path / "diary").mkdir()
    (tmp_path / "diary" / "page.txt").write_text("dear")
    failed(cli("quantize", model, *roles, "-o", tmp_path / "diary"), "choose another folder")
    assert [path.name for path in (tmp_path / "diary").iterdir()] == ["page.txt"]


@pytest.mark.parametrize("output", [".", "..", "../here"])
def test_output_into_the_present_folder_is_refused(run, failed, tmp_path, monkeypatch, output):
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    failed(run("-o", output), "choose another")
    assert list(place.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
