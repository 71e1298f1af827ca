"""Files in, texts out: order kept, bad files counted, long files without a seam."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import artifact_fakes as fakes
import numpy as np
import pytest
import soundfile

from speechquant.decoding import LongTranscript, Segment, Word
from speechquant.errors import AudioError, DataError, EngineError, RecipeError, StorageError
from speechquant.jobs.recordings import find_audio
from speechquant.jobs.targets import open_target
from speechquant.jobs.transcribe import FileTranscript, transcribe
from speechquant.jobs.transcripts import TranscriptWriter, format_transcript


class Listener:
    def __init__(self):
        self.steps = []

    def stage(self, title):
        from contextlib import nullcontext

        return nullcontext(lambda done, total, what="": self.steps.append((title, done, total, what)))

    def note(self, message):
        raise AssertionError(message)


def test_files_and_folders_in_order(artifact, tmp_path):
    fakes.write_speech(tmp_path / "calls" / "b.wav", "BAD DAB")
    fakes.write_speech(tmp_path / "calls" / "deep" / "a.flac.wav", "CAB")
    fakes.write_speech(tmp_path / "calls" / ".hidden.wav", "A")
    (tmp_path / "calls" / "notes.txt").write_text("no audio")
    single = fakes.write_speech(tmp_path / "z.wav", "ABBA")
    heard = Listener()
    results = list(transcribe(artifact, [single, tmp_path / "calls", single], progress=heard))
    assert [r.path.name for r in results] == ["z.wav", "b.wav", "a.flac.wav"]
    assert [r.transcript.text for r in results] == ["ABBA", "BAD DAB", "CAB"]
    assert heard.steps[0][:3] == ("transcribe", 0, 3)
    assert heard.steps[-1][:3] == ("transcribe", 3, 3)


def test_a_long_file_has_no_seams(artifact, tmp_path):
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("ABCD"), rng.integers(1, 6))) for _ in range(700)]
    path = fakes.write_speech(tmp_path / "long.wav", " ".join(words))
    (result,) = transcribe(artifact, [path])
    assert result.transcript.seconds > 120
    assert result.transcript.text.split() == words
    assert [w.text for w in result.transcript.words] == words
    starts = [s.start for s in result.transcript.segments]
    assert starts == sorted(starts)
    assert all(s.end - s.start <= 8.0 for s in result.transcript.segments)


def test_words_have_the_times_at_which_they_were_said(artifact, tmp_path):
    path = fakes.write_speech(tmp_path / "a.wav", "AB CD", pause=50)
    (result,) = transcribe(artifact, [path])
    # 50 frames of pause, three frames per letter (two of letter, one blank), the space between.
    assert [(w.text, round(w.start, 3), round(w.end, 3)) for w in result.transcript.words] == [
        ("AB", 1.0, 1.1),
        ("CD", 1.18, 1.28),
    ]


def bad_files(folder):
    folder.mkdir()
    (folder / "empty.wav").write_bytes(b"")
    (folder / "noise.wav").write_bytes(b"this is no audio at all")
    soundfile.write(folder / "silent.wav", np.zeros(16_000, np.float32), 16_000)
    soundfile.write(folder / "short.wav", np.ones(100, np.float32) / 2, 16_000)
    soundfile.write(folder / "zero.wav", np.zeros(0, np.float32), 16_000)
    return {
        "empty": "empty",
        "noise": "not an audio",
        "silent": "silent",
        "short": "too short",
        "zero": "no samples",
    }


def test_bad_files_are_skipped_with_a_reason(artifact, tmp_path):
    reasons = bad_files(tmp_path / "mixed")
    fakes.write_speech(tmp_path / "mixed" / "good.wav", "ACDC")
    results = {r.path.stem: r for r in transcribe(artifact, [tmp_path / "mixed"])}
    assert results.pop("good").transcript.text == "ACDC"
    assert results.keys() == reasons.keys()
    for name, result in results.items():
        assert result.transcript is None
        assert reasons[name] in result.problem
        assert "\n" not in result.problem


def test_a_file_that_is_a_sample_too_short_says_so(artifact, tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.ones(1599, np.float32) / 2, 16_000)
    (result,) = transcribe(artifact, [path])
    assert result.problem == f"{path}: 0.0999 seconds is too short; at least 0.1 are needed"


@pytest.mark.parametrize("name", ["empty", "noise", "silent", "short", "zero"])
def test_strict_refuses_a_bad_file(artifact, tmp_path, name):
    bad_files(tmp_path / "mixed")
    with pytest.raises(AudioError):
        list(transcribe(artifact, [tmp_path / "mixed" / f"{name}.wav"], strict=True))


def test_paths_that_lead_nowhere(artifact, tmp_path):
    (tmp_path / "nothing").mkdir()
    for paths, text in (
        ([tmp_path / "gone.wav"], "not found"),
        ([tmp_path / "nothing"], "no audio"),
        ([], "give"),
    ):
        with pytest.raises(DataError, match=text):
            list(transcribe(artifact, paths))


def test_engines_and_threads_are_checked(artifact, tmp_path):
    path = fakes.write_speech(tmp_path / "a.wav", "A B")
    with pytest.raises(EngineError, match="unknown engine"):
        list(transcribe(artifact, [path], engine="abacus"))
    with pytest.raises(RecipeError, match="threads"):
        list(transcribe(artifact, [path], threads=0))


def test_providers_are_checked_and_kept_apart(artifact, tmp_path, monkeypatch):
    path = fakes.write_speech(tmp_path / "a.wav", "A B")
    (result,) = transcribe(artifact, [path], provider="cpu")
    assert result.transcript.text == "A B"
    with pytest.raises(EngineError, match="no provider quantum, only"):
        list(transcribe(artifact, [path], provider="quantum"))
    with pytest.raises(RecipeError, match="leave the provider out"):
        open_target("demo", provider="cpu")
    monkeypatch.setattr("speechquant.engines.session._providers", lambda _: ["CPUExecutionProvider"])

    def signature(provider):
        return open_target(artifact, provider=provider).recognizer.signature

    assert signature(None) == signature("cpu") != signature("cuda") == signature("CUDA")


def test_an_artifact_runs_without_torch(artifact, tmp_path):
    path = fakes.write_speech(tmp_path / "a.wav", "DAD")
    code = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'onnx'): sys.modules[name] = None\n"
        "from speechquant.jobs.transcribe import transcribe\n"
        "(result,) = transcribe(sys.argv[1], sys.argv[2:])\n"
        "print(result.transcript.text)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(artifact), str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "DAD"


def test_folders_are_found_once_and_sorted(tmp_path):
    for name in ("b.wav", "a.WAV", "c.mp3", "d.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [p.name for p in find_audio([tmp_path, tmp_path / "b.wav"])] == ["a.WAV", "b.wav", "c.mp3"]


def result(path="a.wav", text="one two", problem=None):
    words = (Word("one", 0.5, 1.0), Word("two", 3661.2, 3661.9996))
    segments = (Segment(0.5, 1.0, "one"), Segment(3661.2, 3661.9996, "two"))
    transcript = None if problem else LongTranscript(text, segments, words, capped=False, seconds=3662.0)
    return FileTranscript(Path(path), transcript, problem, 0.1)


def test_formats():
    assert format_transcript(result(), "txt") == "one two"
    assert format_transcript(result(), "srt") == (
        "1\n00:00:00,500 --> 00:00:01,000\none\n\n2\n01:01:01,200 --> 01:01:02,000\ntwo"
    )
    record = json.loads(format_transcript(result(), "json"))
    assert record["path"] == "a.wav"
    assert record["words"][1] == {"start": 3661.2, "end": 3662.0, "text": "two"}
    assert json.loads(format_transcript(result(problem="is silent"), "json"))["error"] == "is silent"
    assert "\n" not in format_transcript(result(text="ünï"), "json")


def test_files_of_one_name_do_not_overwrite_each_other(tmp_path):
    paths = [Path("x/a.wav"), Path("y/a.mp3"), Path("b.wav")]
    writer = TranscriptWriter(paths, "txt", folder=tmp_path / "out")
    for path in paths:
        writer.write(result(path, text=str(path)))
    texts = {p.name: p.read_text() for p in (tmp_path / "out").iterdir()}
    assert len(texts) == 3
    assert texts["b.txt"] == "b.wav\n"
    assert set(texts.values()) == {f"{p}\n" for p in paths}


@pytest.mark.parametrize(
    "paths",
    [
        ["a/b/x.wav", "a_b/x.wav", "a/b_x.wav", "A/B/X.wav"],
        ["x/a.wav", "y/a.wav", "x_a.wav.wav"],
        ["x_a.wav.wav", "x/a.wav", "y/a.wav"],
        ["a/b/x.wav", "a_b/x.wav", "a_b_x.wav-2.wav"],
    ],
)
def test_no_transcript_overwrites_another(tmp_path, paths):
    paths = [Path(path) for path in paths]
    writer = TranscriptWriter(paths, "txt", folder=tmp_path)
    for path in paths:
        writer.write(result(path, text=str(path)))
    assert sorted(p.read_text() for p in tmp_path.iterdir()) == sorted(f"{p}\n" for p in paths)
    assert len({p.name.casefold() for p in tmp_path.iterdir()}) == len(paths)
    for path in paths:
        if sum(other.stem.casefold() == path.stem.casefold() for other in paths) == 1:
            assert (tmp_path / f"{path.stem}.txt").read_text() == f"{path}\n"


def test_what_is_there_already_is_counted_and_stays(tmp_path):
    (tmp_path / "a.srt").write_text("corrected")
    (tmp_path / "b.srt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "c.txt").write_text("of another format")
    paths = [Path("a.wav"), Path("b.wav"), Path("c.wav")]
    with pytest.raises(StorageError, match=r"a.srt: is there already \(and 1 more\); .*--overwrite"):
        TranscriptWriter(paths, "srt", folder=tmp_path)
    TranscriptWriter(paths[2:], "srt", folder=tmp_path)
    writer = TranscriptWriter(paths, "srt", folder=tmp_path, overwrite=True)
    assert (tmp_path / "a.srt").read_text() == "corrected"
    writer.write(result())
    assert (tmp_path / "a.srt").read_text().startswith("1\n00:00")
    assert writer.state.startswith(f"1 of 3 transcripts are in {tmp_path}; ")


def test_transcripts_cannot_command_a_terminal(capsys):
    evil = "one\x1b]0;pwned\x07 \x9b31mtwo\x7f\r"
    path = Path("a\x1b[2J.wav")
    TranscriptWriter([path, Path("b")], "txt").write(result(path, text=evil))
    assert capsys.readouterr().out == "a[2J.wav\tone]0;pwned 31mtwo\n"
    line = format_transcript(result(path, text=evil), "json")
    assert line.isprintable()
    assert json.loads(line)["text"] == evil


def test_a_full_disk_leaves_no_half_transcript(tmp_path, monkeypatch):
    writer = TranscriptWriter([Path("a.wav")], "txt", folder=tmp_path / "out")

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(StorageError, match="No space left"):
            writer.write(result())
    assert list((tmp_path / "out").iterdir()) == []


def test_subtitles_of_several_files_need_a_folder(tmp_path):
    with pytest.raises(RecipeError, match="--output-dir"):
        TranscriptWriter([Path("a"), Path("b")], "srt")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match=r"file: is a file; choose a folder"):
        TranscriptWriter([Path("a")], "srt", folder=tmp_path / "file")
