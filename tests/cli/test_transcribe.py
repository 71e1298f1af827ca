"""`transcribe` into a folder: what is there already stays, unless the user says otherwise."""

from __future__ import annotations

import sys

import artifact_fakes as fakes

import speechquant.jobs.transcribe  # noqa: F401 - its module is looked up below


def failed(result, *words):
    assert result.exit_code == 2, (result.exit_code, result.output, result.exception)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    for word in words:
        assert word in line


def test_transcribe_into_a_folder(cli, artifact, speech, tmp_path):
    result = cli("transcribe", artifact, speech, "-f", "srt", "-o", tmp_path / "deep" / "out")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert (tmp_path / "deep" / "out" / "a.srt").read_text().startswith("1\n00:00:00,000 --> ")


def test_a_link_that_leads_nowhere_does_not_stop_its_folder(cli, artifact, speech, tmp_path):
    link = tmp_path / "b.wav"
    link.symlink_to(tmp_path / "gone.wav")
    result = cli("transcribe", artifact, tmp_path)
    assert (result.exit_code, result.stdout) == (0, f"{speech}\tBAD CAB\n")
    assert f"skipped: {link}: " in result.stderr
    assert "1 of 2 files were skipped" in result.stderr
    failed(cli("transcribe", artifact, speech, link), f"{link}: audio file not found; check the path")


def test_a_newline_in_a_name_makes_no_line_of_its_own(cli, artifact, tmp_path):
    fakes.write_speech(tmp_path / "a\nb.wav", "BAD CAB")
    (tmp_path / "c\nd.wav").write_bytes(b"")
    result = cli("transcribe", artifact, tmp_path)
    assert result.stdout == f"{tmp_path}/a\\nb.wav\tBAD CAB\n"
    assert [line for line in result.stderr.splitlines() if f"skipped: {tmp_path}/c\\nd.wav: " in line]


def test_a_reference_beside_its_recording_is_not_replaced(cli, artifact, speech, tmp_path, monkeypatch):
    reference = tmp_path / "a.txt"
    reference.write_text("by hand")
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["speechquant.jobs.transcribe"], "open_target", lambda *_, **__: 1 / 0)
        result = cli("transcribe", artifact, tmp_path, "-o", tmp_path)
    failed(result, f"{reference}: is there already; choose another folder", "--overwrite")
    assert reference.read_text() == "by hand"
    assert cli("transcribe", artifact, speech, "-o", tmp_path, "--overwrite").exit_code == 0
    assert reference.read_text() == "BAD CAB\n"
    failed(cli("transcribe", artifact, speech, "--overwrite"), "--overwrite needs --output-dir")


def test_an_interrupted_transcription_says_how_to_begin_again(cli, artifact, speech, tmp_path, monkeypatch):
    job = sys.modules["speechquant.jobs.transcribe"]
    second = fakes.write_speech(tmp_path / "b.wav", "DAD")
    real = job.transcribe

    def stops(*arguments, **options):
        yield next(real(*arguments, **options))
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "transcribe", stops)
    arguments = ("transcribe", artifact, speech, second, "-o", tmp_path / "out")
    result = cli(*arguments)
    assert result.exit_code == 130
    assert (
        f"interrupted; 1 of 2 transcripts are in {tmp_path / 'out'}; the same command with" in result.stderr
    )
    failed(cli(*arguments), "a.txt: is there already")
    again = cli(*arguments, "--overwrite").stderr
    assert "1 of 2 transcripts are in" in again
    assert "go on" not in again
    assert "interrupted; 1 of 2 transcripts were written" in cli(*arguments[:-2]).stderr
    monkeypatch.setattr(job, "transcribe", real)
    assert cli(*arguments, "--overwrite").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.txt", "b.txt"]


def test_an_artifact_takes_no_transcripts(cli, copy, speech):
    for place in (copy, copy / "texts"):
        failed(cli("transcribe", copy, speech, "-o", place), "artifact", "choose another folder")
    assert cli("verify", copy).exit_code == 0
