"""What is to be transcribed: files, folders that are searched for them, samples."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from speechquant.audio import is_audio_name
from speechquant.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from speechquant.jobs.reading import AudioSource

__all__ = ["AudioFiles", "find_audio", "find_sources"]


class AudioFiles(tuple[Path, ...]):
    """What `find_audio` found. It is not checked again: what a folder holds and is unusable is skipped later."""

    __slots__ = ()


def find_audio(paths: Iterable[str | Path]) -> AudioFiles:
    """Audio files in the order given; folders are searched below, in alphabetical order.

    Raises:
        DataError: a path does not exist, a folder holds no audio, or no paths were given.
    """
    found = AudioFiles(dict.fromkeys(file for path in paths for file in _files(Path(path))))
    if not found:
        raise DataError("nothing to transcribe; give audio files or folders")
    return found


def find_sources(
    audio: Iterable[str | Path | NDArray[np.float32]],
) -> list[AudioSource] | Iterator[AudioSource]:
    """Files and samples, folders searched: a list of what is in a list, an iterator over any other iterable.

    Raises:
        DataError: as `find_audio`; for an iterator when it comes to a folder without audio.
    """
    if isinstance(audio, AudioFiles):
        return list(audio)
    items = [audio] if isinstance(audio, str | Path | np.ndarray) else audio
    if not isinstance(items, Sequence):
        return _lazily(items)
    if any(isinstance(item, np.ndarray) for item in items):
        return [source for item in items for source in _sources(item)]
    return list(find_audio(item for item in items if not isinstance(item, np.ndarray)))


def _lazily(items: Iterable[str | Path | NDArray[np.float32]]) -> Iterator[AudioSource]:
    for item in items:
        if isinstance(item, np.ndarray) or Path(item).is_dir():
            yield from _sources(item)
        else:
            yield Path(item)


def _sources(item: str | Path | NDArray[np.float32]) -> Sequence[AudioSource]:
    return [item] if isinstance(item, np.ndarray) else _files(Path(item))


def _files(path: Path) -> list[Path]:
    """A file that was named, or the audio files below a folder, of which nothing but the names is looked at."""
    if not path.is_dir():
        if not path.exists():
            raise DataError(f"{path}: audio file not found; check the path")
        return [path]
    below = sorted(
        Path(folder) / name
        for folder, _, names in os.walk(path)
        for name in names
        if is_audio_name(name) and not name.startswith(".")
    )
    if not below:
        raise DataError(f"{path}: there is no audio file in this folder; check the path")
    return below
