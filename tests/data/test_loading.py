from __future__ import annotations

import sys
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechquant.data import Corpus, Skipped, Utterance, iter_loaded, loading
from speechquant.errors import AudioError, DataError, MissingExtraError


class Source:
    def __init__(self, samples):
        self._samples = samples

    def samples(self):
        return self._samples

    def fingerprint(self):
        return "f"


def run(items, **options):
    skipped = []
    options = {"strict": False, **options}
    return [
        (u.id, x) for u, x in iter_loaded(Corpus("c", tuple(items)), on_skip=skipped.append, **options)
    ], skipped


def test_samples_come_in_order(tone):
    items = [Utterance(str(n), tone(f"{n}.wav", hertz=100 + n, rate=48_000), "x") for n in range(12)]
    loaded, skipped = run(items)
    assert [name for name, _ in loaded] == [str(n) for n in range(12)]
    assert skipped == []
    assert all(
        int(np.argmax(np.abs(np.fft.rfft(samples)))) == 100 + n for n, (_, samples) in enumerate(loaded)
    )


def bad_utterances(tone, tmp_path):
    silent, broken = tmp_path / "silent.wav", tone("broken.flac")
    soundfile.write(silent, np.zeros(16_000), 16_000)
    broken.write_bytes(broken.read_bytes()[:3000])
    return [
        (Utterance("silent", silent, "x"), "silent"),
        (Utterance("broken", broken, "x"), "truncated"),
        (Utterance("gone", tmp_path / "gone.wav", "x"), "not found"),
        (Utterance("short", tone("short.wav", seconds=0.05), "x"), "too short"),
        (Utterance("none", tone("none.wav", seconds=0), "x"), "no samples"),
        (Utterance("long", tone("long.wav", seconds=7), "x"), "longer than 5"),
        (Utterance("nan", Source(np.full(16_000, np.nan, np.float32)), "x"), "NaN"),
    ]


def test_bad_utterances_are_skipped_and_counted(tone, tmp_path):
    cases = bad_utterances(tone, tmp_path)
    items = [
        Utterance("first", tone("1.wav"), "x"),
        *(item for item, _ in cases),
        Utterance("last", tone("2.wav")),
    ]
    loaded, skipped = run(items, maximum_seconds=5)
    assert [name for name, _ in loaded] == ["first", "last"]
    assert [item.id for item in skipped] == [item.id for item, _ in cases]
    for found, (_, reason) in zip(skipped, cases, strict=True):
        assert isinstance(found, Skipped)
        assert reason in found.reason
        assert "\n" not in found.reason


def test_strict_raises_for_each(tone, tmp_path):
    for item, reason in bad_utterances(tone, tmp_path):
        with pytest.raises((AudioError, DataError), match=reason):
            run([item], strict=True, maximum_seconds=5)


def test_text_is_no_affair_of_loading(tone):
    items = [
        Utterance(str(n), tone(f"{n}.wav", hertz=200 + n), text) for n, text in enumerate(["x", " ", None])
    ]
    assert len(run(items, strict=True)[0]) == 3


def test_a_missing_extra_is_not_a_bad_utterance(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    path = tmp_path / "a.m4a"
    path.write_bytes(b"\0\0\0\x20ftypM4A " + b"\0" * 100)
    with pytest.raises(MissingExtraError):
        run([Utterance("a", path, "x")])


def test_decoding_runs_ahead_but_not_far(monkeypatch):
    started = []
    wave = np.ones(16_000, np.float32)

    def load(path, **_):
        started.append((path.name, threading.current_thread() is threading.main_thread()))
        return wave.copy()

    monkeypatch.setattr(loading, "load_audio", load)
    items = [Utterance(str(n), Path(str(n))) for n in range(100)]
    stream = iter_loaded(items, strict=True, on_skip=lambda _: None)
    next(stream)
    stream.close()
    assert 1 <= len(started) <= 6
    assert not any(main for _, main in started)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("speechquant-audio")]


def test_samples_are_let_go(monkeypatch):
    alive = weakref.WeakSet()

    class Tracked(np.ndarray):
        pass

    def load(path, **_):
        samples = np.ones(16_000, np.float32).view(Tracked)
        alive.add(samples)
        return samples

    Tracked.__hash__ = object.__hash__
    monkeypatch.setattr(loading, "load_audio", load)
    most = 0
    for _ in iter_loaded([Utterance(str(n), Path(str(n))) for n in range(60)], strict=True, on_skip=print):
        most = max(most, len(alive))
    assert most <= 8


def test_nothing_in_nothing_out():
    assert run([]) == ([], [])
