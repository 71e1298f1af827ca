"""A folder of audio, with or without a text file of the same name beside each; or one audio file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechquant.audio import is_audio_name
from speechquant.data.columns import derive_ids
from speechquant.data.readers.base import Entry, register
from speechquant.data.text_file import read_text
from speechquant.data.utterance import Utterance

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["FileReader", "FolderReader"]


@register(order=50)
class FileReader:
    """A single audio file is a corpus of one."""

    kind = "an audio file"

    def can_read(self, path: Path) -> bool:
        """Whether the suffix is that of audio."""
        return is_audio_name(path.name) and path.is_file()

    def read(self, path: Path) -> Iterator[Entry]:
        """The file, with the text beside it if there is one."""
        yield _entry(path, path.stem)


@register(order=60)
class FolderReader:
    """All audio files below a folder, in the order of their paths; hidden ones are left out."""

    kind = "a folder of audio files, each with or without a .txt of the same name"

    def can_read(self, path: Path) -> bool:
        """Whether any audio file lies anywhere below."""
        return path.is_dir() and next(_audio_below(path), None) is not None

    def read(self, path: Path) -> Iterator[Entry]:
        """Each file, with the text beside it if there is one."""
        files = sorted(_audio_below(path))
        names = derive_ids([file.relative_to(path).as_posix() for file in files])
        for file, name in zip(files, names, strict=True):
            yield _entry(file, name)


def _audio_below(path: Path) -> Iterator[Path]:
    for file in path.rglob("*"):
        if is_audio_name(file.name) and not file.name.startswith(".") and file.is_file():
            yield file


def _entry(file: Path, name: str) -> Entry:
    beside = file.with_suffix(".txt")
    text = " ".join(read_text(beside).split()) if beside.is_file() else None
    return Entry(Utterance(name, file, text), str(file))
