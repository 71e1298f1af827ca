"""WAV, FLAC, OGG, Opus, MP3, AIFF and others that libsndfile decodes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import soundfile

from speechquant.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["NativeReader"]

_BLOCK_VALUES = 1 << 18


class NativeReader:
    """An `AudioReader` on libsndfile."""

    def __init__(self, source: Path | bytes, name: str) -> None:
        self._name = name
        try:
            self._file = soundfile.SoundFile(io.BytesIO(source) if isinstance(source, bytes) else source)
        except (soundfile.SoundFileError, TypeError, RuntimeError) as error:
            # TypeError: the name suggests a headerless format, for which soundfile wants the rate.
            raise AudioError(_damaged(name, error)) from error
        self.sampling_rate = int(self._file.samplerate)
        self.channels = int(self._file.channels)
        # libsndfile states a length near 2**63 where the container has none.
        self.frames: int | None = int(self._file.frames) if 0 <= self._file.frames < 1 << 60 else None

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """The samples in order, each block of shape (time, channels)."""
        frames = max(1024, _BLOCK_VALUES // self.channels)
        while True:
            try:
                block = self._file.read(frames, dtype="float32", always_2d=True)
            except (soundfile.SoundFileError, RuntimeError) as error:
                raise AudioError(_damaged(self._name, error)) from error
            if len(block) == 0:
                return
            yield block

    def part(self, start: int, count: int) -> NDArray[np.float32]:
        """`count` frames from frame `start`, fewer at the end of the file: shape (time, channels)."""
        try:
            self._file.seek(min(start, self._file.frames))
            block: NDArray[np.float32] = self._file.read(count, dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise AudioError(_damaged(self._name, error)) from error
        return block

    def close(self) -> None:
        """Release the file."""
        self._file.close()


def _damaged(name: str, error: Exception) -> str:
    detail = getattr(error, "error_string", None) or "unknown encoding"
    detail = str(detail).removeprefix("Error : ").rstrip(".\n")
    return f"{name}: the file is truncated or damaged ({detail}); copy or record it again"
