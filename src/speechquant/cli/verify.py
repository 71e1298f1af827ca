"""`speechquant verify`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations
from typing import Annotated

import typer

__all__ = ["verify"]

_HELP = """Check that an artifact is complete, unaltered and consistent; the exit code is 2 if it is not.

Example:

    speechquant verify hubert-int8
"""


def verify(artifact: Annotated[Path, typer.Argument(help="Folder of the artifact.")]) -> None:
    """Run the job; the help text is `_HELP`."""
    from speechquant.cli.progress import StderrProgress
    from speechquant.cli.tables import print_verification
    from speechquant.errors import ArtifactError
    from speechquant.jobs.verify import verify as job

    found = job(artifact, progress=StderrProgress())
    print_verification(found)
    if found.problems:
        count = len(found.problems)
        raise ArtifactError(f"{artifact}: {count} problem{'s' if count > 1 else ''}; fetch or make it again")


verify.__doc__ = _HELP
