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

__all__ = ["find_audio", "find_sources"]


def find_audio(paths: Iterable[str | Path]) -> list[Path]:
    """Audio files in the order given; folders are searched below, in alphabetical order.

    Raises:
        DataError: a path does not exist, a folder holds no audio, or no paths were given.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.is_dir():
            if not path.exists():
                raise DataError(f"{path}: audio file not found; check the path")
            files.append(path)
            continue
        below = sorted(
            Path(folder) / name
            for folder, _, names in os.walk(path)
            for name in names
            if is_audio_name(name) and not name.startswith(".")
        )
        if not below:
            raise DataError(f"{path}: there is no audio file in this folder; check the path")
        files += below
    if not files:
        raise DataError("nothing to transcribe; give audio files or folders")
    return list(dict.fromkeys(files))


def find_sources(
    audio: Iterable[str | Path | NDArray[np.float32]],
) -> list[AudioSource] | Iterator[AudioSource]:
    """Files and samples, folders searched: a list of what is in a list, an iterator over any other iterable.

    Raises:
        DataError: as `find_audio`; for an iterator when it comes to a folder without audio.
    """
    items = [audio] if isinstance(audio, str | Path | np.ndarray) else audio
    if not isinstance(items, Sequence):
        return _lazily(items)
    if any(isinstance(item, np.ndarray) for item in items):
        return list(_lazily(items))
    return list(find_audio(item for item in items if not isinstance(item, np.ndarray)))


def _lazily(items: Iterable[str | Path | NDArray[np.float32]]) -> Iterator[AudioSource]:
    for item in items:
        if isinstance(item, np.ndarray):
            yield item
        elif Path(item).is_dir():
            yield from find_audio([item])
        else:
            yield Path(item)
