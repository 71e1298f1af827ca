"""Many recordings and long ones: streamed in order, read ahead, in memory that does not grow."""

from __future__ import annotations

import subprocess
import sys
import threading
import wave
from contextlib import nullcontext
from itertools import count, islice
from pathlib import Path

import artifact_fakes as fakes
import numpy as np
import pytest

import speechquant as sq
from speechquant.errors import AudioError, DataError, RecipeError
from speechquant.jobs import transcribe as transcribe_verb
from speechquant.jobs.targets import Target, open_target

WORDS = ["AB", "CAB DAD", "DAD", "BAD CAD ABBA", "A B C", "DCBA", "CAD"]
job = sys.modules[transcribe_verb.__module__]


class Listener:
    def __init__(self):
        self.steps = []

    def stage(self, title):
        return nullcontext(lambda done, total, what="": self.steps.append((done, total, what)))

    def note(self, message):
        raise AssertionError(message)


class Watched:
    """The recogniser of a target, with the sizes of the batches that it gets, and something to do before each."""

    def __init__(self, inner, before=lambda waves: None):
        self.inner, self.before, self.batches = inner, before, []
        self.sampling_rate = inner.sampling_rate

    def recognize(self, waves):
        self.batches.append([wave.size for wave in waves])
        self.before(waves)
        return self.inner.recognize(waves)


@pytest.fixture
def watch(artifact, monkeypatch):
    """Replaces the recogniser that `transcribe` opens; without `ctc` its texts are joined by their words."""

    def start(*, ctc=True, before=lambda waves: None):
        opened = open_target(artifact)
        watched = Watched(opened.recognizer, before)
        frames = opened.ctc if ctc else None
        target = Target(opened.name, opened.kind, watched, opened.runtime, frames, opened.normalizer)
        monkeypatch.setattr(job, "open_target", lambda *_, **__: target)
        return watched

    return start


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    return [fakes.write_speech(folder / f"{i}.wav", text) for i, text in enumerate(WORDS)]


def texts(results):
    return [result.transcript.text for result in results]


@pytest.mark.parametrize("ctc", [True, False])
@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_batches_over_several_files_change_no_text(watch, files, batch, ctc):
    watched = watch(ctc=ctc)
    assert texts(sq.transcribe("x", files, batch_size=batch)) == WORDS
    sizes = [len(sizes) for sizes in watched.batches]
    assert sizes == [batch] * (7 // batch) + [7 % batch] * (7 % batch > 0)


def test_batches_of_windows_of_a_long_file_and_of_those_around_it(watch, tmp_path):
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("ABCD"), 4)) for _ in range(500)]
    paths = [
        fakes.write_speech(tmp_path / "a.wav", "AB"),
        fakes.write_speech(tmp_path / "long.wav", " ".join(words)),
        fakes.write_speech(tmp_path / "z.wav", "CD"),
    ]
    watched = watch()
    found = list(sq.transcribe("x", paths, batch_size=4))
    assert texts(found) == ["AB", " ".join(words), "CD"]
    assert [len(sizes) for sizes in watched.batches] == [4, 4]
    assert [(result.path, result.number) for result in found] == list(zip(paths, (1, 2, 3), strict=True))
    assert found[1].elapsed > found[0].elapsed > 0


def test_the_default_is_a_batch_for_models_that_decode_step_by_step(watch, files):
    for ctc, expected in ((True, [1] * 7), (False, [7])):
        watched = watch(ctc=ctc)
        assert texts(sq.transcribe("x", files)) == WORDS
        assert [len(sizes) for sizes in watched.batches] == expected
    watched = watch(ctc=False)
    assert texts(sq.transcribe("x", iter(files))) == WORDS
    assert [len(sizes) for sizes in watched.batches] == [1] * 7


def test_silent_windows_are_not_shown_to_the_model(watch):
    silence, one = np.zeros(40 * fakes.RATE, np.float32), fakes.speech("ABBA")
    for batch in (1, 3):
        watched = watch()
        quiet = [np.concatenate([silence, one]), silence, one]
        found = list(sq.transcribe("x", quiet, batch_size=batch))
        assert [r.transcript and r.transcript.text for r in found] == ["ABBA", None, "ABBA"]
        assert sum(map(len, watched.batches)) == 2
        assert found[1].problem == "recording 2: is silent (all samples are zero)"
        assert found[1].path is None


def test_a_batch_below_one_is_refused(artifact, files):
    with pytest.raises(RecipeError, match="batch of 0"):
        list(sq.transcribe(artifact, files, batch_size=0))


def test_an_endless_iterator_of_files_and_samples(artifact, files):
    def endless():
        for i in count():
            yield str(files[i % 7]) if i % 2 else fakes.speech(WORDS[i % 7])

    found = list(islice(sq.transcribe(artifact, endless()), 20))
    assert texts(found) == [WORDS[i % 7] for i in range(20)]
    assert [result.path for result in found[:3]] == [None, files[1], None]
    assert [result.name for result in found[:2]] == ["recording 1", str(files[1])]


def test_a_result_does_not_wait_for_the_next_of_a_live_source(artifact):
    arrived = threading.Semaphore(1)

    def live():
        for text in WORDS:
            assert arrived.acquire(timeout=20)
            yield fakes.speech(text)

    for text, result in zip(WORDS, sq.transcribe(artifact, live()), strict=True):
        assert result.transcript.text == text
        arrived.release()


def test_what_an_iterator_raises_reaches_the_caller(artifact, tmp_path):
    def broken():
        yield fakes.speech("AB")
        raise ConnectionError("line is down")

    results = sq.transcribe(artifact, broken())
    assert next(results).transcript.text == "AB"
    with pytest.raises(ConnectionError, match="line is down"):
        next(results)
    with pytest.raises(DataError, match="no audio file"):
        list(sq.transcribe(artifact, iter([tmp_path])))
    with pytest.raises(DataError, match="nothing to transcribe"):
        list(sq.transcribe(artifact, iter([])))


