"""A part of a long file, read without decoding what lies before it where the format allows that."""

from __future__ import annotations

import math
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import soxr

from speechquant.audio.load import SAMPLING_RATE, stream_audio
from speechquant.audio.native_reader import NativeReader
from speechquant.audio.reader import open_reader
from speechquant.audio.samples import check_samples
from speechquant.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["load_part"]

# Longer than the resampler's filter at any rate, so that a part sounds like the same part of the whole.
_MARGIN_SECONDS = 0.25
_BLOCK_SECONDS = 5.0


def load_part(
    path: str | Path, start: int, end: int, sampling_rate: int = SAMPLING_RATE
) -> NDArray[np.float32]:
    """Samples `start` to `end` of what `load_audio` returns, shape (end - start,), fewer at the file's end.

    What libsndfile decodes is read from the right place on. Other formats have no exact places; they are
    decoded from the beginning, except that parts asked for in their order cost one pass together.

    Args:
        path: of the file.
        start: first sample, at `sampling_rate`.
        end: the sample after the last.
        sampling_rate: of the result, in Hz.

    Raises:
        ValueError: a part that begins before the file or ends before it begins.
        AudioError: as `load_audio`, for what shows in this part.
        MissingExtraError: as `load_audio`.
    """
    if not 0 <= start <= end:
        raise ValueError(f"no part of a file: samples {start} to {end}")
    with closing(open_reader(Path(path), str(path))) as reader:
        if isinstance(reader, NativeReader):
            return _seek(reader, start, end, sampling_rate, str(path))
    with _LOCK:
        return _CURSOR.read(Path(path), start, end, sampling_rate)


def _seek(reader: NativeReader, start: int, end: int, sampling_rate: int, name: str) -> NDArray[np.float32]:
    # Beginning on a common multiple of both sampling intervals keeps the resampler's phase that of the whole.
    common = math.gcd(reader.sampling_rate, sampling_rate)
    native, wanted = reader.sampling_rate // common, sampling_rate // common
    margin = round(_MARGIN_SECONDS * sampling_rate)
    first, last = max(0, start - margin) // wanted, -(-(end + margin) // wanted)
    block = reader.part(first * native, (last - first) * native)
    check_samples(block, name, reader.sampling_rate, start=first * native)
    mono = block[:, 0] if reader.channels == 1 else block.mean(axis=1, dtype=np.float32)
    if native != wanted:
        mono = soxr.resample(mono, reader.sampling_rate, sampling_rate, quality="HQ")
    return np.ascontiguousarray(mono[start - first * wanted : end - first * wanted])


class _Cursor:
    """Where the last part of a file without exact places ended, since the next part is mostly asked for next."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._blocks: Iterator[NDArray[np.float32]] = iter(())
        self._held = np.zeros(0, np.float32)
        self._at = 0

    def read(self, path: Path, start: int, end: int, sampling_rate: int) -> NDArray[np.float32]:
        key = (path.absolute(), path.stat().st_mtime_ns, sampling_rate)
        if key != self._key or start < self._at:
            self._blocks = stream_audio(path, _BLOCK_SECONDS, sampling_rate)
            self._key, self._held, self._at = key, np.zeros(0, np.float32), 0
        try:
            return self._forward(start, end)
        except AudioError:
            self._key = ()
            raise

    def _forward(self, start: int, end: int) -> NDArray[np.float32]:
        pieces = [self._held]
        while self._at + sum(map(len, pieces)) < end and (block := next(self._blocks, None)) is not None:
            pieces.append(block)
            if self._at + sum(map(len, pieces)) <= start:
                self._at += sum(map(len, pieces))
                pieces = []
        joined = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
        part = joined[max(0, start - self._at) : max(0, end - self._at)].copy()
        kept = min(max(0, end - self._at), len(joined))
        self._held, self._at = joined[kept:].copy(), self._at + kept
        return part


_CURSOR = _Cursor()
_LOCK = Lock()
