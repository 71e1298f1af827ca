"""Hugging Face data sets, from the hub or saved to disk; audio is decoded here, never by `datasets`.

Recent versions of `datasets` decode audio through torchcodec, which needs torch and FFmpeg; with
`Audio(decode=False)` they hand out the encoded bytes instead.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from speechquant.audio import decode_audio, load_audio
from speechquant.data.columns import Columns, derive_ids, read_fields
from speechquant.data.fingerprint import content_fingerprint
from speechquant.data.readers.base import Entry, register
from speechquant.data.utterance import Utterance
from speechquant.errors import AudioError, DataError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["HubReader", "SavedReader", "Table", "TableAudio", "table_entries"]

_SPEC = re.compile(
    r"hf:(?P<name>[^:\[]+)(?::(?P<config>[^:\[]+))?"
    r":(?P<split>[^:\[]+(\[[^\]]*\])?)"
)


class Table(Protocol):
    """What is used of a `datasets.Dataset`."""

    column_names: list[str]

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Mapping[str, Any]: ...
    def select_columns(self, column_names: list[str]) -> Table:
        """The same rows with fewer columns."""
        ...


@dataclass(frozen=True)
class TableAudio:
    """The audio of one row, an `AudioSource`: a path or `{"bytes": ..., "path": ...}`, decoded when asked."""

    table: Table
    index: int
    column: str
    name: str

    def samples(self) -> NDArray[np.float32]:
        """16 kHz mono samples, shape (time,)."""
        cell = self._cell()
        return decode_audio(cell, self.name) if isinstance(cell, bytes) else load_audio(cell)

    def fingerprint(self) -> str:
        """Hash of the encoded bytes, wherever they are kept."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        try:
            cell = self._cell()
        except AudioError:
            return "missing"
        if isinstance(cell, bytes):
            return hashlib.sha256(cell).hexdigest()
        return content_fingerprint(cell) or "missing"

    def _cell(self) -> bytes | Path:
        cell = self.table[self.index][self.column]
        content, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (None, cell)
        if isinstance(content, bytes):
            return content
        if isinstance(path, str) and path:
            return Path(path)
        raise AudioError(f"{self.name}: column {self.column!r} holds neither encoded audio nor a path")


@register(order=1)
class HubReader:
    """`hf:NAME:SPLIT` or `hf:NAME:CONFIG:SPLIT`, where the split may be a slice such as `test[:100]`."""

    kind = "hf:NAME[:CONFIG]:SPLIT"

    def can_read(self, path: Path) -> bool:
        """Whether the spec begins with `hf:`."""
        return str(path).startswith("hf:")

    def read(self, path: Path) -> Iterator[Entry]:
        """The rows of one split, downloaded where they are not in the cache."""
        spec = str(path)
        match = _SPEC.fullmatch(spec)
        if match is None:
            raise DataError(f"{spec}: expected hf:NAME:SPLIT or hf:NAME:CONFIG:SPLIT")
        datasets = _datasets(spec)
        try:
            table = datasets.load_dataset(match["name"], match["config"], split=match["split"])
        except Exception as error:  # data sets fail in as many ways as they have builders
            raise DataError(f"{spec}: cannot be loaded: {_first_line(error)}") from error
        return table_entries(_undecoded(datasets, table, spec), spec)


@register(order=10)
class SavedReader:
    """A folder that `Dataset.save_to_disk` wrote."""

    kind = "a folder written by Dataset.save_to_disk"

    def can_read(self, path: Path) -> bool:
        """Whether the folder has the files of a saved data set or of several splits."""
        saved = (path / "state.json").is_file() and (path / "dataset_info.json").is_file()
        return saved or (path / "dataset_dict.json").is_file()

    def read(self, path: Path) -> Iterator[Entry]:
        """The rows of the one split the folder holds."""
        if (path / "dataset_dict.json").is_file():
            splits = sorted(part.name for part in path.iterdir() if (part / "state.json").is_file())
            raise DataError(f"{path}: holds several splits; name one of its folders: {', '.join(splits)}")
        datasets = _datasets(str(path))
        try:
            table = datasets.load_from_disk(str(path))
        except Exception as error:  # data sets fail in as many ways as they have builders
            raise DataError(f"{path}: cannot be loaded: {_first_line(error)}") from error
        return table_entries(_undecoded(datasets, table, str(path)), str(path))


def table_entries(table: Table, spec: str) -> Iterator[Entry]:
    """Map the rows of a table to utterances without touching their audio.

    Raises:
        DataError: no audio column, or a value of the wrong kind.
    """
    columns = Columns.find(table.column_names, spec)
    chosen = [columns.text, columns.speaker, columns.id, columns.seconds, columns.offset]
    facts = [name for name in chosen if name is not None]
    # A table without columns has no rows, so the rows are counted on the table itself.
    rows = table.select_columns(facts) if facts else None
    names = derive_ids([f"{index:06d}" for index in range(len(table))])
    for index, name in enumerate(names):
        where = f"{spec}, row {index}"
        fields = read_fields({} if rows is None else rows[index], columns, where)
        source = TableAudio(table, index, columns.audio, where)
        yield Entry(Utterance(fields.id or name, source, fields.text, fields.speaker, fields.seconds), where)


def _datasets(spec: str) -> Any:
    try:
        return importlib.import_module("datasets")
    except ImportError as error:
        raise MissingExtraError(
            f"{spec}: Hugging Face data sets need: pip install 'speechquant[datasets]'"
        ) from error


def _undecoded(datasets: Any, table: Any, spec: str) -> Any:
    column = Columns.find(table.column_names, spec).audio
    if isinstance(table.features[column], datasets.Audio):
        return table.cast_column(column, datasets.Audio(decode=False))
    return table


def _first_line(error: BaseException) -> str:
    # "An error occurred while generating the dataset" says nothing; what caused it does.
    root = error.__cause__ or error
    return (str(root).strip().splitlines() or [type(root).__name__])[0]
