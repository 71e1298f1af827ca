"""Transcripts as files: plain text, JSON lines, SubRip subtitles."""

from __future__ import annotations

import os
import sys
from collections import Counter
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from speechquant.errors import RecipeError, StorageError
from speechquant.jobs.outputs import check_folder
from speechquant.jobs.printable import json_line, one_line, printable
from speechquant.storage import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from speechquant.decoding import LongTranscript
    from speechquant.jobs.transcribe import FileTranscript

__all__ = ["TranscriptFormat", "TranscriptWriter", "format_transcript"]

TranscriptFormat = Literal["txt", "json", "srt"]


def format_transcript(result: FileTranscript, kind: TranscriptFormat) -> str:
    """One file's transcript, without a newline at the end.

    `txt` is the text on one line, `json` one object on one line with times in seconds, `srt` subtitles.
    """
    transcript = result.transcript
    if kind == "json":
        return json_line(_record(result))
    if transcript is None:
        return ""
    return printable(transcript.text if kind == "txt" else _subtitles(transcript))


class TranscriptWriter:
    """Writes transcripts to standard output, or `NAME.txt` (`.json`, `.srt`) for each file into one folder.

    Files that would have the same name (`a.wav` and `b/a.wav`) are called by their whole paths, and numbered
    where these are the same as well (`a/b.wav` and `a_b.wav`). A file in the folder is complete or not there at
    all. On standard output the text of several files begins with the path and a tab; JSON says by itself which
    file it is about.

    Args:
        files: all that will be written.
        kind: the format.
        folder: made if it is not there; None for standard output.
        overwrite: replace files that are there already.

    Raises:
        RecipeError: subtitles of several files on standard output, or nothing to overwrite there.
        StorageError: the folder is a file, belongs to an artifact or a model, or cannot be written to; a file of
            a transcript's name is there already, which may be a reference or corrected by hand.
    """

    def __init__(
        self,
        files: Sequence[Path],
        kind: TranscriptFormat,
        *,
        folder: Path | None = None,
        overwrite: bool = False,
    ) -> None:
        self._folder, self._kind, self._several = folder, kind, len(files) > 1
        self._names, self._written = _names(files), 0
        if folder is None:
            if overwrite:
                raise RecipeError("--overwrite needs --output-dir; without it no files are written")
            if kind == "srt" and self._several:
                raise RecipeError("subtitles of several files need --output-dir")
            return
        check_folder(folder)
        if not overwrite:
            self._refuse_existing(folder)

    def write(self, result: FileTranscript) -> None:
        """Write one result; a file without transcript appears in JSON on standard output only.

        Raises:
            StorageError: disk full or no permission.
        """
        text = f"{format_transcript(result, self._kind)}\n"
        if self._folder is None:
            if result.transcript is not None or self._kind == "json":
                self._written += 1
                prefix = f"{one_line(result.name)}\t" if self._several and self._kind == "txt" else ""
                sys.stdout.write(prefix + text)
                sys.stdout.flush()
        elif result.transcript is not None:
            write_whole(self._target(self._folder, Path(result.name)), text)
            self._written += 1

    @property
    def state(self) -> str:
        """How far it got, and how to go on, for people."""
        done = f"{self._written} of {len(self._names)} transcripts"
        if self._folder is None:
            return f"{done} were written"
        return f"{done} are in {self._folder}; the same command with --overwrite makes all of them again"

    def _refuse_existing(self, folder: Path) -> None:
        # A link that leads nowhere is something of the user's too.
        there = [place for path in self._names if os.path.lexists(place := self._target(folder, path))]
        if there:
            more = f" (and {len(there) - 1} more)" if len(there) > 1 else ""
            raise StorageError(
                f"{there[0]}: is there already{more}; choose another folder, or replace what is there by --overwrite"
            )

    def _target(self, folder: Path, path: Path) -> Path:
        return folder / f"{self._names[path]}.{self._kind}"


def _names(files: Sequence[Path]) -> dict[Path, str]:
    """A name for each file, none twice, also where upper and lower case are the same."""
    stems = Counter(path.stem.casefold() for path in files)
    names: dict[Path, str] = {}
    taken: set[str] = set()
    # A file that can have its own name gets it, whatever the others are called.
    for path in sorted(files, key=lambda path: stems[path.stem.casefold()] > 1):
        wanted = path.stem if stems[path.stem.casefold()] == 1 else _whole(path)
        numbered = (f"{wanted}-{number}" for number in count(2))
        names[path] = next(name for name in chain([wanted], numbered) if name.casefold() not in taken)
        taken.add(names[path].casefold())
    return names


def _whole(path: Path) -> str:
    return "_".join(part for part in path.parts if part not in {path.anchor, "..", "."})


def _record(result: FileTranscript) -> dict[str, object]:
    transcript = result.transcript
    if transcript is None:
        return {"path": result.name, "error": result.problem}
    return {
        "path": result.name,
        "text": transcript.text,
        "seconds": round(transcript.seconds, 3),
        "capped": transcript.capped,
        "segments": [
            {"start": round(s.start, 3), "end": round(s.end, 3), "text": s.text} for s in transcript.segments
        ],
        "words": [
            {"start": round(w.start, 3), "end": round(w.end, 3), "text": w.text} for w in transcript.words
        ],
    }


def _subtitles(transcript: LongTranscript) -> str:
    return "\n\n".join(
        f"{number}\n{_clock(segment.start)} --> {_clock(segment.end)}\n{segment.text}"
        for number, segment in enumerate(transcript.segments, 1)
    )


def _clock(seconds: float) -> str:
    """`HH:MM:SS,mmm`."""
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    minutes, second = divmod(whole, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02},{thousandths:03}"
