"""What a decoder offers, and the choice of the decoder for a file."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from speechquant.audio.codec_reader import CodecReader, have_codecs
from speechquant.audio.container import CODEC_SUFFIXES, sniff, truncation
from speechquant.audio.native_reader import NativeReader
from speechquant.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["AudioReader", "open_reader"]

_LOWEST_RATE = 1_000
_HIGHEST_RATE = 768_000


class AudioReader(Protocol):
    """One opened file. `frames` is the length its header states, None if it states none."""

    sampling_rate: int
    channels: int
    frames: int | None

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """The samples in order, each block of shape (time, channels); raises AudioError where damaged."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


def open_reader(source: Path | bytes, name: str) -> AudioReader:
    """Open a file, or the bytes of one, with the decoder that its contents call for.

    Args:
        source: a path, or the whole encoded file.
        name: what messages call it.

    Raises:
        AudioError: missing, unreadable, empty, cut off, damaged, or not audio.
        MissingExtraError: the format needs FFmpeg and PyAV is not installed.
    """
    kind = _inspect(source, name)
    reader = _choose(source, name, kind)
    if not _LOWEST_RATE <= reader.sampling_rate <= _HIGHEST_RATE or reader.channels < 1:
        reader.close()
        raise AudioError(
            f"{name}: states {reader.sampling_rate} Hz and {reader.channels} channels, which no recording "
            "has; the file is damaged"
        )
    return reader


def _inspect(source: Path | bytes, name: str) -> str | None:
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            kind = sniff(file.read(16))
            cut = truncation(file)
    except FileNotFoundError as error:
        raise AudioError(f"{name}: audio file not found; check the path") from error
    except IsADirectoryError as error:
        raise AudioError(f"{name}: is a folder, not an audio file") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise AudioError(f"{name}: the file cannot be opened: {reason}") from error
    if size == 0:
        raise AudioError(f"{name}: the file is empty (0 bytes); copy or record it again")
    if cut is not None:
        raise AudioError(f"{name}: the file is truncated: {cut}; copy or record it again")
    return kind


def _choose(source: Path | bytes, name: str, kind: str | None) -> AudioReader:
    if kind != "codec":
        try:
            return NativeReader(source, name)
        except AudioError:
            named_so = isinstance(source, Path) and source.suffix.lower() in CODEC_SUFFIXES
            if kind is None and not named_so:
                raise AudioError(
                    f"{name}: not an audio file in a known format (WAV, FLAC, OGG, Opus, MP3, AIFF, M4A, "
                    "MP4, WebM, AAC)"
                ) from None
            if kind == "native" and not have_codecs():
                raise
    return CodecReader(source, name)
