"""One text from the windows of a recording, with no word doubled or lost at a seam."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from speechquant.decoding.ctc import ctc_transcript
from speechquant.decoding.seams import best_cut, join_words, place_words
from speechquant.decoding.segments import Segment, group_words, split_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from speechquant.decoding.types import Transcript, Vocabulary, Word
    from speechquant.decoding.windows import Window

__all__ = ["CTCFrames", "FrameJoiner", "Joined", "Joiner", "WordJoiner"]


@dataclass(frozen=True, slots=True)
class CTCFrames:
    """What turns arg-max ids of a CTC model into words: see `ctc_transcript`. `frame_seconds` is the hop."""

    vocabulary: Vocabulary
    blank: int
    delimiter: int | None
    frame_seconds: float


@dataclass(frozen=True, slots=True)
class Joined:
    """The text of a whole recording, its segments, and its words where the model gives times."""

    text: str
    segments: tuple[Segment, ...]
    words: tuple[Word, ...] = ()


class Joiner(Protocol):
    """Takes the windows of one recording in order."""

    def add(self, window: Window, heard: Transcript) -> None:
        """Join what was heard in the next window to what is there."""
        ...

    def finish(self, seconds: float) -> Joined:
        """The whole, after the last window; `seconds` is the length of the recording."""
        ...


@dataclass
class FrameJoiner:
    """CTC models: the frames of all windows in a row; `tail` are those that the next window may still replace.

    `unit` is the hop of a frame in samples, of which windows start on multiples.
    """

    ctc: CTCFrames
    unit: int
    done: list[NDArray[np.int64]] = field(default_factory=list)
    tail: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    tail_start: int = 0

    def add(self, window: Window, heard: Transcript) -> None:
        """Put the window's frames behind those before, from the safest place of the overlap on."""
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

    def finish(self, seconds: float) -> Joined:
        """Collapse the frames of the whole recording at once."""
        read = ctc_transcript(
            np.concatenate([*self.done, self.tail]),
            self.ctc.vocabulary,
            blank=self.ctc.blank,
            delimiter=self.ctc.delimiter,
            seconds_per_frame=self.ctc.frame_seconds,
        )
        whole = (Segment(0.0, seconds, read.text),) if read.text else ()
        return Joined(read.text, group_words(read.words) or whole, read.words)


@dataclass
class WordJoiner:
    """Joins texts without times; what a window adds, between the middles of its overlaps, becomes segments."""

    rate: int
    segments: list[Segment] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    times: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    start: float = 0.0
    end: float = 0.0

    def add(self, window: Window, heard: Transcript) -> None:
        """Leave the text before and enter the window's at words that both have."""
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

    def finish(self, seconds: float) -> Joined:
        """The text of all windows; words have no times."""
        self._close(seconds)
        return Joined(" ".join(segment.text for segment in self.segments), tuple(self.segments))

    def _close(self, end: float) -> None:
        times = np.clip(self.times, self.start, end)
        self.segments += split_words(self.words, times, self.start, end)
