"""Real speech through the trained models: a long file reads like the short ones that it was put together from."""

from __future__ import annotations

import json
from dataclasses import dataclass

import jiwer
import numpy as np
import pytest
import torch

from speechquant.audio import load_audio
from speechquant.decoding import Transcript, transcribe_long
from speechquant.jobs.targets import open_target
from speechquant.metrics import get_normalizer

torch.set_num_threads(1)
RATE, HOP = 16_000, 320
PAUSE = np.zeros(int(0.7 * RATE), np.float32)


@pytest.fixture(scope="module")
def said(speech):
    """Utterances of one speaker with their texts, all below 16 s."""
    lines = (speech / "dev.jsonl").read_text(encoding="utf-8").splitlines()[:4]
    rows = [json.loads(line) for line in lines]
    return [load_audio(speech / row["path"]) for row in rows], [row["text"] for row in rows]


@pytest.fixture(scope="module")
def hubert(said):
    """A CTC model, a file of four utterances with and without pauses between them, and the file in one pass."""
    target = open_target("demo:hubert-mini")
    one, two, three, four = said[0]
    whole = np.concatenate([one, two, PAUSE, three, PAUSE, four])
    return target, whole, target.recognizer.recognize([whole])[0]


@dataclass
class Slices:
    """What a perfect model with little context hears in a window: the frames of the whole, but nonsense at cuts."""

    frames: np.ndarray
    start: int
    step: int
    nonsense: int
    sampling_rate: int = RATE

    def recognize(self, waves):
        rng = np.random.default_rng(self.start)
        heard = []
        for wave in waves:
            found = self.frames[self.start : self.start + wave.size // HOP].copy()
            found[: self.nonsense] = rng.integers(0, 30, found[: self.nonsense].size)
            found[-self.nonsense :] = rng.integers(0, 30, found[-self.nonsense :].size)
            self.start += self.step
            heard.append(Transcript("", frames=tuple(found.tolist())))
        return heard


@pytest.mark.parametrize(("window", "overlap"), [(30.0, 5.0), (20.0, 10.0), (7.0, 2.0)])
def test_frames_of_real_speech_are_put_together_without_a_trace(hubert, window, overlap):
    target, whole, one_pass = hubert
    # The outer quarters of an overlap are never read, so what is heard there must not matter.
    nonsense = int(overlap / 4 * RATE / HOP) - 1
    model = Slices(np.array(one_pass.frames), 0, round((window - overlap) * RATE / HOP), nonsense)
    found = transcribe_long(model, np.array_split(whole, 9), ctc=target.ctc, window=window, overlap=overlap)
    ends = 3 * nonsense * HOP / RATE
    inner = [w for w in one_pass.words if ends < w.start and w.end < whole.size / RATE - ends]
    assert len(inner) > 60 - 30 * (overlap == 10)
    assert [w for w in found.words if inner[0].start <= w.start and w.end <= inner[-1].end] == inner


def test_windows_hear_what_one_pass_hears(hubert, said):
    target, whole, one_pass = hubert
    found = transcribe_long(target.recognizer, np.array_split(whole, 7), ctc=target.ctc)
    assert len(found.text) == pytest.approx(len(one_pass.text), rel=0.02)
    # The model has 8 million parameters and reads about a third of the letters wrong, in windows or not.
    truth = " ".join(said[1])
    assert jiwer.cer(truth, found.text) < jiwer.cer(truth, one_pass.text) + 0.01
    assert jiwer.cer(one_pass.text, found.text) < 0.12
    for seam in (27.5, 52.5):
        one, two = (
            "".join(w.text for w in words if abs((w.start + w.end) / 2 - seam) < 3)
            for words in (one_pass.words, found.words)
        )
        assert len(one) > 20
        assert jiwer.cer(one, two) < 0.25


def test_moonshine_reads_a_long_file_like_its_parts(said):
    target, waves = open_target("demo"), said[0][:3]
    normal = get_normalizer("whisper-english")
    found = transcribe_long(target.recognizer, [np.concatenate([*waves[:2], PAUSE, waves[2]])], batch=2)
    parts = " ".join(heard.text for heard in target.recognizer.recognize(waves))
    errors = jiwer.process_words(normal(parts), normal(found.text))
    assert errors.hits > 80
    assert errors.insertions + errors.deletions <= 1
    assert errors.substitutions <= 2
    assert not found.capped
    assert " ".join(segment.text for segment in found.segments) == found.text