def test_one_name_is_not_a_list_of_letters(artifact, files):
    for audio in (str(files[0]), files[0], fakes.speech(WORDS[0])):
        assert texts(sq.transcribe(artifact, audio)) == WORDS[:1]


def test_lists_are_checked_first_but_not_what_folders_hold(artifact, tmp_path):
    fakes.write_speech(tmp_path / "in" / "a.wav", "ABBA")
    (tmp_path / "in" / "b.wav").symlink_to(tmp_path / "gone")
    for audio in ([tmp_path / "in"], [tmp_path / "in", fakes.speech("DAD")]):
        found = list(sq.transcribe(artifact, audio))
        assert [bool(result.problem) for result in found[:2]] == [False, True]
        with pytest.raises(DataError, match="gone: audio file not found"):
            next(sq.transcribe(artifact, [*audio, tmp_path / "gone"]))


@pytest.mark.parametrize("batch", [1, 3])
def test_bad_ones_in_between(artifact, files, batch):
    bad = [
        np.zeros(2, np.float32),
        np.ones((100, 2), np.float32),
        np.full(9999, np.nan, np.float32),
        Path("gone"),
    ]
    mixed = [x for pair in zip(files, bad, strict=False) for x in pair] + files[4:]
    found = list(sq.transcribe(artifact, iter(mixed), batch_size=batch))
    assert texts(result for result in found if result.transcript) == WORDS
    problems = [result.problem for result in found if result.problem]
    for problem, word in zip(problems, ["too short", "mono", "NaN", "not found"], strict=True):
        assert word in problem
    results = sq.transcribe(artifact, iter(mixed), batch_size=batch, strict=True)
    assert next(results).transcript.text == WORDS[0]
    with pytest.raises(AudioError, match=r"recording 2: .* too short"):
        next(results)


def test_the_next_file_is_read_while_the_model_is_busy(watch, files, monkeypatch):
    read, stated = threading.Event(), job.read_sources.__globals__["stated_seconds"]

    def noted(path):
        if path == files[1]:
            read.set()
        return stated(path)

    def before(_):
        assert read.wait(timeout=20)

    monkeypatch.setitem(job.read_sources.__globals__, "stated_seconds", noted)
    watch(before=before)
    assert texts(sq.transcribe("x", files[:2])) == WORDS[:2]


def test_progress_moves_inside_a_file(artifact, tmp_path):
    paths = [fakes.write_speech(tmp_path / f"{n}.wav", "ABCD " * 130 * n) for n in (1, 3)]
    heard = Listener()
    list(sq.transcribe(artifact, paths, progress=heard))
    done = [step for step, _, _ in heard.steps]
    assert done == sorted(done)
    assert len([step for step in done if 0 < step < 1]) >= 1
    assert len([step for step in done if 1 < step < 2]) >= 4
    assert {total for _, total, _ in heard.steps} == {2}
    assert (done[0], done[-1]) == (0, 2)
    assert any(what == "3.wav 1 of 2 min" for _, _, what in heard.steps)


def test_ctrl_c_keeps_what_was_done(artifact, files, tmp_path):
    code = """
import os, signal, sys
from speechquant.decoding import recording
hear, calls = recording._hear, []
def interrupted(*arguments):
    calls.append(1)
    if len(calls) == 4:
        os.kill(os.getpid(), signal.SIGINT)
    hear(*arguments)
recording._hear = interrupted
from speechquant.cli import main
main()
"""
    command = [
        sys.executable,
        "-c",
        code,
        "transcribe",
        str(artifact),
        *map(str, files),
        "-o",
        str(tmp_path / "o"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1].startswith("interrupted; 3 of 7 transcripts are in ")
    assert "Traceback" not in done.stderr
    kept = {path.name: path.read_text() for path in (tmp_path / "o").iterdir()}
    assert kept == {f"{i}.txt": f"{WORDS[i]}\n" for i in range(3)}


def test_a_crowd_of_threads_shares_one_model(artifact, files):
    model = sq.load(artifact, threads=1)
    found = {}

    def work(start):
        found[start] = [model.transcribe(files[(start + i) % 7]).text for i in range(7)]

    workers = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == {start: [WORDS[(start + i) % 7] for i in range(7)] for start in range(4)}


PEAK = """
import resource, sys
from speechquant.jobs.transcribe import transcribe
(found,) = transcribe(sys.argv[1], sys.argv[2:], threads=1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
print(round(found.transcript.seconds), len(found.transcript.text.split()))
"""


def peak(artifact, path):
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(artifact), str(path)], capture_output=True, text=True, check=True
    )
    memory, *rest = map(int, done.stdout.split())
    return memory, rest


@pytest.mark.skipif(sys.platform != "linux", reason="kilobytes in ru_maxrss")
def test_memory_does_not_grow_with_the_length_of_a_file(artifact, tmp_path):
    minute = fakes.speech("ABCD " * 200)[: 60 * 8000]
    block = np.round(minute * 30_000).astype("<i2").tobytes()
    found = {}
    for minutes in (5, 40):
        path = tmp_path / f"{minutes}.wav"
        # Half the rate that the model wants, so that the resampler works all the time; twice as slow.
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            for _ in range(minutes):
                file.writeframes(block)
        found[minutes], (seconds, words) = peak(artifact, path)
        path.unlink()
        assert seconds == minutes * 60
        assert words > 50 * minutes
    # As one float array the forty minutes have 154 MB; the text with its times is what may grow.
    assert found[40] - found[5] < 30
