"""Tell audio apart without decoding it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speechquant.data.utterance import AudioSource

__all__ = ["audio_fingerprint", "content_hash", "file_size"]


def audio_fingerprint(audio: Path | AudioSource) -> str:
    """Size and time of change of a file ("missing" if there is none), or what the source says of itself."""
    if not isinstance(audio, Path):
        return audio.fingerprint()
    try:
        status = audio.stat()
    except (OSError, ValueError):
        return "missing"
    return f"{status.st_size}:{status.st_mtime_ns}"


def file_size(path: Path) -> int | None:
    """Bytes of a regular file; None if it does not exist or its name is impossible."""
    try:
        return path.stat().st_size if path.is_file() else None
    except (OSError, ValueError):
        return None


def content_hash(path: Path) -> str | None:
    """SHA-256 of a file's bytes; None if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return None
