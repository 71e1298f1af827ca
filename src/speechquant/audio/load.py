"""Files of any rate and any number of channels become 16 kHz mono float32."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soxr

from speechquant.audio.reader import open_reader
from speechquant.audio.samples import check_samples
from speechquant.errors import AudioError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from speechquant.audio.reader import AudioReader

__all__ = [
    "SAMPLING_RATE",
    "AudioInfo",
    "audio_info",
    "decode_audio",
    "load_audio",
    "stated_seconds",
    "stream_audio",
]

SAMPLING_RATE = 16_000


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a file's header says: length in seconds, rate in Hz, number of channels."""

    seconds: float
    sampling_rate: int
    channels: int


def audio_info(path: str | Path) -> AudioInfo:
    """Read the header only; a file whose header states no length is decoded to measure it.

    Raises:
        AudioError: as `load_audio`, for what shows without decoding.
        MissingExtraError: as `load_audio`.
    """
    with closing(open_reader(Path(path), str(path))) as reader:
        frames = reader.frames
        if frames is None:
            frames = sum(len(block) for block in reader.blocks())
        return AudioInfo(frames / reader.sampling_rate, reader.sampling_rate, reader.channels)


def stated_seconds(path: str | Path) -> float | None:
    """The length that a file's header states; None where it states none or the file cannot be opened."""
    try:
        with closing(open_reader(Path(path), str(path))) as reader:
            return None if reader.frames is None else reader.frames / reader.sampling_rate
    except (AudioError, MissingExtraError):
        return None


def load_audio(
    path: str | Path, sampling_rate: int = SAMPLING_RATE, *, maximum_seconds: float | None = None
) -> NDArray[np.float32]:
    """Decode a file, average its channels and resample it (soxr, quality HQ).

    Args:
        path: WAV, FLAC, OGG, Opus, MP3, AIFF; with the extra `codecs` also M4A, MP4, WebM, AAC and others.
        sampling_rate: of the result, in Hz.
        maximum_seconds: refuse longer files, without decoding more than this.

    Returns:
        Samples in [-1, 1] for integer formats, shape (time,). Silence is not refused here but by
        `check_speech`.

    Raises:
        AudioError: missing, empty, truncated, damaged, not audio, without samples, with samples that are not
            finite or beyond `LARGEST_SAMPLE`, or longer than `maximum_seconds`.
        MissingExtraError: the format needs the extra `codecs`.
    """
    return _collect(Path(path), str(path), sampling_rate, maximum_seconds)


def decode_audio(
    data: bytes, name: str, sampling_rate: int = SAMPLING_RATE, *, maximum_seconds: float | None = None
) -> NDArray[np.float32]:
    """As `load_audio`, for the bytes of an encoded file; `name` is what messages call it."""
    return _collect(data, name, sampling_rate, maximum_seconds)


def stream_audio(
    path: str | Path, block_seconds: float = 30.0, sampling_rate: int = SAMPLING_RATE
) -> Iterator[NDArray[np.float32]]:
    """Decode and resample block by block, with memory that does not grow with the file.

    The blocks put together equal `load_audio`. All have `block_seconds`, except that the last may be shorter.

    Raises:
        ValueError: `block_seconds` is not positive.
        AudioError: as `load_audio`; damage in the middle shows only after the blocks before it were yielded.
        MissingExtraError: as `load_audio`.
    """
    size = round(block_seconds * sampling_rate)
    if size < 1:
        raise ValueError(f"block_seconds must be positive, got {block_seconds}")
    held: list[NDArray[np.float32]] = []
    count = 0
    for piece in _pieces(Path(path), str(path), sampling_rate):
        held.append(piece)
        count += len(piece)
        if count < size:
            continue
        joined = np.concatenate(held)
        whole = count - count % size
        yield from joined[:whole].reshape(-1, size)
        held, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(held)


def _collect(
    source: Path | bytes, name: str, sampling_rate: int, maximum_seconds: float | None
) -> NDArray[np.float32]:
    pieces: list[NDArray[np.float32]] = []
    count = 0
    for piece in _pieces(source, name, sampling_rate):
        pieces.append(piece)
        count += len(piece)
        if maximum_seconds is not None and count > maximum_seconds * sampling_rate:
            raise AudioError(f"{name}: longer than {maximum_seconds:g} seconds; cut it into shorter pieces")
    return np.concatenate(pieces)


def _pieces(source: Path | bytes, name: str, sampling_rate: int) -> Iterator[NDArray[np.float32]]:
    with closing(open_reader(source, name)) as reader:
        if reader.sampling_rate == sampling_rate:
            yield from _mono(reader, name)
            return
        resampler = soxr.ResampleStream(reader.sampling_rate, sampling_rate, 1, dtype="float32", quality="HQ")
        for block in _mono(reader, name):
            yield resampler.resample_chunk(block)
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def _mono(reader: AudioReader, name: str) -> Iterator[NDArray[np.float32]]:
    seen = 0
    for block in reader.blocks():
        check_samples(block, name, reader.sampling_rate, start=seen)
        seen += len(block)
        yield block[:, 0] if reader.channels == 1 else block.mean(axis=1, dtype=np.float32)
    _check_complete(reader, seen, name)
    if seen == 0:
        raise AudioError(f"{name}: contains no samples (0 seconds)")


def _check_complete(reader: AudioReader, seen: int, name: str) -> None:
    # Lossy formats state their length only within a packet or two; a cut is larger than both tolerances.
    if reader.frames is None:
        return
    missing = reader.frames - seen
    if missing > 0.1 * reader.sampling_rate and missing > 0.01 * reader.frames:
        stated, found = reader.frames / reader.sampling_rate, seen / reader.sampling_rate
        raise AudioError(
            f"{name}: the file is truncated: its header promises {stated:.2f} s and {found:.2f} s are there; "
            "copy or record it again"
        )
