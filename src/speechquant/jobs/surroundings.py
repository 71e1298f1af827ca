"""What every long job asks of the machine: a place for the result, one for its work, threads, memory."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from speechquant.artifact import check_target
from speechquant.errors import StorageError
from speechquant.storage import storage_error

__all__ = ["check_output", "peak_rss_mb", "set_threads", "work_folder"]


def check_output(output: Path, *, floats: bool = False, model: str | None = None) -> None:
    """Find out before hours of work whether an artifact can be written.

    Args:
        output: the folder.
        floats: accept an unchanged float model of `learn` there too, as `check_target` does.
        model: the folder that must not be replaced, if it is one.

    Raises:
        ArtifactError: something else than an artifact or an empty folder is there.
        StorageError: the place cannot be written to, or it is the model, or the shell is inside it.
    """
    check_target(output, floats=floats)
    if model is not None and Path(model).expanduser().resolve() == output.resolve():
        raise StorageError(f"{output}: is the model that is read; choose another folder for the result")
    # The folder is replaced at the end, which would leave the shell and relative paths in a deleted one.
    if Path.cwd().is_relative_to(output.resolve()):
        raise StorageError(f"{output}: is the folder you are in; choose another one for the artifact")


def work_folder(output: Path) -> Path:
    """Make `<output>.work`, where a job keeps what took long.

    Raises:
        StorageError: it cannot be made.
    """
    # `.` and `..` have no name of their own.
    place = output if output.name.strip(".") else output.resolve()
    work = place.with_name(place.name + ".work")
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(work, error) from error
    return work


def set_threads(threads: int | None) -> None:
    """Let torch use so many CPU threads; None leaves it its own choice."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def peak_rss_mb() -> float:
    """The most memory that this process ever held, in MB (10^6 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts KiB, macOS bytes.
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
