"""A folder for what is large and needed once; what a killed run left of it goes with the next run."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from speechquant.storage import owner_is_alive, storage_error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["scratch_folder"]

_OURS = re.compile(r"scratch-\d+")


@contextmanager
def scratch_folder(work: Path) -> Iterator[Path]:
    """Give an empty folder in `work` that is named after this process, and remove it in the end.

    Folders of processes that are no more are removed first.

    Raises:
        StorageError: the folder cannot be made.
    """
    folder = work / f"scratch-{os.getpid()}"
    try:
        for leftover in list(work.iterdir()):
            if _OURS.fullmatch(leftover.name) and leftover.is_dir() and not owner_is_alive(leftover):
                shutil.rmtree(leftover, ignore_errors=True)
        folder.mkdir()
    except OSError as error:
        raise storage_error(folder, error) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
