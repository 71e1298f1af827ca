"""Manifests and transcripts are UTF-8, and say so when they are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechquant.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_text"]


def read_text(path: Path) -> str:
    r"""The contents of a UTF-8 file, a byte order mark removed.

    Divide them with `split("\n")`: `splitlines` also divides at characters that transcripts may contain.

    Raises:
        DataError: unreadable, or not UTF-8; names the line and the byte.
    """
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DataError(f"{path}: cannot be read: {reason}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = "it looks like UTF-16" if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else "not UTF-8"
        raise DataError(
            f"{path}, line {line}: wrong text encoding ({found}; byte 0x{data[error.start]:02x} at position "
            f"{error.start}); save the file as UTF-8"
        ) from error
