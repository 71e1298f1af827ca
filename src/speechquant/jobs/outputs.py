"""Where tables, figures and transcripts go: folders of the user's that may hold other files."""

from __future__ import annotations

from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from speechquant.artifact import is_artifact
from speechquant.errors import StorageError
from speechquant.storage import storage_error

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["check_folder"]

_WEIGHTS = ("*.safetensors", "*.bin")


def check_folder(folder: Path) -> None:
    """Find out before hours of work whether files can be put into a folder, which is made if it is not there.

    Raises:
        StorageError: it is a file, belongs to an artifact or a model, or cannot be made or written to.
    """
    try:
        _refuse(folder)
        folder.mkdir(parents=True, exist_ok=True)
        # It has a name that nobody else has, or none.
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise storage_error(folder, error) from error


def _refuse(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise StorageError(f"{folder}: is a file; choose a folder")
    place = folder.resolve()
    # One file too many anywhere in an artifact, and it can neither be verified nor replaced.
    home = next((parent for parent in (place, *place.parents) if is_artifact(parent)), None)
    if home is not None:
        where = "holds an artifact" if home == place else f"lies in the artifact {home}"
        raise StorageError(f"{folder}: {where}, which other files would spoil; choose another folder")
    if (folder / "config.json").is_file() and any(found for kind in _WEIGHTS for found in folder.glob(kind)):
        raise StorageError(f"{folder}: holds a model (config.json and weights); choose another folder")
