"""Files that appear whole or not at all, and what to tell the user where they cannot be written."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from speechquant.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["owner_is_alive", "replacing", "storage_error", "write_whole"]

_ADVICE = {
    errno.ENOSPC: "free some space or choose another folder",
    errno.EDQUOT: "free some space or choose another folder",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that you may write to",
    errno.EBUSY: "choose a folder inside this mount point",
    errno.EXDEV: "choose a folder inside this mount point",
    errno.ENOTDIR: "a part of the path is a file; choose another folder",
}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the name of a file beside `path`, which takes its place when the block has written it.

    So `path` is there whole or in its former state, also after a kill. What killed processes left beside it goes.

    Raises:
        StorageError: disk full, no permission and the like, also inside the block.
    """
    name = f".{path.name}.partial"
    partial = path.with_name(f"{name}-{os.getpid()}")
    try:
        # Not glob(): a name may hold its special characters.
        for leftover in list(path.parent.iterdir()):
            if leftover.name.rpartition("-")[0] == name and not owner_is_alive(leftover):
                leftover.unlink(missing_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        with suppress(OSError):
            partial.unlink()


def write_whole(path: Path, text: str) -> None:
    """Write a file as UTF-8, by `replacing`, whose errors it has."""
    with replacing(path) as partial:
        partial.write_bytes(text.encode())


def storage_error(path: Path, error: OSError) -> StorageError:
    """The user's view of a failed write, in one line; a `StorageError` is passed on as it is."""
    if isinstance(error, StorageError):
        return error
    advice = _ADVICE.get(error.errno or 0, "check the disk and the path")
    return StorageError(f"{path}: cannot be written: {error.strerror or error}; {advice}")


def owner_is_alive(leftover: Path) -> bool:
    """Whether another process runs that a file or folder is named after: `NAME-PID`."""
    owner = leftover.name.rpartition("-")[2]
    if not owner.isdigit() or sys.platform == "win32":  # signal 0 is Ctrl-C there, not a question
        return True
    try:
        os.kill(int(owner), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return int(owner) != os.getpid()
