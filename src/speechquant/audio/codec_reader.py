"""M4A, MP4, WebM, AAC and whatever else FFmpeg decodes, through PyAV."""

from __future__ import annotations

import importlib
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from speechquant.errors import AudioError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["CodecReader", "have_codecs"]


def have_codecs() -> bool:
    """Whether PyAV can be imported."""
    try:
        importlib.import_module("av")
    except ImportError:
        return False
    return True


class CodecReader:
    """An `AudioReader` on FFmpeg: the first audio track of the file."""

    def __init__(self, source: Path | bytes, name: str) -> None:
        self._name = name
        try:
            self._av: Any = importlib.import_module("av")
        except ImportError as error:
            raise MissingExtraError(
                f"{name}: this audio format needs FFmpeg: pip install 'speechquant[codecs]', "
                "or convert the file to WAV or FLAC"
            ) from error
        # FFmpeg reports what it meets on standard error, where our own one-line message belongs.
        self._av.logging.set_level(None)
        try:
            self._container = self._av.open(io.BytesIO(source) if isinstance(source, bytes) else str(source))
        except (self._av.FFmpegError, OSError, ValueError) as error:
            raise AudioError(_damaged(name, error)) from error
        stream: Any = next(iter(self._container.streams.audio), None)
        # FFmpeg lists a track whose codec it does not know, without a context to decode it in.
        context = None if stream is None else stream.codec_context
        if context is None:
            self._container.close()
            found = "no audio track" if stream is None else "an audio track of an unknown codec"
            raise AudioError(f"{name}: the file has {found}; convert it to WAV or FLAC")
        self._stream = stream
        self.sampling_rate = int(context.sample_rate or 0)
        self.channels = int(context.channels or 0)
        self.frames = self._stated_frames()

    def _stated_frames(self) -> int | None:
        if self._stream.duration is not None and self._stream.time_base is not None:
            return int(self._stream.duration * self._stream.time_base * self.sampling_rate)
        # The container is as long as its longest track, which tells nothing about sound beside a film.
        if self._container.duration is not None and not self._container.streams.video:
            return int(self._container.duration * self.sampling_rate // self._av.time_base)
        return None

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """The samples in order, each block of shape (time, channels)."""
        resampler = self._av.AudioResampler(format="fltp")
        try:
            for frame in self._container.decode(self._stream):
                for planar in resampler.resample(frame):
                    yield np.ascontiguousarray(planar.to_ndarray().T, dtype=np.float32)
        except (self._av.FFmpegError, OSError, ValueError) as error:
            raise AudioError(_damaged(self._name, error)) from error

    def close(self) -> None:
        """Release the file."""
        self._container.close()


def _damaged(name: str, error: Exception) -> str:
    detail = getattr(error, "strerror", None) or type(error).__name__
    return f"{name}: the file is truncated or damaged ({detail}); copy or record it again"
