"""Recordings of any length through models that take half a minute: windows, recognised as they come."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from speechquant.decoding.joining import CTCFrames, FrameJoiner, WordJoiner
from speechquant.decoding.types import Transcript
from speechquant.decoding.windows import cut_windows
from speechquant.errors import AudioError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from speechquant.decoding.joining import Joiner
    from speechquant.decoding.segments import Segment
    from speechquant.decoding.types import Recognizer, Word
    from speechquant.decoding.windows import Window

__all__ = ["LongTranscript", "Recording", "transcribe_long", "transcribe_recordings"]


@dataclass(frozen=True, slots=True)
class LongTranscript:
    """The outcome of recognising one recording; `words` is empty for models that give no times."""

    text: str
    segments: tuple[Segment, ...]
    words: tuple[Word, ...]
    capped: bool
    seconds: float


class Recording:
    """One recording on its way from blocks of samples to text.

    CTC models: the frames of all windows are put together and collapsed once, so nothing is doubled or lost
    at a seam. Other models: the words of neighbouring windows are joined where they agree (`join_words`).

    `seconds` is how far it has been heard, `elapsed` the seconds that the recogniser has spent on it, `sound`
    whether any sample was not zero, and `failure` why its audio could not be read to the end.

    Args:
        blocks: samples, each of shape (time,).
        sampling_rate: of the samples, in Hz.
        ctc: how to read frames; None for models that emit text without times.
        window: longest piece that the model gets, in seconds.
        overlap: what neighbouring windows share, in seconds.
    """

    def __init__(
        self,
        blocks: Iterable[NDArray[np.float32]],
        sampling_rate: int,
        *,
        ctc: CTCFrames | None = None,
        window: float = 30.0,
        overlap: float = 5.0,
    ) -> None:
        self._blocks, self._rate = blocks, sampling_rate
        # Windows that start on a frame boundary have the frames of the whole recording.
        unit = round(ctc.frame_seconds * sampling_rate) if ctc else 1
        lengths = (max(1, round(length * sampling_rate / unit)) * unit for length in (window, overlap))
        self._size, self._overlap = lengths
        self._joiner: Joiner = FrameJoiner(ctc, unit) if ctc else WordJoiner(sampling_rate)
        self._capped, self._unheard, self._read = False, 0, False
        self.seconds = self.elapsed = 0.0
        self.sound = False
        self.failure: AudioError | MissingExtraError | None = None

    def windows(self) -> Iterator[Window]:
        """Read the recording; to be called once, and every window to be given to `add` in order.

        Raises:
            RecipeError: the overlap is not between 0 and half of the window.
        """
        try:
            for window in cut_windows(self._blocks, size=self._size, overlap=self._overlap):
                self.sound = self.sound or bool(window.wave.any())
                self._unheard += 1
                yield window
        except (AudioError, MissingExtraError) as error:
            self.failure = error
        self._read = True

    def add(self, window: Window, heard: Transcript, elapsed: float) -> None:
        """Take what the recogniser has heard in a window, and the seconds it took."""
        self._joiner.add(window, heard)
        self._unheard -= 1
        self._capped = self._capped or heard.capped
        self.seconds = (window.start + window.wave.size) / self._rate
        self.elapsed += elapsed

    @property
    def done(self) -> bool:
        """Whether it was read and heard to its end."""
        return self._read and not self._unheard

    def result(self) -> LongTranscript:
        """The transcript of a recording that is done; to be called once.

        Raises:
            AudioError, MissingExtraError: the audio could not be read to the end.
        """
        if self.failure is not None:
            raise self.failure
        joined = self._joiner.finish(self.seconds)
        return LongTranscript(joined.text, joined.segments, joined.words, self._capped, self.seconds)


R = TypeVar("R", bound=Recording)


def transcribe_recordings(
    recognizer: Recognizer,
    recordings: Iterable[R],
    *,
    batch: int = 1,
    progress: Callable[[R], None] | None = None,
) -> Iterator[R]:
    """Yield recordings when they are done, in order, with memory that does not grow with their length.

    A window of digital silence is not shown to the model. Which windows the model gets together depends on
    the recordings alone, so that equal runs give equal texts.

    Args:
        recognizer: transcribes windows.
        recordings: in the order of the results; the next is asked for when the windows of the one before are
            with the model or wait for others.
        batch: windows that the recogniser gets at a time, also of several recordings.
        progress: called with a recording whenever more of it was heard.
    """
    begun: deque[R] = deque()
    waiting: list[tuple[R, Window]] = []

    def hear() -> None:
        _hear(recognizer, waiting)
        if progress is not None:
            for recording in dict.fromkeys(recording for recording, _ in waiting):
                progress(recording)
        waiting.clear()

    for recording in recordings:
        begun.append(recording)
        for window in recording.windows():
            waiting.append((recording, window))
            if len(waiting) >= batch:
                hear()
        while begun and begun[0].done:
            yield begun.popleft()
    hear()
    yield from begun


def transcribe_long(
    recognizer: Recognizer,
    blocks: Iterable[NDArray[np.float32]],
    *,
    ctc: CTCFrames | None = None,
    window: float = 30.0,
    overlap: float = 5.0,
    batch: int = 1,
) -> LongTranscript:
    """Transcribe one recording: `transcribe_recordings` of a single `Recording`.

    Raises:
        RecipeError: the overlap is not between 0 and half of the window.
        AudioError, MissingExtraError: raised by `blocks`.
    """
    recording = Recording(blocks, recognizer.sampling_rate, ctc=ctc, window=window, overlap=overlap)
    (done,) = transcribe_recordings(recognizer, [recording], batch=batch)
    return done.result()


def _hear(recognizer: Recognizer, windows: Sequence[tuple[Recording, Window]]) -> None:
    """Let the model hear windows, and give every recording what was heard in its own."""
    loud = [window.wave for _, window in windows if window.wave.any()]
    start = time.perf_counter()
    heard = iter(recognizer.recognize(loud) if loud else ())
    pace = (time.perf_counter() - start) / max(1, sum(wave.size for wave in loud))
    for recording, window in windows:
        if window.wave.any():
            recording.add(window, next(heard), pace * window.wave.size)
        else:
            recording.add(window, Transcript(""), 0.0)
