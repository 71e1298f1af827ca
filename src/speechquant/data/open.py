"""Open whatever a user calls a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from speechquant.data.columns import ALIASES
from speechquant.data.corpus import Corpus
from speechquant.data.fingerprint import file_size
from speechquant.data.readers import registered_readers
from speechquant.errors import DataError

if TYPE_CHECKING:
    from speechquant.data.readers import Entry, Reader

__all__ = ["open_corpus"]


def open_corpus(
    spec: str | Path, *, name: str | None = None, require_text: bool = False, otherwise: str = ""
) -> Corpus:
    """Recognise a data set and list its utterances; no audio is decoded.

    A single utterance without audio or transcript stays in the list, for `iter_loaded` and `with_text` to skip
    and count.

    Args:
        spec: a folder (LibriSpeech tree, audio with or without .txt files, saved Hugging Face data set), a
            manifest (.jsonl, .csv, .tsv with named columns, fairseq .tsv), an audio file, or
            `hf:NAME[:CONFIG]:SPLIT`.
        name: what reports call it; by default the last part of the path, or the whole `hf:` spec.
        require_text: refuse a data set in which nobody wrote down anything.
        otherwise: what a user without transcripts can do, for that message.

    Raises:
        DataError: not found, of no known kind, malformed, empty, with duplicate ids, with no audio file in
            its place, or without transcripts, or with none but empty ones, where they are required.
        MissingExtraError: a Hugging Face data set without the extra `datasets`.
    """
    path = Path(spec)
    entries = list(_reader_for(path).read(path))
    if not entries:
        raise DataError(f"{spec}: contains no utterances")
    _check_unique(entries)
    _check_audio(entries, path)
    default = str(spec) if str(spec).startswith("hf:") else path.resolve().name
    corpus = Corpus(name or default, tuple(entry.utterance for entry in entries))
    if require_text and not corpus.has_text:
        _refuse_without_text(corpus, spec, otherwise)
    return corpus


def _reader_for(path: Path) -> Reader:
    readers = registered_readers()
    try:
        for reader in readers:
            if reader.can_read(path):
                return reader
        exists = path.exists()
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if not exists:
        raise DataError(f"{path}: data set not found; check the path")
    found = "a folder without audio" if path.is_dir() else f"a file ending in {path.suffix or 'nothing'!r}"
    accepted = "; ".join(item.kind for item in readers)
    raise DataError(f"{path}: {found} is not a data set; accepted: {accepted}")


def _check_unique(entries: list[Entry]) -> None:
    seen: dict[str, str] = {}
    for entry in entries:
        name = entry.utterance.id
        if name in seen:
            raise DataError(
                f"duplicate utterance id {name!r}: {seen[name]} and {entry.where}; ids must be unique"
            )
        seen[name] = entry.where


def _check_audio(entries: list[Entry], path: Path) -> None:
    for entry in entries:
        audio = entry.utterance.audio
        if not isinstance(audio, Path) or file_size(audio) is not None:
            return
    first = entries[0]
    raise DataError(
        f"{path}: none of its {len(entries)} audio files exist; the first is {first.utterance.audio} "
        f"({first.where}); paths are relative to the manifest"
    )


def _refuse_without_text(corpus: Corpus, spec: str | Path, otherwise: str) -> None:
    last = f", or {otherwise}" if otherwise else ""
    if any(utterance.text is not None for utterance in corpus):
        raise DataError(f"{spec}: all transcripts are empty; add them{last}")
    names = ", ".join(ALIASES["text"])
    raise DataError(f"{spec}: no transcripts; add .txt files or a column named {names}{last}")
