"""Read files and samples in blocks, the next while the present ones are being recognised."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from speechquant.audio import check_speech, read_ahead, stated_seconds, stream_audio
from speechquant.errors import AudioError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from numpy.typing import NDArray

__all__ = ["SHORTEST_SECONDS", "AudioSource", "Source", "read_sources"]

SHORTEST_SECONDS = 0.1
_BLOCK_SECONDS = 10.0
# Enough for the reader never to be waited for, and a minute of audio is 4 MB.
_BLOCKS_AHEAD = 8

AudioSource: TypeAlias = "Path | NDArray[np.float32]"


@dataclass(frozen=True, slots=True)
class Source:
    """A file, or samples (`path` is None), by its number from 1; `seconds` is the length if it is known."""

    number: int
    path: Path | None
    seconds: float | None

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"recording {self.number}" if self.path is None else str(self.path)


@dataclass(frozen=True, slots=True)
class _End:
    """The blocks of a source have ended, because of an error if there is one."""

    error: AudioError | MissingExtraError | None = None


_Message: TypeAlias = "Source | NDArray[np.float32] | _End"


def read_sources(
    audio: Iterable[AudioSource], sampling_rate: int
) -> Generator[tuple[Source, Iterator[NDArray[np.float32]]], None, None]:
    """Every source with its blocks of samples, each of shape (time,), which a background thread reads ahead.

    The blocks of a source must be taken to their end, or to their error, before the next source is asked for.

    Args:
        audio: files, or samples at `sampling_rate`; the iterator is advanced in the background thread.
        sampling_rate: of the blocks, in Hz.

    Raises:
        AudioError, MissingExtraError: by the blocks of a source that is missing, damaged, not one channel, or
            not finite.
        Exception: whatever `audio` raises.
    """
    with closing(read_ahead(_messages(audio, sampling_rate), _BLOCKS_AHEAD)) as messages:
        for message in messages:
            if isinstance(message, Source):
                yield message, _until_end(messages)


def _until_end(messages: Iterator[_Message]) -> Iterator[NDArray[np.float32]]:
    for message in messages:
        if isinstance(message, _End):
            if message.error is not None:
                raise message.error
            return
        if isinstance(message, np.ndarray):
            yield message


def _messages(audio: Iterable[AudioSource], sampling_rate: int) -> Generator[_Message, None, None]:
    for number, item in enumerate(audio, 1):
        if isinstance(item, Path):
            source = Source(number, item, stated_seconds(item))
        else:
            source = Source(number, None, np.asarray(item).size / sampling_rate)
        yield source
        try:
            if isinstance(item, Path):
                yield from stream_audio(item, _BLOCK_SECONDS, sampling_rate)
            else:
                yield from _blocks(item, source.name, sampling_rate)
        except (AudioError, MissingExtraError) as error:
            yield _End(error)
        else:
            yield _End()


def _blocks(samples: NDArray[np.float32], name: str, sampling_rate: int) -> Iterator[NDArray[np.float32]]:
    mono = np.ascontiguousarray(samples, np.float32)
    check_speech(mono, name, minimum_seconds=SHORTEST_SECONDS, sampling_rate=sampling_rate)
    size = round(_BLOCK_SECONDS * sampling_rate)
    for start in range(0, mono.size, size):
        yield mono[start : start + size]
