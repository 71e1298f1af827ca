"""Every frame of a long recording is read exactly once, from a window that sees its surroundings."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from speechquant.decoding import CTCFrames, Recording, Transcript, transcribe_recordings
from speechquant.decoding.windows import cut_windows

HOP, RATE = 4, 40


class Numbers:
    """Writes ids as they are, so that a text tells which frames are in it."""

    def decode(self, ids):
        return " ".join(map(str, ids))


@dataclass
class Counter:
    """Hears in every frame its number in the recording; the encoder drops `lost` incomplete frames.

    The recording holds the number of each sample. Where `mark` is set, frames of different windows differ, so
    that no two windows agree on anything, and the window is the id modulo 1000.
    """

    lost: int = 0
    mark: bool = False
    windows: list[tuple[int, int]] = field(default_factory=list)
    sampling_rate: int = RATE

    def recognize(self, waves):
        return [self._one(wave) for wave in waves]

    def _one(self, wave):
        first = (int(wave[0]) - 1) // HOP
        count = max(0, wave.size // HOP - self.lost)
        self.windows.append((first, count))
        ids = np.arange(first, first + count) + 1
        ids = ids * 1000 + len(self.windows) - 1 if self.mark else ids
        return Transcript("", frames=tuple(ids.tolist()))


def frames_of(recognizer, shape, cuts, batch):
    samples, window, overlap = shape
    # Sample values above 2**24 would not be exact in float32.
    wave = np.arange(1, samples + 1, dtype=np.float32)
    ctc = CTCFrames(Numbers(), blank=0, delimiter=None, frame_seconds=HOP / RATE)
    recording = Recording(
        np.split(wave, sorted(cut % samples for cut in cuts)),
        RATE,
        ctc=ctc,
        window=window * HOP / RATE,
        overlap=overlap * HOP / RATE,
    )
    (done,) = transcribe_recordings(recognizer, [recording], batch=batch)
    return [int(word) for word in done.result().text.split()]


shapes = st.tuples(st.integers(1, 900), st.integers(4, 60), st.integers(0, 10**6)).map(
    # An overlap of 1 frame up to half of the window.
    lambda shape: (shape[0], shape[1], 1 + shape[2] % (shape[1] // 2))
)
cuts = st.lists(st.integers(0, 10**6), max_size=6)


@settings(deadline=None, max_examples=150)
@given(shapes, cuts, st.integers(1, 5))
def test_every_frame_once_and_in_order(shape, cuts, batch):
    assert frames_of(Counter(), shape, cuts, batch) == list(range(1, shape[0] // HOP + 1))


@settings(deadline=None, max_examples=150)
@given(shapes, cuts, st.integers(0, 1))
def test_frames_come_from_the_middle_of_the_overlap_where_windows_disagree(shape, cuts, lost):
    recognizer = Counter(lost=lost, mark=True)
    found = frames_of(recognizer, shape, cuts, 1)
    # Brute force: every frame belongs to the windows that cover it; the cut is half-way through what they share.
    expected = []
    for index, (first, count) in enumerate(recognizer.windows):
        begin, end = first, first + count
        if index and (shared := sum(recognizer.windows[index - 1]) - first) > 0:
            begin += min(shared, count) // 2
        if index + 1 < len(recognizer.windows):
            follower, length = recognizer.windows[index + 1]
            shared = min(end - follower, length)
            if shared > 0:
                end = follower + shared // 2
        expected += [(frame + 1) * 1000 + index for frame in range(begin, end)]
    assert found == expected


@settings(deadline=None, max_examples=150)
@given(shapes, cuts)
def test_windows_against_brute_force(shape, cuts):
    samples, size, overlap = shape
    wave = np.arange(samples, dtype=np.float32)
    blocks = np.split(wave, sorted(cut % samples for cut in cuts))
    found = list(cut_windows(blocks, size=size, overlap=overlap))
    covered = np.zeros(samples, int)
    for number, window in enumerate(found):
        assert window.start == number * (size - overlap)
        np.testing.assert_array_equal(window.wave, wave[window.start : window.start + size])
        covered[window.start : window.start + size] += 1
    assert covered.min() == 1
    assert covered.sum() - samples == overlap * (len(found) - 1)
    assert all(window.wave.size == size for window in found[:-1])
