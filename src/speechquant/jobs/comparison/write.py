"""Write a comparison: JSON and CSV with everything, Markdown and a page with tables and figures."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from speechquant.jobs.bench.figure import draw_latencies, latency_figure
from speechquant.jobs.bench.write import markdown
from speechquant.jobs.comparison.speed_tables import (
    latency_axis,
    latency_labels,
    latency_rows,
    speed_grids,
    speed_notes,
)
from speechquant.jobs.comparison.tables import conditions, grids, notes
from speechquant.report.compare import (
    ComparePage,
    LatencyPart,
    PageTable,
    amplitude_file,
    pareto_file,
    render_compare,
)
from speechquant.report.data import TradeoffPoint
from speechquant.storage import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from speechquant.jobs.comparison.result import CompareResult, Row
    from speechquant.jobs.comparison.speeds import Speeds
    from speechquant.report.compare_amplitudes import AmplitudeFigure

__all__ = ["flat", "write"]

# Where nothing is understood, size is no argument; such rows would only crowd the plot.
_DEAF = 90.0


def write(result: CompareResult, folder: Path, figures: Sequence[AmplitudeFigure] = ()) -> tuple[Path, ...]:
    """Write `compare.json`, `.csv`, `.md`, `.html`, and the figures and latencies with their data.

    Files of these names are replaced, others in the folder stay.

    Returns:
        What was written.

    Raises:
        StorageError: the folder cannot be written.
    """
    page, values, speeds = _page(result, figures), result.to_dict(), result.speeds
    files = {
        "compare.json": json.dumps(values, indent=1) + "\n",
        "compare.csv": _csv([flat(row) for row in values["rows"]]),
        "compare.md": "\n".join(_lines(result, figures, drawn=bool(page.points))) + "\n",
        "compare.html": render_compare(page),
        **{f"{figure.key}.svg": amplitude_file(figure) for figure in figures},
    }
    if page.points:
        files["tradeoff.svg"] = pareto_file(page)
    if figures:
        files["amplitudes.csv"] = _csv(list(_bins(figures)))
    if speeds is not None and speeds.headline is not None:
        files["figure2.svg"] = draw_latencies(speeds.measured, 1, latency_labels(speeds))
        files["latency.csv"] = _csv(list(latency_rows(speeds)))
    for name, text in files.items():
        write_whole(folder / name, text)
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
    """Quantized rows with a size that still understand speech, by their rate on test."""
    return tuple(
        _point(row, row.name if row.form == "given" else row.bits, result, _group(row, result))
        for row in result.rows
        if not row.is_float and row.test is not None and result.size(row) is not None
        if row.test.wer < _DEAF
    )


def _references(result: CompareResult) -> tuple[TradeoffPoint, ...]:
    """The float model, and the control."""
    rows = [*result.rows[:1], *([result.control] if result.control else [])]
    return tuple(_point(row, row.name, result) for row in rows if row.test is not None)


def _group(row: Row, result: CompareResult) -> str:
    """The method, and what else tells rows apart that are not to be joined."""
    if row.form == "given":
        return row.method if result.all_brought else f"{row.method}, brought along"
    return row.method if row.layers == "all" else f"{row.method} {row.layers}"


def _point(row: Row, label: str, result: CompareResult, group: str = "") -> TradeoffPoint:
    assert row.test is not None
    interval, size = row.test.interval, result.size(row)
    costs = (None if size is None else size / 1e6, result.milliseconds(row))
    return TradeoffPoint(label, row.test.wer, interval.low, interval.high, *costs, group=group)


def _lines(result: CompareResult, figures: Sequence[AmplitudeFigure], *, drawn: bool) -> Iterator[str]:
    where = result.conditions
    yield f"# {where.title}"
    yield ""
    for line in (*notes(result), *where.warnings):
        yield f"- {line}"
    for grid in grids(result):
        yield from markdown(grid)
    if drawn:
        yield from ("", "![Word error rate against its costs](tradeoff.svg)")
    for figure in figures:
        yield from ("", f"## {figure.title}", "", f"![{figure.title}]({figure.key}.svg)")
    if result.speeds is not None:
        yield from _latency(result.speeds)
    yield from ("", f"    {where.command}", "")
    yield "; ".join(conditions(result)) + "."


def _latency(speeds: Speeds) -> Iterator[str]:
    title = "Figure 2: latency against length of audio"
    yield from ("", f"## {title}", "")
    if speeds.headline is not None:
        yield from (f"![{title}](figure2.svg)", "")
    for line in speed_notes(speeds):
        yield f"- {line}"
    for grid in speed_grids(speeds):
        yield from markdown(grid)


def _latency_part(speeds: Speeds) -> LatencyPart:
    measured = speeds.headline is not None
    return LatencyPart(
        latency_figure(speeds.measured, 1, latency_labels(speeds)) if measured else None,
        tuple(PageTable(grid.title, grid.head, grid.rows) for grid in speed_grids(speeds)),
        tuple(speed_notes(speeds)),
    )


def _page(result: CompareResult, figures: Sequence[AmplitudeFigure]) -> ComparePage:
    where = result.conditions
    remarks = (tuple(notes(result)), ())
    return ComparePage(
        title=where.title,
        facts=(where.model, f"{len(result.rows)} of {result.planned} rows")
        if result.planned
        else (where.model,),
        tables=tuple(
            PageTable(grid.title, grid.head, grid.rows, lines)
            for grid, lines in zip(grids(result), remarks, strict=False)
        ),
        command=where.command,
        conditions=tuple(conditions(result)),
        points=_points(result),
        references=_references(result),
        size="size of the file in MB" if result.all_brought else "size in MB",
        milliseconds=latency_axis(result.speeds),
        amplitudes=tuple(figures),
        latency=_latency_part(result.speeds) if result.speeds else None,
        warnings=where.warnings,
    )
