"""What the files of a folder are, by size and SHA-256: so it shows whether they are still those that were written."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from speechquant.artifact.manifest import FileRecord
from speechquant.decoding import read_small
from speechquant.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FLOAT_RECORD", "file_record", "file_records", "unchanged_files", "write_float_record"]

FLOAT_RECORD = "float-model.json"


class _FloatRecord(BaseModel):
    """`float-model.json`: every file of a float model that was written here, but this one."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    files: dict[str, FileRecord]


def file_record(path: Path) -> FileRecord:
    """What a file is."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileRecord(sha256=digest, bytes=path.stat().st_size)


def file_records(folder: Path) -> dict[str, FileRecord]:
    """What the files of a folder are, by path relative to it."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): file_record(path) for path in paths}


def write_float_record(folder: Path) -> None:
    """Write `float-model.json` beside the finished files of a float model, by which it may be replaced later on."""
    record = _FloatRecord(files=file_records(folder))
    text = json.dumps(record.model_dump(mode="json"), indent=1, ensure_ascii=False)
    (folder / FLOAT_RECORD).write_text(text + "\n", encoding="utf-8")


def unchanged_files(folder: Path) -> set[str]:
    """The files of a float model that are as `float-model.json` says, and that itself; none where there is none."""
    try:
        known = _FloatRecord.model_validate_json(read_small(folder / FLOAT_RECORD, fault=ArtifactError)).files
    except (ArtifactError, ValidationError):
        return set()
    same = {FLOAT_RECORD}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if name in known and path.is_file() and not path.is_symlink() and file_record(path) == known[name]:
            same.add(name)
    return same
