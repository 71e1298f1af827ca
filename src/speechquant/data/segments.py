"""Recordings of any length become utterances that a model can take, cut where nobody speaks."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from speechquant.audio import SAMPLING_RATE, audio_info, check_speech, load_audio, load_part, stream_audio
from speechquant.data.corpus import Corpus
from speechquant.data.fingerprint import content_fingerprint
from speechquant.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from speechquant.data.utterance import AudioSource, Utterance

__all__ = ["Segment", "Unusable", "plan_cuts", "recording", "segmented"]

FRAME = 480
"""Samples whose loudness is one number: 30 ms at 16 kHz."""

_FRAMES_PER_SECOND = SAMPLING_RATE / FRAME
# Speech pauses are 20 to 50 dB below the speech itself, line noise of telephones 20 to 30.
_SILENCE = 1e-3
_SILENCE_SECONDS = 3.0
_SILENCE_KEPT_SECONDS = 0.3
_EARLIEST_CUT = 2 / 3
_SHORTEST_SECONDS = 1.0
# A single quiet frame may be the closure of a "t"; seven of them are a pause.
_PAUSE_FRAMES = 7


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a longer recording, an `AudioSource` that reads no more than its part of a file.

    Attributes:
        audio: the whole recording.
        start: first sample, at 16 kHz.
        end: the sample after the last.
    """

    audio: Path | AudioSource
    start: int
    end: int

    def samples(self) -> NDArray[np.float32]:
        """16 kHz mono samples, shape (end - start,)."""
        if isinstance(self.audio, Path):
            return load_part(self.audio, self.start, self.end)
        return self.audio.samples()[self.start : self.end]

    def fingerprint(self) -> str:
        """Hash of the whole recording's contents, start and end."""
        return f"{content_fingerprint(self.audio) or 'missing'}:{self.start}:{self.end}"


@dataclass(frozen=True, slots=True)
class Unusable:
    """A recording that was found to be damaged or silent: an `AudioSource` that says so when it is loaded."""

    audio: Path | AudioSource
    reason: str

    def samples(self) -> NDArray[np.float32]:
        """Raise AudioError with the reason."""
        raise AudioError(self.reason)

    def fingerprint(self) -> str:
        """As that of the recording."""
        return content_fingerprint(self.audio) or "missing"


def recording(utterance: Utterance) -> object:
    """What tells an utterance's recording from others: segments of one file have this in common."""
    audio = utterance.audio
    return audio.audio if isinstance(audio, Segment | Unusable) else audio


def segmented(corpus: Corpus, *, maximum_seconds: float = 30.0) -> Corpus:
    """Cut the recordings of a corpus that are longer than `maximum_seconds` into utterances `name#0001`, ...

    Each cut is at the quietest place of the last third before the limit. Silence of more than three seconds is
    left out. Shorter recordings stay as they are; any that cannot be read, or holds nothing, becomes an
    `Unusable`, for `iter_loaded` to report. Transcripts are withheld, since nobody knows which part of a text
    belongs to which part of the audio.

    Every file is decoded once, long ones block by block; only their loudness is kept, 33 numbers a second.

    Args:
        corpus: any utterances.
        maximum_seconds: longest utterance of the result, at least 3.

    Raises:
        ValueError: a limit below 3 seconds.
        MissingExtraError: a file that needs the extra `codecs`.
    """
    if maximum_seconds < 3 * _SHORTEST_SECONDS:
        raise ValueError(f"utterances of at most {maximum_seconds} seconds are too short")
    names = {utterance.id for utterance in corpus}
    parts: list[Utterance] = []
    for utterance in corpus.without_text():
        try:
            spans = _spans(utterance.audio, maximum_seconds)
        except AudioError as error:
            parts.append(replace(utterance, audio=Unusable(utterance.audio, str(error))))
            continue
        parts += [utterance] if spans is None else _cut(utterance, spans, names)
    return Corpus(corpus.name, tuple(parts))


