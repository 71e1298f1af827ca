"""Tell audio apart without decoding it."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speechquant.data.utterance import AudioSource

__all__ = ["content_fingerprint", "file_size"]


def content_fingerprint(audio: Path | AudioSource) -> str | None:
    """SHA-256 of a file's bytes, or what a source says of itself; None if the file cannot be read.

    A copied data set keeps its fingerprints. A file is read once per process, and again when its size or time
    of change differ.
    """
    if not isinstance(audio, Path):
        return audio.fingerprint()
    try:
        status = audio.stat()
    except (OSError, ValueError):
        return None
    return _hash_file(audio.absolute(), status.st_size, status.st_mtime_ns)


def file_size(path: Path) -> int | None:
    """Bytes of a regular file; None if it does not exist or its name is impossible."""
    try:
        return path.stat().st_size if path.is_file() else None
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=1 << 16)
def _hash_file(path: Path, size: int, modified: int) -> str | None:
    del size, modified  # they only make the cache forget
    return _content_hash(path)


def _content_hash(path: Path) -> str | None:
    """SHA-256 of a file's bytes; None if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return None
