"""Write a result: JSON with everything, Markdown with the tables, and the figure."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from speechquant.jobs.bench.figure import draw_latencies
from speechquant.jobs.bench.tables import (
    conditions,
    latency_grids,
    memory_grids,
    ratio_grids,
    remarks,
    start_grid,
)
from speechquant.storage import storage_error, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from speechquant.jobs.bench.result import BenchResult
    from speechquant.jobs.bench.tables import Grid

__all__ = ["markdown", "write"]

_FIGURE = re.compile(r"latency(-batch\d+)?\.svg")


def write(result: BenchResult, folder: str | Path) -> tuple[Path, ...]:
    """Write `bench.json`, `bench.md` and `latency.svg`, one more figure for every further batch size.

    Files of these names are replaced, figures of an earlier run are removed; others in the folder stay.

    Returns:
        What was written.

    Raises:
        StorageError: the folder cannot be written.
    """
    home = Path(folder)
    files = {"bench.json": json.dumps(result.to_dict(), indent=1) + "\n"}
    figures = []
    for index, batch in enumerate(result.batches):
        name = f"latency-batch{batch}.svg" if index else "latency.svg"
        files[name] = draw_latencies(result, batch)
        figures.append(name)
    files["bench.md"] = "\n".join(_lines(result, figures)) + "\n"
    try:
        home.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            write_whole(home / name, text)
        for old in home.glob("latency*.svg"):
            if _FIGURE.fullmatch(old.name) and old.name not in files:
                old.unlink()
    except OSError as error:
        raise storage_error(home, error) from error
    return tuple(home / name for name in files)


def _lines(result: BenchResult, figures: list[str]) -> Iterator[str]:
    yield f"# {result.title}"
    yield ""
    for line in (*conditions(result), *remarks(result)):
        yield f"- {line}"
    for name in figures:
        yield ""
        yield f"![Latency against length of audio]({name})"
    for grid in (
        *latency_grids(result),
        start_grid(result),
        *memory_grids(result),
        *ratio_grids(result),
    ):
        yield from markdown(grid)


def markdown(grid: Grid) -> Iterator[str]:
    """The lines of a table below its title."""
    yield ""
    yield f"## {grid.title}"
    yield ""
    for row in (grid.head, ("---", *("---:" for _ in grid.head[1:])), *grid.rows):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
