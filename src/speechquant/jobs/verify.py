"""Check an artifact, with progress."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from speechquant.artifact import verify_artifact
from speechquant.jobs.progress import Silent

if TYPE_CHECKING:
    from speechquant.artifact import Verification
    from speechquant.jobs.progress import Progress

__all__ = ["verify"]


def verify(folder: str | Path, *, progress: Progress | None = None) -> Verification:
    """Check that an artifact is complete, unaltered and consistent (see `verify_artifact`).

    Raises:
        ArtifactError: there is no artifact that could be judged.
    """
    with (progress or Silent()).stage("verify") as advance:
        return verify_artifact(Path(folder), on_check=advance)
