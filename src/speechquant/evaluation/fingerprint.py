"""A name for the sound of an utterance, so that stored transcripts are never used for other audio."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from speechquant.data.fingerprint import content_hash

if TYPE_CHECKING:
    from speechquant.data import Utterance

__all__ = ["content_fingerprint"]


def content_fingerprint(utterance: Utterance) -> str | None:
    """A string that changes exactly when the audio does; None when the file cannot be read.

    Files are hashed by content, so that a copied data set still finds its transcripts; once per process, and
    again when size or time of change differ.
    """
    if not isinstance(utterance.audio, Path):
        return utterance.audio.fingerprint()
    try:
        status = utterance.audio.stat()
    except (OSError, ValueError):
        return None
    return _hash_file(utterance.audio.absolute(), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1 << 16)
def _hash_file(path: Path, size: int, modified: int) -> str | None:
    del size, modified  # they only make the cache forget
    return content_hash(path)
