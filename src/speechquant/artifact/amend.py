"""Replace one folder of an artifact: all of it or nothing."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from speechquant.artifact.manifest import MANIFEST
from speechquant.artifact.record import file_record
from speechquant.artifact.save import write_json
from speechquant.artifact.staging import staged_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from speechquant.artifact.load import Artifact

__all__ = ["amended_folder"]


@contextmanager
def amended_folder(artifact: Artifact, name: str) -> Iterator[Path]:
    """Give an empty folder to fill; on success its files take the place of those in `name`.

    Folders below it stay. `quantization.json` gets the records of the new files; all others keep theirs, so
    that a file that was altered is still found out. The artifact is replaced in one step at the end.

    Args:
        artifact: the artifact.
        name: path of the folder in the artifact, with `/`; made if it is not there.

    Raises:
        StorageError: the disk is full or the place cannot be written to; the artifact stays as it was.
    """
    with staged_folder(artifact.folder) as staging:
        shutil.copytree(artifact.folder, staging, copy_function=_link, dirs_exist_ok=True)
        folder = staging / name
        folder.mkdir(parents=True, exist_ok=True)
        for path in (staging / MANIFEST, *folder.iterdir()):
            if path.is_file():
                path.unlink()
        yield folder
        kept = {
            path: record
            for path, record in artifact.info.files.items()
            if PurePosixPath(path).parent != PurePosixPath(name)
        }
        new = {f"{name}/{path.name}": file_record(path) for path in folder.iterdir() if path.is_file()}
        manifest = artifact.info.model_copy(update={"files": dict(sorted((kept | new).items()))})
        write_json(staging / MANIFEST, manifest.model_dump(mode="json"))


def _link(source: str, target: str) -> None:
    """A second name for a file, which costs nothing; a copy where the file system has no such names."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
