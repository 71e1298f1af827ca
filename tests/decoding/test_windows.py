"""Long recordings: what a recogniser hears in windows must be what it would hear in one piece."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from speechquant.decoding import CTCFrames, CTCVocabulary, Transcript, transcribe_long
from speechquant.decoding.seams import best_cut, join_words, place_words
from speechquant.decoding.windows import cut_windows
from speechquant.errors import RecipeError

RATE = 1000
FRAME = 20
UNIT = 1024  # amplitude step, exact in float32


def speech(ids: list[int], rng: np.random.Generator, pause: float = 0.3) -> np.ndarray:
    """Each word is a constant of its own height, 0.2 to 0.5 s long, with silence between."""
    pieces = []
    for word in ids:
        quiet = 0.02 + rng.exponential(pause) * (rng.random() < 0.3)
        pieces.append(np.zeros(int(quiet * RATE), np.float32))
        pieces.append(np.full(int(rng.uniform(0.2, 0.5) * RATE), word / UNIT, np.float32))
    pieces.append(np.zeros(int(0.1 * RATE), np.float32))
    return np.concatenate(pieces)


@dataclass
class TextRecognizer:
    """Hears every word that is wholly inside the window; a word cut in two becomes a word nobody said."""

    backend: str = "fake"
    signature: str = "fake"
    sampling_rate: int = RATE
    length_exact: bool = True
    longest: int = 0
    calls: int = 0

    def recognize(self, waves):
        return [self._one(wave) for wave in waves]

    def _one(self, wave):
        self.longest, self.calls = max(self.longest, wave.size), self.calls + 1
        ids = np.rint(wave * UNIT).astype(int)
        edges = np.flatnonzero(np.diff(ids)) + 1
        words = []
        for left, right in zip([0, *edges], [*edges, ids.size], strict=True):
            if ids[left]:
                broken = left == 0 or right == ids.size
                words.append(f"junk{left}" if broken else f"W{ids[left]},")
        return Transcript(" ".join(words))


@dataclass
class FrameRecognizer(TextRecognizer):
    """Writes letters per frame with a shift that depends on the window, and nonsense near cut edges."""

    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def _one(self, wave):
        self.longest, self.calls = max(self.longest, wave.size), self.calls + 1
        ids = np.rint(wave[: wave.size // FRAME * FRAME].reshape(-1, FRAME).max(axis=1) * UNIT).astype(int)
        ids = ids[: ids.size - 1]
        if ids.size > 200:
            ids[:15] = self.rng.integers(0, 5, 15)
            ids[-15:] = self.rng.integers(0, 5, 15)
        return Transcript("", frames=tuple(ids.tolist()))


@pytest.mark.parametrize("seed", range(25))
def test_text_windows_neither_double_nor_lose_a_word(seed):
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, 60, 220).tolist()
    wave = speech(ids, rng)
    recognizer = TextRecognizer()
    blocks = np.array_split(wave, rng.integers(1, 40))
    result = transcribe_long(recognizer, blocks, window=20.0, overlap=5.0)
    assert result.text.split() == [f"W{i}," for i in ids]
    assert " ".join(segment.text for segment in result.segments) == result.text
    assert recognizer.calls > 4
    assert recognizer.longest <= 20 * RATE


def test_a_long_pause_over_the_overlap_loses_nothing():
    rng = np.random.default_rng(1)
    ids = list(range(1, 41))
    silence = np.zeros(9 * RATE, np.float32)
    wave = np.concatenate([speech(ids[:20], rng, 0.0), silence, speech(ids[20:], rng, 0.0)])
    for shift in range(9):
        lead = np.zeros(shift * RATE, np.float32)
        result = transcribe_long(TextRecognizer(), [np.concatenate([lead, wave])], window=12.0, overlap=4.0)
        assert result.text.split() == [f"W{i}," for i in ids]


def test_segments_without_times_are_as_short_as_subtitles():
    rng = np.random.default_rng(3)
    wave = speech(rng.integers(1, 60, 100).tolist(), rng)
    result = transcribe_long(TextRecognizer(), [wave], window=10.0, overlap=2.0)
    assert all(0 < s.end - s.start <= 7.0 + 1e-9 and len(s.text) <= 84 for s in result.segments)
    assert all(a.end <= b.start for a, b in zip(result.segments, result.segments[1:], strict=False))
    assert result.segments[0].start < 1
    assert result.seconds - 2 < result.segments[-1].end <= result.seconds == wave.size / RATE


def test_a_short_text_without_times_is_one_segment():
    result = transcribe_long(TextRecognizer(), [speech([1, 2, 3], np.random.default_rng(0), 0.0)])
    assert [(s.start, s.end, s.text) for s in result.segments] == [(0.0, result.seconds, "W1, W2, W3,")]


def letters() -> CTCVocabulary:
    tokens = {0: "<pad>", 1: "|", 2: "a", 3: "b", 4: "c"}
    return CTCVocabulary(tokens=tokens, special=frozenset({0}), blank=0, delimiter=1)


@pytest.mark.parametrize("seed", range(25))
def test_frames_in_windows_equal_frames_in_one_piece(seed):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 5, 3000)
    ids = np.repeat(ids, rng.integers(1, 6, ids.size))
    wave = np.repeat(ids, FRAME).astype(np.float32) / UNIT
    ctc = CTCFrames(letters(), blank=0, delimiter=1, frame_seconds=FRAME / RATE)
    recognizer = FrameRecognizer(rng=rng)
    parts = transcribe_long(recognizer, np.array_split(wave, 50), ctc=ctc, window=10.0, overlap=2.0)
    whole = transcribe_long(FrameRecognizer(longest=-1), [wave], ctc=ctc, window=9e9, overlap=1.0)
    # The recogniser garbles both ends of the recording too: compare what lies between them.
    assert parts.words[12:-12] == whole.words[whole.words.index(parts.words[12]) :][: len(parts.words) - 24]
    assert len(parts.words) > 200
    assert recognizer.longest <= 10 * RATE


def test_the_cut_avoids_letters_that_the_windows_place_differently():
    left = np.array([0, 0, 2, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 4, 4, 0])
    right = np.array([0, 0, 2, 2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 4, 4, 0])
    cut = best_cut(left, right)
    assert cut not in (7, 8)
    joined = np.concatenate([left[:cut], right[cut:]])
    assert [i for i in joined if i].count(3) == 1


def test_the_cut_is_the_centre_when_nothing_agrees():
    assert best_cut(np.zeros(40, int), np.ones(40, int)) == 20
    assert best_cut(np.zeros(1, int), np.zeros(1, int)) in (0, 1)


def test_repeated_words_are_joined_where_the_times_agree():
    left, right = ["x", "yes", "yes", "yes"], ["yes", "yes", "yes", "z"]
    times = np.array([10.0, 12.0, 14.0, 16.0])
    i, j = join_words(left, times, right, times + 2, (11.0, 19.0))
    assert [*left[:i], *right[j:]] == ["x", "yes", "yes", "yes", "z"]
    i, j = join_words(left, times, right, np.array([16.0, 18.0, 20.0, 22.0]), (15.0, 17.0))
    assert [*left[:i], *right[j:]] == ["x", *["yes"] * 5, "z"]


def test_case_and_punctuation_do_not_hide_a_match():
    times = np.array([1.0, 2.0, 3.0])
    i, j = join_words(["I", "see.", "Good"], times, ["See", "good", "day"], times + 1, (0.0, 5.0))
    assert [*["I", "see.", "Good"][:i], *["See", "good", "day"][j:]] in (
        ["I", "see.", "good", "day"],
        ["I", "see.", "Good", "day"],
    )


def test_words_are_placed_where_it_is_loud():
    wave = np.zeros(10 * RATE, np.float32)
    wave[2 * RATE : 4 * RATE] = 0.5
    times = place_words(4, wave, RATE)
    assert ((times >= 2) & (times <= 4)).all()
    assert (np.diff(times) > 0).all()
    assert place_words(0, wave, RATE).shape == (0,)


@pytest.mark.parametrize("length", [1, 99, 100, 101, 180, 181, 260, 1000])
@pytest.mark.parametrize("block", [1, 7, 100, 1000])
def test_windows_cover_everything_with_the_promised_overlap(length, block):
    wave = np.arange(length, dtype=np.float32)
    windows = list(cut_windows(np.split(wave, range(block, length, block)), size=100, overlap=20))
    assert [w.start for w in windows] == list(range(0, max(1, length - 20), 80))
    for window in windows:
        np.testing.assert_array_equal(window.wave, wave[window.start : window.start + 100])
    assert windows[-1].start + windows[-1].wave.size == length
    assert len(windows) == 1 or windows[-1].wave.size > 20


def test_nothing_is_an_empty_transcript_and_silence_is_not_shown_to_the_model():
    empty = transcribe_long(TextRecognizer(), [])
    assert (empty.text, empty.segments, empty.seconds) == ("", (), 0.0)
    recognizer = TextRecognizer()
    assert transcribe_long(recognizer, [np.zeros(5000, np.float32)]).text == ""
    assert recognizer.calls == 0


def test_an_overlap_past_half_of_the_window_is_refused():
    with pytest.raises(RecipeError, match="overlap"):
        transcribe_long(TextRecognizer(), [np.ones(10, np.float32)], window=4.0, overlap=3.0)
