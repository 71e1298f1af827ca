"""Write a comparison: JSON and CSV with everything, Markdown and a page with tables and figures."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from speechquant.artifact import storage_error
from speechquant.errors import StorageError
from speechquant.jobs.bench.write import markdown
from speechquant.jobs.comparison.tables import conditions, main_grid, notes, search_grid
from speechquant.report.compare import (
    ComparePage,
    PageTable,
    amplitude_file,
    render_compare,
    tradeoff_file,
)
from speechquant.report.data import TradeoffPoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from speechquant.jobs.comparison.result import CompareResult
    from speechquant.report.compare_amplitudes import AmplitudeFigure

__all__ = ["check_folder", "flat", "write"]

# Where nothing is understood, size is no argument; such rows would only crowd the plot.
_DEAF = 90.0
_KEYS = {"float": "float", "stablequant": "quantized", "given": "quantized"}


def check_folder(folder: Path) -> None:
    """Find out before hours of work whether files can be put there.

    Raises:
        StorageError: it is a file, or cannot be made or written to.
    """
    if folder.exists() and not folder.is_dir():
        raise StorageError(f"{folder}: is a file; choose a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise storage_error(folder, error) from error


def write(result: CompareResult, folder: Path, figures: Sequence[AmplitudeFigure] = ()) -> tuple[Path, ...]:
    """Write `compare.json`, `.csv`, `.md`, `.html`, and the figures with their data.

    Files of these names are replaced, others in the folder stay.

    Returns:
        What was written.

    Raises:
        StorageError: the folder cannot be written.
    """
    points = _points(result)
    files = {
        "compare.json": json.dumps(result.to_dict(), indent=1) + "\n",
        "compare.csv": _csv([flat(row.to_dict()) for row in result.rows]),
        "compare.md": "\n".join(_lines(result, figures, drawn=len(points) > 1)) + "\n",
        "compare.html": render_compare(_page(result, figures, points)),
        **{f"{figure.key}.svg": amplitude_file(figure) for figure in figures},
    }
    if len(points) > 1:
        files["tradeoff.svg"] = tradeoff_file(points)
    if figures:
        files["amplitudes.csv"] = _csv(list(_bins(figures)))
    try:
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise storage_error(folder, error) from error
    return tuple(folder / name for name in files)


def flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested JSON values as one level, with dots between the names and blanks between items of lists."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f"{before}{name}.")
        else:
            found[before + name] = " ".join(value) if isinstance(value, list) else value
    return found


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """All columns that any row has, in order of appearance; None is an empty cell."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _bins(figures: Sequence[AmplitudeFigure]) -> Iterator[dict[str, Any]]:
    for figure in figures:
        for series in figure.series:
            lows, highs = series.edges[:-1], series.edges[1:]
            for low, high, count, share in zip(lows, highs, series.counts, series.shares, strict=True):
                yield {
                    "figure": figure.key,
                    "series": series.name,
                    "low": low,
                    "high": high,
                    "count": count,
                    "share": share,
                }


def _points(result: CompareResult) -> tuple[TradeoffPoint, ...]:
    """Rows with a size that still understand speech, by their rate on test; the float model in any case."""
    return tuple(
        TradeoffPoint(
            label=row.name,
            wer=row.test.wer,
            low=row.test.interval.low,
            high=row.test.interval.high,
            megabytes=row.found.bytes / 1e6,
            key=_KEYS.get(row.form, "naive_max"),  # type: ignore[arg-type]
        )
        for row in result.rows
        if row.test is not None and row.found is not None and row.found.bytes is not None
        if row.form == "float" or row.test.wer < _DEAF
    )


def _lines(result: CompareResult, figures: Sequence[AmplitudeFigure], *, drawn: bool) -> Iterator[str]:
    where = result.conditions
    yield f"# {where.title}"
    yield ""
    for line in (*notes(result), *where.warnings):
        yield f"- {line}"
    if result.rows:
        yield from markdown(main_grid(result))
        yield from markdown(search_grid(result))
    if drawn:
        yield from ("", "![Word error rate against size](tradeoff.svg)")
    for figure in figures:
        yield from ("", f"## {figure.title}", "", f"![{figure.title}]({figure.key}.svg)")
    yield from ("", f"    {where.command}", "")
    yield "; ".join(conditions(result)) + "."


def _page(
    result: CompareResult, figures: Sequence[AmplitudeFigure], points: tuple[TradeoffPoint, ...]
) -> ComparePage:
    where = result.conditions
    grids = (main_grid(result), search_grid(result)) if result.rows else ()
    remarks = (tuple(notes(result)), ())
    return ComparePage(
        title=where.title,
        facts=(where.model, f"{len(result.rows)} of {result.planned} rows")
        if result.planned
        else (where.model,),
        tables=tuple(
            PageTable(grid.title, grid.head, grid.rows, lines)
            for grid, lines in zip(grids, remarks, strict=False)
        ),
        command=where.command,
        conditions=tuple(conditions(result)),
        points=points,
        amplitudes=tuple(figures),
        warnings=where.warnings,
    )
