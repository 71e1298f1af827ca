"""A folder appears complete or not at all, and what was there before survives every failure."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from speechquant.artifact.manifest import MANIFEST
from speechquant.artifact.record import FLOAT_RECORD, unchanged_files
from speechquant.decoding import read_json
from speechquant.errors import ArtifactError, StorageError
from speechquant.storage import owner_is_alive, storage_error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["check_target", "staged_folder"]


def check_target(target: Path, *, floats: bool = False) -> None:
    """Find out before hours of work whether an artifact can be written to `target`.

    Args:
        target: the folder.
        floats: accept a float model with `float-model.json` there too, all of whose files are as that says.

    Raises:
        ArtifactError: something else than an artifact or an empty folder is there.
        StorageError: the place cannot be written to.
    """
    place = target.resolve()
    if not place.name:
        raise StorageError(f"{target}: is not a place for an artifact; choose a folder name")
    try:
        _check_replaceable(place, floats=floats)
        parent = next(folder for folder in place.parents if folder.exists())
        if not parent.is_dir():
            raise StorageError(f"{target}: cannot be written: {parent} is a file; choose another folder")
        if not os.access(parent, os.W_OK | os.X_OK):
            raise StorageError(
                f"{target}: cannot be written: no permission in {parent}; choose another folder"
            )
    except OSError as error:
        raise storage_error(target, error) from error


@contextmanager
def staged_folder(target: Path, *, floats: bool = False) -> Iterator[Path]:
    """Give an empty folder beside `target` to fill; on success it takes the place of `target`.

    An artifact that was there is set aside first and deleted last. Whatever fails, also an interruption, the
    staging folder is removed and the old artifact stays. Leftovers of runs that were killed are cleaned up.
    `floats` as in `check_target`.

    Raises:
        ArtifactError: as `check_target`.
        StorageError: disk full, no permission; the message says what to do.
    """
    check_target(target, floats=floats)
    place = target.resolve()
    staging = place.parent / f".{place.name}.partial-{os.getpid()}"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _clean(place)
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        yield staging
        _share(staging)
        _swap(staging, place, floats=floats)
    except OSError as error:
        raise storage_error(target, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _check_replaceable(place: Path, *, floats: bool) -> None:
    if place.is_dir():
        known = _listed(place) | (unchanged_files(place) if floats else set())
        foreign = _foreign(place, known)
        if foreign is not None and FLOAT_RECORD in known:
            raise ArtifactError(
                f"{place}: {foreign} was added or changed since this float model was written ({FLOAT_RECORD}), so "
                "it will not be replaced; choose another folder"
            )
        if foreign is not None:
            raise ArtifactError(
                f"{place}: holds other files than an artifact ({foreign}) and will not be replaced; choose "
                "another folder"
            )
    elif place.exists():
        raise ArtifactError(f"{place}: is a file; choose another folder for the artifact")


def _foreign(place: Path, known: set[str]) -> str | None:
    """A file that would be lost if the artifact in `place` were replaced, None if there is none."""
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place).as_posix()
        if name not in known and (path.is_symlink() or not path.is_dir()):
            return name
    return None


def _listed(place: Path) -> set[str]:
    """What the artifact in `place` consists of, of whatever format version; nothing if it is none."""
    try:
        values = read_json(place / MANIFEST, fault=ArtifactError)
        ours = values["format"] == "speechquant"
        return {MANIFEST, *values["files"]} if ours else set()
    except (ArtifactError, KeyError, TypeError):
        return set()


def _share(staging: Path) -> None:
    """Give every file the mode that new files have here; some writers keep theirs to themselves."""
    probe = staging / ".mode"
    probe.touch()
    mode = probe.stat().st_mode & 0o777
    probe.unlink()
    for path in staging.rglob("*"):
        if path.is_file():
            path.chmod(mode)


def _swap(staging: Path, place: Path, *, floats: bool) -> None:
    _check_replaceable(place, floats=floats)
    aside = place.parent / f".{place.name}.old-{os.getpid()}"
    had_old = place.exists()
    if had_old:
        place.rename(aside)
    try:
        staging.rename(place)
    except BaseException:
        if had_old:
            aside.rename(place)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _clean(place: Path) -> None:
    """Put back an artifact that a killed run had set aside, and remove what killed runs left half done."""
    ours = re.compile(rf"\.{re.escape(place.name)}\.(old|partial)-\d+")
    for leftover in list(place.parent.iterdir()):
        match = ours.fullmatch(leftover.name)
        if match is None or leftover.is_symlink() or not leftover.is_dir() or owner_is_alive(leftover):
            continue
        if match[1] == "old" and not place.exists():
            leftover.rename(place)
        else:
            shutil.rmtree(leftover, ignore_errors=True)
