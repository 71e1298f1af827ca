"""What happened in training, one JSON object a line, for people and for plots."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from speechquant.storage import storage_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["History", "read_history"]

_RATE = "learning_rate"
"""What lines of updates have, and those of evaluations do not."""


class History:
    """A file that grows by a line per update and per evaluation; a run that goes on cuts what it will repeat.

    Args:
        path: the file.
        step: updates that are finished; lines of later ones are dropped.
        evaluated: the update behind which the last finished evaluation was; lines of later ones are dropped. That of
            0 is before all updates, and with -1 there was none.

    Raises:
        StorageError: the file cannot be written.
    """

    def __init__(self, path: Path, *, step: int = 0, evaluated: int = -1) -> None:
        self.path = path
        kept = [row for row in read_history(path) if row["step"] <= (step if _RATE in row else evaluated)]
        self._write("".join(_line(row) for row in kept), mode="w")

    def add(self, **row: Any) -> None:
        """Append a line; `step` is among its fields."""
        self._write(_line(row), mode="a")

    def rows(self) -> tuple[dict[str, Any], ...]:
        """All lines so far."""
        return read_history(self.path)

    def _write(self, text: str, *, mode: str) -> None:
        try:
            with self.path.open(mode, encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise storage_error(self.path, error) from error


def read_history(path: Path) -> tuple[dict[str, Any], ...]:
    """The lines of a history; empty where there is none, and without a last line that a kill cut short."""
    rows = []
    for line in _lines(path):
        try:
            row = json.loads(line)
        except ValueError:
            break
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            break
        rows.append(row)
    return tuple(rows)


def _lines(path: Path) -> Sequence[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else ()


def _line(row: Mapping[str, Any]) -> str:
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
    return json.dumps(finite) + "\n"
