"""JSONL, CSV and TSV files with named columns."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from speechquant.data.columns import Columns, derive_ids, read_fields
from speechquant.data.fingerprint import file_size
from speechquant.data.readers.base import Entry, register
from speechquant.data.text_file import read_text
from speechquant.data.utterance import Utterance
from speechquant.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = ["DelimitedReader", "JsonLinesReader"]

Row = tuple[str, "Mapping[str, object]"]


@register(order=40)
class JsonLinesReader:
    """One JSON object per line."""

    kind = "a .jsonl file"

    def can_read(self, path: Path) -> bool:
        """Whether the suffix is that of JSON lines."""
        return path.suffix.lower() in {".jsonl", ".ndjson", ".json"} and path.is_file()

    def read(self, path: Path) -> Iterator[Entry]:
        """Rows with an audio column; paths are relative to the file's folder."""
        return _entries(path, _json_rows(path))


@register(order=41)
class DelimitedReader:
    """A header line with column names, then one line per utterance."""

    kind = "a .csv or .tsv file with named columns"

    def can_read(self, path: Path) -> bool:
        """Whether the suffix is that of a table."""
        return path.suffix.lower() in {".csv", ".tsv"} and path.is_file()

    def read(self, path: Path) -> Iterator[Entry]:
        """Rows with an audio column; paths are relative to the file's folder."""
        return _entries(path, _delimited_rows(path))


def _json_rows(path: Path) -> Iterator[Row]:
    # Not splitlines(): JSON strings may hold the other line separators of Unicode.
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            detail = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
            raise DataError(f"{where}: malformed JSON ({detail}); expected one object a line") from error
        if not isinstance(row, dict):
            raise DataError(f"{where}: expected a JSON object per line, found {type(row).__name__}")
        yield where, row


def _delimited_rows(path: Path) -> Iterator[Row]:
    tabs = path.suffix.lower() == ".tsv"
    # A quotation mark in a TSV belongs to the transcript: one that is never closed would swallow lines.
    lines = csv.reader(
        io.StringIO(read_text(path), newline=""),
        delimiter="\t" if tabs else ",",
        quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
        strict=not tabs,
    )
    try:
        names = next(lines, [])
        if not names:
            return
        Columns.find(names, f"{path}, line 1")
        for values in lines:
            where = f"{path}, line {lines.line_num}"
            if not values:
                continue
            if len(values) != len(names):
                raise DataError(f"{where}: {len(values)} columns, the header has {len(names)}")
            yield where, dict(zip(names, values, strict=True))
    except csv.Error as error:
        raise DataError(f"{path}, line {lines.line_num}: malformed table ({error})") from error


def _entries(path: Path, rows: Iterable[Row]) -> Iterator[Entry]:
    base = path.parent
    entries: list[Entry] = []
    audio: list[str] = []
    for where, row in rows:
        columns = Columns.find(row, where)
        value = row[columns.audio]
        if not isinstance(value, str) or not value.strip():
            raise DataError(f"{where}: column {columns.audio!r} must hold a path, found {value!r}")
        fields = read_fields(row, columns, where)
        audio.append(value.strip())
        utterance = Utterance(
            fields.id or "", _locate(base, value.strip()), fields.text, fields.speaker, fields.seconds
        )
        entries.append(Entry(utterance, where))
    for entry, name in zip(entries, derive_ids(audio), strict=True):
        yield entry if entry.utterance.id else replace(entry, utterance=replace(entry.utterance, id=name))


def _locate(base: Path, name: str) -> Path:
    # Common Voice keeps its audio in a folder `clips` beside the tables, which their paths leave out.
    path = base / name
    clip = base / "clips" / name
    return clip if file_size(path) is None and file_size(clip) is not None else path
