"""The figures as tables of text, for the terminal and for Markdown alike."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from speechquant.jobs.bench.system import FLOATS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from speechquant.jobs.bench.footprint import Footprint
    from speechquant.jobs.bench.result import BenchResult

__all__ = [
    "Grid",
    "conditions",
    "latency_grids",
    "memory_grids",
    "ms",
    "ratio_grids",
    "remarks",
    "start_grid",
]

_DECIMAL_BELOW = 10


@dataclass(frozen=True, slots=True)
class Grid:
    """One table: what it shows, its columns, and its rows; the first column holds names."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def latency_grids(result: BenchResult) -> Iterator[Grid]:
    """For each batch size milliseconds by system and length, and how many times faster than the best float32."""
    for batch in result.batches:
        cells = result.of_batch(batch)
        best = [result.fastest_float32(cell) for cell in cells]
        speedups = [result.speedups(cell) for cell in cells]
        head = ("system", *(f"{cell.seconds:g} s" for cell in cells))
        rows = []
        for name in result.systems:
            row = [name]
            for cell, float32, speedup in zip(cells, best, speedups, strict=True):
                ratio = f" ({speedup[name][float32]:.2f}x)" if float32 else ""
                row.append(f"{ms(cell.median[name])}{ratio}")
            rows.append(tuple(row))
        known = [name or "none" for name in best]
        if any(best):
            rows.append(("best float32", *known))
        yield Grid(f"Latency in ms, batch {batch} (times the best float32 at that length)", head, tuple(rows))


def ratio_grids(result: BenchResult) -> Iterator[Grid]:
    """For each batch size and length how many times faster the others are than every float system."""
    floats = [name for name, system in result.systems.items() if system.kind in FLOATS]
    others = [name for name in result.systems if name not in floats]
    if not floats or not others:
        return
    for batch in result.batches:
        rows = [
            (f"{name}, {cell.seconds:g} s", *(f"{cell.ratio(other, name):.2f}x" for other in floats))
            for name in others
            for cell in result.of_batch(batch)
        ]
        yield Grid(f"Times faster than, batch {batch}", ("system", *floats), tuple(rows))


def start_grid(result: BenchResult) -> Grid:
    """Size, coverage, load time, first call and real-time factor by system."""
    factors = result.realtime.factor if result.realtime else {}
    head = ["system", "MB", "in int8", "load s", "first call ms", *(["RTF"] if factors else []), ""]
    rows = []
    for name, system in result.systems.items():
        mine = [item for item in result.footprints if item.system == name]
        covered = system.coverage
        row = [
            name,
            f"{system.bytes / 1e6:.1f}",
            f"{covered.int8} of {covered.total}" if covered else "",
            f"{median(item.load_s for item in mine):.2f}" if mine else "",
            ms(_shortest(mine).first_ms) if mine else "",
            *([f"{factors[name]:.4f}"] if factors else []),
            system.note,
        ]
        rows.append(tuple(row))
    where = f", real-time factor on {result.realtime.data}" if result.realtime else ""
    return Grid(f"Size, start{where}", tuple(head), tuple(rows))


def memory_grids(result: BenchResult) -> Iterator[Grid]:
    """For each batch size the peak of resident memory by system and length, in MB."""
    known = [item for item in result.footprints if item.peak_bytes is not None]
    for batch in dict.fromkeys(item.batch for item in known):
        found = {
            (item.system, item.seconds): (item.peak_bytes or 0) / 1e6 for item in known if item.batch == batch
        }
        lengths = sorted({seconds for _, seconds in found})
        rows = []
        for name in result.systems:
            cells = [found.get((name, seconds)) for seconds in lengths]
            if any(cells):
                rows.append((name, *("" if cell is None else f"{cell:.0f}" for cell in cells)))
        head = ("system", *(f"{seconds:g} s" for seconds in lengths))
        yield Grid(f"Peak memory in MB of a process of its own, batch {batch}", head, tuple(rows))


def conditions(result: BenchResult) -> list[str]:
    """Under which the figures hold, one line each."""
    where = result.provenance
    versions = ", ".join(f"{name} {version}" for name, version in where.versions.items())
    turns = sorted({len(times) for cell in result.cells for times in cell.latency.turns.values()})
    count = " to ".join(str(number) for number in dict.fromkeys([*turns[:1], *turns[-1:]])) or "no"
    how = (
        f"CPU threads: {where.threads}; medians of {count} interleaved turns after {where.warmup} that do "
        f"not count; whole transcription of {where.audio}"
    )
    lines = [how, where.machine, versions, f"{where.started}: {where.command}"]
    if result.realtime:
        found = result.realtime
        skipped = f", {found.skipped} unusable ones skipped" if found.skipped else ""
        realtime = (
            f"RTF: seconds of computing per second of audio, {found.utterances} utterances of {found.data}, "
            f"{found.audio_seconds / 60:.1f} minutes{skipped}"
        )
        lines.insert(1, realtime)
    return lines


def remarks(result: BenchResult) -> list[str]:
    """What a reader must know, one line each."""
    ended = (
        ["interrupted: the rest is missing, and the last length may have fewer turns"]
        if result.interrupted
        else []
    )
    return [*ended, *(f"warning: {line}" for line in result.warnings), *result.notes]


def ms(value: float) -> str:
    """Milliseconds as tables show them."""
    return f"{value:.1f}" if value < _DECIMAL_BELOW else f"{value:.0f}"


def _shortest(items: list[Footprint]) -> Footprint:
    return min(items, key=lambda item: (item.batch, item.seconds))
