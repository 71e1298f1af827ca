"""The commands as a shell sees them: results on stdout, the rest on stderr, one line per failure."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import artifact_fakes as fakes
import numpy as np
import pytest
import soundfile

import speechquant.jobs.inspect  # noqa: F401 - its module is looked up below
from speechquant.artifact import save_artifact


def program(*arguments, **options):
    command = [sys.executable, "-c", "from speechquant.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def failed(result, *words):
    """One line on stderr that has all words, and exit code 2."""
    assert result.exit_code == 2, (result.exit_code, result.output, result.exception)
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.output
    for word in words:
        assert word in lines[0], lines[0]


def test_help_names_all_commands(cli):
    result = cli("--help")
    assert result.exit_code == 0
    for command in ("quantize", "transcribe", "evaluate", "inspect", "verify"):
        assert command in result.output
        assert "Example" in cli(command, "--help").output


def test_help_imports_nothing_heavy():
    heavy = "torch transformers onnxruntime onnx matplotlib scipy"
    code = (
        "import sys\nfrom speechquant.cli import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted(set(sys.argv[1].split()) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, heavy], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_version(cli):
    from speechquant import __version__

    assert cli("--version").stdout.strip() == __version__


def test_transcribe_text(cli, artifact, speech):
    result = cli("transcribe", artifact, speech)
    assert (result.exit_code, result.stdout) == (0, "BAD CAB\n")


def test_transcribe_several_files(cli, artifact, speech, tmp_path):
    second = fakes.write_speech(tmp_path / "b.wav", "DAD")
    (tmp_path / "c.wav").write_bytes(b"")
    result = cli("transcribe", artifact, speech, tmp_path / "c.wav", second)
    assert result.stdout == f"{speech}\tBAD CAB\n{second}\tDAD\n"
    assert "skipped: " in result.stderr
    assert "1 of 3 files were skipped" in result.stderr
    assert result.exit_code == 0
    lines = cli("transcribe", artifact, speech, tmp_path / "c.wav", "--format", "json").stdout.splitlines()
    assert [json.loads(line).get("text") for line in lines] == ["BAD CAB"] or len(lines) == 2


def test_transcribe_provider_and_batch(cli, artifact, speech):
    result = cli("transcribe", artifact, speech, speech, "--provider", "cpu", "--batch-size", 2)
    assert (result.exit_code, result.stdout) == (0, "BAD CAB\n")
    failed(cli("transcribe", artifact, speech, "--provider", "quantum"), "no provider quantum, only", "cpu")
    assert cli("transcribe", artifact, speech, "--batch-size", 0).exit_code == 2


def test_evaluate(cli, artifact, tmp_path):
    (tmp_path / "d").mkdir()
    fakes.write_speech(tmp_path / "d" / "x.wav", "BAD CAB")
    (tmp_path / "d" / "x.txt").write_text("BAD DAD CAB")
    table = cli("evaluate", artifact, artifact, "--data", tmp_path / "d")
    assert table.exit_code == 0, table.output
    assert "33.33" in table.stdout
    assert "p = 1" in table.stdout
    values = json.loads(cli("evaluate", artifact, "--data", tmp_path / "d", "--json").stdout)
    assert values["results"][0]["deletions"] == 1


def test_evaluate_tells_speakers_and_reasons(cli, artifact, tmp_path):
    rows = []
    for i, (said, written, speaker) in enumerate(
        [("BAD CAB", "BAD DAD CAB", "ann"), ("CAB", "CAB", "ann"), ("ABBA", "DAD", "bob")]
    ):
        fakes.write_speech(tmp_path / f"{i}.wav", said)
        rows.append({"id": f"u{i}", "audio": f"{i}.wav", "text": written, "speaker": speaker})
    for i in range(7):
        (tmp_path / f"bad{i}.wav").write_bytes(b"")
        rows.append({"id": f"bad{i}", "audio": f"bad{i}.wav", "text": "A", "speaker": "cid"})
    data = tmp_path / "data.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)))
    lines = cli("evaluate", artifact, "--data", data).stdout.splitlines()
    cells = [line.split() for line in lines]
    assert ["ann", "4", "25.00"] in cells
    assert ["bob", "1", "100.00"] in cells
    reasons = [line for line in lines if line.startswith("skipped bad")]
    assert len(reasons) == 5
    assert all("empty" in line for line in reasons)
    assert "and 2 more; --json lists them" in lines
    both = cli("evaluate", artifact, artifact, "--data", data).stdout.splitlines()
    assert ["ann", "4", "25.00", "25.00"] in [line.split() for line in both]


def test_inspect(cli, artifact):
    result = cli("inspect", artifact)
    assert result.exit_code == 0
    line = next(line for line in result.stdout.splitlines() if line.strip().startswith("conv:input"))
    assert ("yes" in line, "int8" in line, "12.7" in line, "31.5" in line) == (True, True, True, True)
    assert f", largest of {fakes.CHANNELS}" in result.stdout
    assert "cut-off: 0.05 %" in result.stdout
    assert "1 of 2 operators with weights run in int8" in result.stdout
    assert "runs in float: head, although int8 was asked for" in result.stdout
    values = json.loads(cli("inspect", artifact, "--json").stdout)
    assert len(values["sites"]) == 4
    assert values["coverage"]["int8"] == 1


def test_inspect_names_layers_left_in_float(cli, artifact, tmp_path):
    assert "left in float" not in cli("inspect", artifact).stdout
    made = save_artifact(fakes.contents(tmp_path / "model", float_layers=("conv.1",)), tmp_path / "out")
    assert "left in float by the search: conv.1\n" in cli("inspect", made.folder).stdout
    assert json.loads(cli("inspect", made.folder, "--json").stdout)["float_layers"] == ["conv.1"]


def test_verify(cli, copy):
    assert cli("verify", copy).exit_code == 0
    with (copy / "report.html").open("ab") as file:
        file.write(b" ")
    result = cli("verify", copy)
    failed(result, "1 problem")
    assert "report.html: has" in result.stdout


def edit(folder, name, change):
    values = json.loads((folder / name).read_text())
    change(values)
    (folder / name).write_text(json.dumps(values))


BAD_AUDIO = {
    "missing": lambda _: None,
    "empty": lambda path: path.write_bytes(b""),
    "not audio": lambda path: path.write_bytes(b"RIFFnonsense"),
    "silent": lambda path: soundfile.write(path, np.zeros(16_000), 16_000),
    "no samples": lambda path: soundfile.write(path, np.zeros(0), 16_000),
    "too short": lambda path: soundfile.write(path, np.ones(50) / 2, 16_000),
    "not finite": lambda path: soundfile.write(path, np.full(16_000, np.nan), 16_000, subtype="FLOAT"),
    "cut off": lambda path: path.write_bytes(fakes.write_speech(path, "BAD" * 99).read_bytes()[:9999]),
}


@pytest.mark.parametrize("case", BAD_AUDIO)
def test_one_bad_file(cli, artifact, tmp_path, case):
    BAD_AUDIO[case](tmp_path / "bad.wav")
    failed(cli("transcribe", artifact, tmp_path / "bad.wav"), "bad.wav")


def test_only_bad_files(cli, artifact, tmp_path):
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(b"")
    failed(cli("transcribe", artifact, tmp_path), "none of 2 files")


BAD_ARTIFACTS = {
    "manifest is not JSON": (lambda f: (f / "quantization.json").write_text("{"), "quantization.json"),
    "path out of the folder": (
        lambda f: edit(
            f, "quantization.json", lambda v: v["files"].update({"../x": v["files"]["vocab.json"]})
        ),
        "../x",
    ),
    "engine files elsewhere": (
        lambda f: edit(f, "onnx/engine.json", lambda v: v["files"][0].update(name="../../model.onnx")),
        "engine.json",
    ),
    "newer format": (
        lambda f: edit(f, "quantization.json", lambda v: v.update(format_version=9)),
        "another format version",
    ),
    "no engine": (
        lambda f: (f / "onnx" / "engine.json").unlink(),
        "copy has no engine.json; fetch the artifact again, or run",
    ),
    "no graph": (lambda f: (f / "onnx" / "model.onnx").unlink(), "model.onnx"),
    "altered graph": (lambda f: (f / "onnx" / "model.onnx").write_bytes(b"\x08" * 99), "model.onnx"),
    "no vocabulary": (lambda f: (f / "vocab.json").unlink(), "vocab"),
    "metrics are not JSON": (lambda f: (f / "metrics.json").write_text("["), "metrics.json"),
}


@pytest.mark.parametrize("case", BAD_ARTIFACTS)
def test_a_bad_artifact(cli, copy, speech, case):
    change, word = BAD_ARTIFACTS[case]
    change(copy)
    failed(cli("transcribe", copy, speech), word)


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_nothing_there(cli, tmp_path, command):
    failed(cli(command, tmp_path / "nowhere"), "nowhere", "no such artifact")
    failed(cli(command, tmp_path), "is not an artifact")


def test_evaluate_with_nothing_to_evaluate(cli, artifact, tmp_path, speech):
    failed(cli("evaluate", artifact, "--data", tmp_path / "gone"), "gone")
    untold = cli("evaluate", artifact, "--data", speech.parent)
    failed(untold, "no transcripts; add .txt files or a column named text")
    assert "--audio-only" not in untold.stderr
    failed(cli("evaluate", artifact, "--data", speech, "--store", tmp_path / "a.wav" / "x"), "")


def test_an_output_that_cannot_be_written(cli, artifact, speech):
    failed(cli("transcribe", artifact, speech, "-o", speech), f"{speech}: is a file; choose a folder")


def test_a_full_disk(cli, artifact, speech, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        result = cli("transcribe", artifact, speech, "-o", tmp_path / "out")
    failed(result, "No space left on device", "free some space")


FAILURES = [
    (OSError(errno.ENOSPC, "No space left on device", "x.bin"), 2, "x.bin: No space left on device; free"),
    (MemoryError(), 2, "not enough memory"),
    (ZeroDivisionError("division\nby zero"), 1, "unexpected ZeroDivisionError: division by zero; --debug"),
    (RuntimeError(), 1, "unexpected RuntimeError"),
]


@pytest.mark.parametrize(("error", "code", "text"), FAILURES, ids=[type(row[0]).__name__ for row in FAILURES])
def test_other_failures_are_one_line_too(cli, monkeypatch, error, code, text):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(sys.modules["speechquant.jobs.inspect"], "inspect", fail)
    result = cli("inspect", "anything")
    assert result.exit_code == code
    assert len(result.stderr.splitlines()) == 1
    assert text in result.stderr
    debugged = cli("--debug", "inspect", "anything")
    assert debugged.exception is error


def test_ctrl_c(cli, artifact, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["speechquant.jobs.inspect"], "inspect", interrupt)
    result = cli("inspect", artifact)
    assert result.exit_code == 130
    assert result.stderr == "interrupted; run the same command again to go on\n"


def test_wrong_usage(cli, artifact):
    for arguments in (["--frobnicate"], ["transcribe"], ["inspect", artifact, "--nope"], ["unheard-of"]):
        assert cli(*arguments).exit_code == 2
    assert cli("transcribe", artifact, "x.wav", "--format", "pdf").exit_code == 2


def test_quantize_settings(cli, tmp_path):
    failed(cli("quantize", "some/model", "-o", tmp_path / "o"), "--audio-only")
    failed(
        cli("quantize", "some/model", "--audio-only", "x", "-o", tmp_path / "o", "--bits", "w99a1"), "w99a1"
    )
    failed(cli("quantize", "--recipe", tmp_path / "no.yaml"), "no.yaml")


def test_the_real_program(artifact, speech, tmp_path):
    done = program("transcribe", artifact, speech)
    assert (done.returncode, done.stdout) == (0, "BAD CAB\n")
    assert "transcribe: done in" in done.stderr
    broken = program("transcribe", artifact, tmp_path / "gone.wav")
    assert (broken.returncode, broken.stdout) == (2, "")
    assert broken.stderr == f"error: {tmp_path / 'gone.wav'}: audio file not found; check the path\n"


def test_a_reader_that_goes_away(artifact, speech):
    command = [sys.executable, "-c", "from speechquant.cli import main; main()", "inspect", str(artifact)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""


def opened(pipe):
    """A writing end of a pipe, as soon as somebody waits at the other one."""
    for _ in range(600):
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"nobody reads {pipe}")


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_an_interrupt_from_outside(artifact, tmp_path):
    pipe = tmp_path / "endless.wav"
    os.mkfifo(pipe)
    command = [sys.executable, "-c", "from speechquant.cli import main; main()", "transcribe"]
    with subprocess.Popen(
        [*command, str(artifact), str(pipe)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that starts the tests in the background has them ignore interrupts, children too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:
        writer = opened(pipe)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    os.close(writer)
    assert process.returncode == 130
    assert stderr == "interrupted; 0 of 1 transcripts were written\n"


def test_a_foreign_artifact_cannot_command_the_terminal(cli, copy):
    path = copy / "quantization.json"
    values = json.loads(path.read_text())
    values["model"]["name"] += "\x1b]0;name\x07"
    values["sites"][0]["layer"] = "conv\x1b[2J\x9b31m"
    values["files"]["gone\x1b[1A"] = {"sha256": "0" * 64, "bytes": 1}
    path.write_text(json.dumps(values))
    shown = cli("inspect", copy)
    assert shown.exit_code == 0, shown.output
    assert "conv[2J31m" in shown.output
    verified = cli("verify", copy)
    assert verified.exit_code == 2
    assert "gone[1A: missing" in verified.output
    listed = cli("inspect", copy, "--json")
    assert json.loads(listed.output)["sites"][0]["layer"] == "conv\x1b[2J\x9b31m"
    refused = cli("inspect", "no\x1b[2Jthing")
    assert "no[2Jthing" in refused.output
    for result in (shown, verified, listed, refused):
        assert not any((c < " " and c != "\n") or "\x7f" <= c <= "\x9f" for c in result.output)
