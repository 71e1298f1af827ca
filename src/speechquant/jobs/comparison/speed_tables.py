"""Latencies as tables of text, as rows of a CSV file, and as words of the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from speechquant.jobs.bench.system import FLOATS
from speechquant.jobs.bench.tables import Grid, conditions, latency_grids, ms, remarks
from speechquant.jobs.comparison.speeds import ENGINE_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from speechquant.jobs.comparison.result import CompareResult
    from speechquant.jobs.comparison.speeds import Speeds

__all__ = ["about_latency", "latency_axis", "latency_labels", "latency_rows", "speed_grids", "speed_notes"]


def speed_grids(speeds: Speeds, *, short: bool = False) -> tuple[Grid, ...]:
    """All systems at all lengths, and, unless `short`, with spread and every ratio at the one of the rows."""
    result, cell = speeds.measured, speeds.headline
    if cell is None:
        return ()
    (lengths,) = latency_grids(result)
    if short:
        return (lengths,)
    floats = [name for name, system in result.systems.items() if system.kind in FLOATS]
    ratios, low, high = result.speedups(cell), cell.low, cell.high
    rows = []
    for name, system in result.systems.items():
        covered = system.coverage
        small = f"{covered.int8} of {covered.total}" if covered else ""
        cells = (
            ms(cell.median[name]),
            f"{ms(low[name])} to {ms(high[name])}",
            f"{100 * cell.spread[name]:.0f} %",
            *(f"{ratios[name][other]:.2f}x" for other in floats),
            small,
            system.note,
        )
        rows.append((name, *cells))
    against = (f"against {name}" for name in floats)
    head = ("system", "ms", "quartiles", "spread", *against, "in int8", "note")
    return lengths, Grid(
        f"Latency at {cell.seconds:g} s, and times faster than each float system", head, tuple(rows)
    )


def speed_notes(speeds: Speeds) -> list[str]:
    """What was measured where, and what a reader must know, one line each."""
    result = speeds.measured
    if not result.cells:
        return remarks(result)
    spread = "spread: how far the quartiles of the turns lie apart, as a share of the median"
    ratio = "times faster: the median of the ratios within a turn, in which every system runs once"
    return [*conditions(result), ratio, spread, *remarks(result)]


def about_latency(result: CompareResult) -> list[str]:
    """What the milliseconds of rows are, if there are any."""
    if result.speeds is None or all(result.milliseconds(row) is None for row in result.rows):
        return []
    made = any(row.form not in ("float", "given") for row in result.rows)
    shared = "; rows of one width share it, as scales of other values do not change it" if made else ""
    return [f"{latency_axis(result.speeds)}; Figure 2 has how it was measured{shared}"]


def latency_axis(speeds: Speeds | None) -> str:
    """Of what the latencies are that stand beside rows."""
    cell = None if speeds is None else speeds.headline
    if speeds is None or cell is None or speeds.engine is None:
        return "latency in ms"
    threads = speeds.measured.provenance.threads
    plural = "s" if threads > 1 else ""
    return f"ms for {cell.seconds:g} s, {ENGINE_NAMES[speeds.engine]}, {threads} thread{plural}"


def latency_labels(speeds: Speeds) -> dict[str, str]:
    """Names of systems with how many times faster they are than the best float32, at the longest length."""
    result = speeds.measured
    longest = result.of_batch(1)[-1]
    best, ratios = result.fastest_float32(longest), result.speedups(longest)
    if best is None:
        return {}
    return {name: f"{name} {ratios[name][best]:.2f}x" for name in longest.turns}


def latency_rows(speeds: Speeds) -> Iterator[Mapping[str, Any]]:
    """One row for each length and system, for a CSV file."""
    result = speeds.measured
    for cell in result.of_batch(1):
        ratios = result.speedups(cell)
        for name, system in result.systems.items():
            coverage = system.coverage
            yield {
                "system": name,
                "engine": system.engine,
                "kind": system.kind,
                "note": system.note,
                "bytes": system.bytes,
                "int8": coverage.int8 if coverage else None,
                "operators": coverage.total if coverage else None,
                "seconds": cell.seconds,
                "threads": result.provenance.threads,
                "turns": len(cell.turns[name]),
                "median_ms": cell.median[name],
                "low_ms": cell.low[name],
                "high_ms": cell.high[name],
                "spread": cell.spread[name],
                **{f"times_faster_than.{other}": ratio for other, ratio in ratios[name].items()},
            }