def plan_cuts(power: NDArray[np.float64], maximum_seconds: float) -> list[tuple[int, int]]:
    """Where to cut, from the power of each frame of 30 ms, shape (frames,): frame numbers from and to.

    Frames are silent where their power is 30 dB below the mean of the whole.
    """
    longest = int(maximum_seconds * _FRAMES_PER_SECOND)
    shortest = int(_SHORTEST_SECONDS * _FRAMES_PER_SECOND)
    window = np.ones(_PAUSE_FRAMES) / _PAUSE_FRAMES
    smooth = np.convolve(np.pad(power, _PAUSE_FRAMES // 2, mode="edge"), window, mode="valid")
    spans: list[tuple[int, int]] = []
    for first, last in _sounding(power):
        start = first
        while last - start > longest:
            # What is left over must not become a crumb.
            earliest, latest = (
                start + math.ceil(_EARLIEST_CUT * longest),
                min(start + longest, last - shortest),
            )
            cut = earliest + int(np.argmin(smooth[earliest : latest + 1]))
            spans.append((start, cut))
            start = cut
        spans.append((start, last))
    return spans


def _sounding(power: NDArray[np.float64]) -> Iterator[tuple[int, int]]:
    """Stretches between long silences, each with a little of the silence around it."""
    loud = np.flatnonzero(power > _SILENCE * power.mean()) if power.size else np.zeros(0, np.int64)
    if not loud.size:
        return
    gaps = np.flatnonzero(np.diff(loud) > _SILENCE_SECONDS * _FRAMES_PER_SECOND)
    kept = int(_SILENCE_KEPT_SECONDS * _FRAMES_PER_SECOND)
    starts, ends = loud[np.r_[0, gaps + 1]], loud[np.r_[gaps, loud.size - 1]]
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        yield max(0, start - kept), min(power.size, end + 1 + kept)


def _spans(audio: Path | AudioSource, maximum_seconds: float) -> list[tuple[int, int]] | None:
    """Samples from and to of every utterance; None for a recording that is short enough as it is."""
    blocks: Iterable[NDArray[np.float32]]
    if isinstance(audio, Path):
        if audio_info(audio).seconds <= maximum_seconds:
            check_speech(load_audio(audio), str(audio))
            return None
        blocks = stream_audio(audio, FRAME * 1000 / SAMPLING_RATE)
    else:
        samples = audio.samples()
        if samples.size <= maximum_seconds * SAMPLING_RATE:
            check_speech(samples, "the recording")
            return None
        blocks = [samples]
    total, powers = 0, []
    for block in blocks:
        total += block.size
        powers.append(_power(block))
    spans = plan_cuts(np.concatenate(powers), maximum_seconds)
    if not spans:
        name = str(audio) if isinstance(audio, Path) else "the recording"
        raise AudioError(f"{name}: is silent from beginning to end")
    return [(start * FRAME, min(end * FRAME, total)) for start, end in spans]


def _power(block: NDArray[np.float32]) -> NDArray[np.float64]:
    """Variance of each frame, shape (frames,): a constant offset is not loud. The last may be incomplete."""
    whole = block.size - block.size % FRAME
    frames = block[:whole].reshape(-1, FRAME).var(axis=1, dtype=np.float64)
    return frames if whole == block.size else np.append(frames, block[whole:].var(dtype=np.float64))


def _cut(utterance: Utterance, spans: list[tuple[int, int]], names: set[str]) -> Iterator[Utterance]:
    mark = "#"
    while f"{utterance.id}{mark}0001" in names:
        mark += "#"
    for number, (start, end) in enumerate(spans, 1):
        yield replace(
            utterance,
            id=f"{utterance.id}{mark}{number:04d}",
            audio=Segment(utterance.audio, start, end),
            seconds=(end - start) / SAMPLING_RATE,
        )
