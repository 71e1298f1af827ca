"""Recordings of any length through models that take half a minute: overlapping windows, then one text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from speechquant.decoding.ctc import ctc_transcript
from speechquant.decoding.seams import best_cut, join_words, place_words
from speechquant.decoding.segments import Segment, group_words, split_words
from speechquant.decoding.types import Transcript, Word
from speechquant.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from speechquant.decoding.types import Recognizer, Vocabulary

__all__ = [
    "CTCFrames",
    "LongTranscript",
    "Window",
    "cut_windows",
    "transcribe_long",
]


@dataclass(frozen=True, slots=True)
class CTCFrames:
    """What turns arg-max ids of a CTC model into words: see `ctc_transcript`. `frame_seconds` is the hop."""

    vocabulary: Vocabulary
    blank: int
    delimiter: int | None
    frame_seconds: float


@dataclass(frozen=True, slots=True)
class LongTranscript:
    """The outcome of recognising one recording; `words` is empty for models that give no times."""

    text: str
    segments: tuple[Segment, ...]
    words: tuple[Word, ...]
    capped: bool
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """A piece of a recording: samples of shape (time,) and the index of the first one."""

    start: int
    wave: NDArray[np.float32]


def cut_windows(blocks: Iterable[NDArray[np.float32]], *, size: int, overlap: int) -> Iterator[Window]:
    """Windows of `size` samples that start `size - overlap` apart; the last is longer than `overlap`.

    Only one window and one block are held. A recording of at most `size` samples is one window.

    Raises:
        RecipeError: the overlap is not between 0 and half of the window.
    """
    if not 0 < 2 * overlap <= size:
        raise RecipeError(
            f"windows of {size} samples cannot overlap by {overlap}; overlap at most half of them"
        )
    start, held = 0, np.zeros(0, np.float32)
    for block in blocks:
        held = np.concatenate((held, np.asarray(block, np.float32)))
        while held.size > size:
            yield Window(start, held[:size].copy())
            start, held = start + size - overlap, held[size - overlap :]
    if held.size:
        yield Window(start, held)


def transcribe_long(
    recognizer: Recognizer,
    blocks: Iterable[NDArray[np.float32]],
    *,
    ctc: CTCFrames | None = None,
    window: float = 30.0,
    overlap: float = 5.0,
    progress: Callable[[float], None] | None = None,
) -> LongTranscript:
    """Transcribe a recording that comes in blocks, with memory that does not grow with its length.

    CTC models: the frames of all windows are put together and collapsed once, so nothing is doubled or lost
    at a seam. Other models: the words of neighbouring windows are joined where they agree (`join_words`).
    A window of digital silence is not shown to the model.

    Args:
        recognizer: transcribes one window.
        blocks: samples at the recogniser's rate, each of shape (time,).
        ctc: how to read frames; None for models that emit text without times.
        window: longest piece that the model gets, in seconds.
        overlap: what neighbouring windows share, in seconds.
        progress: called after each window with the seconds done.

    Raises:
        RecipeError: the overlap is not between 0 and half of the window.
    """
    rate = recognizer.sampling_rate
    # Windows that start on a frame boundary have the frames of the whole recording.
    unit = round(ctc.frame_seconds * rate) if ctc else 1
    size, shared = (max(1, round(seconds * rate / unit)) * unit for seconds in (window, overlap))
    joiner: _Joiner = _FrameJoiner(ctc, unit) if ctc else _WordJoiner(rate)
    end, capped = 0, False
    for piece in cut_windows(blocks, size=size, overlap=shared):
        heard = recognizer.recognize([piece.wave])[0] if piece.wave.any() else Transcript("")
        joiner.add(piece, heard)
        end, capped = piece.start + piece.wave.size, capped or heard.capped
        if progress is not None:
            progress(end / rate)
    text, segments, words = joiner.finish(end / rate)
    return LongTranscript(text, segments, words, capped, end / rate)


_Joined = tuple[str, tuple[Segment, ...], tuple[Word, ...]]


class _Joiner(Protocol):
    def add(self, window: Window, heard: Transcript) -> None: ...

    def finish(self, seconds: float) -> _Joined: ...


@dataclass
class _FrameJoiner:
    """Puts the frames of all windows in a row; `tail` are those that the next window may still replace."""

    ctc: CTCFrames
    unit: int
    done: list[NDArray[np.int64]] = field(default_factory=list)
    tail: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    tail_start: int = 0

    def add(self, window: Window, heard: Transcript) -> None:
        start = window.start // self.unit
        frames = np.asarray(heard.frames, np.int64)
        if frames.size == 0:
            frames = np.full(window.wave.size // self.unit, self.ctc.blank, np.int64)
        shared = min(self.tail_start + self.tail.size - start, frames.size)
        cut = 0
        if shared > 0:
            own = start - self.tail_start
            cut = best_cut(self.tail[own : own + shared], frames[:shared])
            self.tail = self.tail[: own + cut]
        elif shared < 0:
            # Encoders drop the last, incomplete frames of a window.
            self.tail = np.concatenate((self.tail, np.full(-shared, self.ctc.blank, np.int64)))
        self.done.append(self.tail)
        self.tail, self.tail_start = frames[cut:], start + cut

    def finish(self, seconds: float) -> _Joined:
        read = ctc_transcript(
            np.concatenate([*self.done, self.tail]),
            self.ctc.vocabulary,
            blank=self.ctc.blank,
            delimiter=self.ctc.delimiter,
            seconds_per_frame=self.ctc.frame_seconds,
        )
        whole = (Segment(0.0, seconds, read.text),) if read.text else ()
        return read.text, group_words(read.words) or whole, read.words


@dataclass
class _WordJoiner:
    """Joins texts without times; what a window adds, between the middles of its overlaps, becomes segments."""

    rate: int
    segments: list[Segment] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    times: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    start: float = 0.0
    end: float = 0.0

    def add(self, window: Window, heard: Transcript) -> None:
        words, start = heard.text.split(), window.start / self.rate
        times = start + place_words(len(words), window.wave, self.rate)
        seam = 0.0
        if window.start:
            seam = (start + self.end) / 2
            i, j = join_words(self.words, self.times, words, times, (start, self.end))
            self.words, self.times, words, times = self.words[:i], self.times[:i], words[j:], times[j:]
            self._close(seam)
        self.words, self.times = words, times
        self.start, self.end = seam, start + window.wave.size / self.rate

    def finish(self, seconds: float) -> _Joined:
        self._close(seconds)
        return " ".join(segment.text for segment in self.segments), tuple(self.segments), ()

    def _close(self, end: float) -> None:
        times = np.clip(self.times, self.start, end)
        self.segments += split_words(self.words, times, self.start, end)
