"""The LibriSpeech tree: `SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt` beside the audio it transcribes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechquant.audio import is_audio_name
from speechquant.data.readers.base import Entry, register
from speechquant.data.text_file import read_text
from speechquant.data.utterance import Utterance
from speechquant.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["LibriSpeechReader"]

_PATTERN = "*.trans.txt"


@register(order=20)
class LibriSpeechReader:
    """Every `*.trans.txt` anywhere below the folder, in the order of their paths."""

    kind = "a LibriSpeech folder with *.trans.txt files"

    def can_read(self, path: Path) -> bool:
        """Whether a transcript file of LibriSpeech's naming lies anywhere below."""
        return path.is_dir() and next(path.rglob(_PATTERN), None) is not None

    def read(self, path: Path) -> Iterator[Entry]:
        """Lines of `UTTERANCE-ID TRANSCRIPT`; the speaker is what stands before the first hyphen."""
        for transcripts in sorted(path.rglob(_PATTERN)):
            audio = {
                file.stem: file for file in sorted(transcripts.parent.iterdir()) if is_audio_name(file.name)
            }
            for number, line in enumerate(read_text(transcripts).split("\n"), start=1):
                if not line.strip():
                    continue
                name, _, text = line.strip().partition(" ")
                where = f"{transcripts}, line {number}"
                if "/" in name or name.startswith("."):
                    raise DataError(
                        f"{where}: expected 'UTTERANCE-ID TRANSCRIPT', found {line.strip()[:60]!r}"
                    )
                yield Entry(
                    Utterance(
                        id=name,
                        audio=audio.get(name, transcripts.parent / f"{name}.flac"),
                        text=text.strip(),
                        speaker=name.split("-")[0],
                    ),
                    where,
                )
