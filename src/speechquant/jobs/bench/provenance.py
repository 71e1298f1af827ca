"""Where figures come from: without it they are no evidence."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechquant.artifact import package_versions
from speechquant.jobs.engines import engines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from speechquant.engines.cpu import Cpu

__all__ = ["Provenance", "provenance"]


@dataclass(frozen=True, slots=True)
class Provenance:
    """The command, the moment, the machine, the versions, and how it was measured.

    `threads` is what every system was told to use; `audio` what they listened to; `repeats` and `warmup` count
    turns.
    """

    command: str
    started: str
    cpu: Cpu
    cores: int
    platform: str
    versions: Mapping[str, str]
    threads: int
    repeats: int
    warmup: int
    audio: str

    @property
    def machine(self) -> str:
        """In one line."""
        features = " ".join(self.cpu.features)
        return f"{self.cpu.name} ({features or self.cpu.machine}), {self.cores} cores, {self.platform}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def provenance(*, threads: int, repeats: int, warmup: int, audio: str) -> Provenance:
    """What can be said of a run that starts now."""
    report = engines()
    installed = {engine.name: engine.version for engine in report.engines if engine.version}
    versions = package_versions() | installed
    if (commit := _commit(Path(__file__).parents[4])) is not None:
        versions["speechquant"] += f" ({commit})"
    return Provenance(
        command=_command(sys.argv),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        cpu=report.cpu,
        cores=report.cores,
        platform=f"{platform.system()} {platform.machine()}",
        versions=versions,
        threads=threads,
        repeats=repeats,
        warmup=warmup,
        audio=audio,
    )


def _command(arguments: Sequence[str]) -> str:
    program = Path(arguments[0]).name
    module = program == "__main__.py"
    return shlex.join([*(("python", "-m", "speechquant") if module else (program,)), *arguments[1:]])


def _commit(checkout: Path) -> str | None:
    """The commit of a checkout from which the package runs; None where it is installed."""
    if not (checkout / ".git").exists():
        return None
    try:
        found = subprocess.run(  # noqa: S603 - a constant command
            ["git", "-C", str(checkout), "rev-parse", "--short=12", "HEAD"],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return found.stdout.strip() or None
