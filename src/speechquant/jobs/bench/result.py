"""What a benchmark found, and what follows from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from speechquant.jobs.bench.system import FLOATS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from speechquant.engines import LatencyResult
    from speechquant.jobs.bench.footprint import Footprint
    from speechquant.jobs.bench.provenance import Provenance
    from speechquant.jobs.bench.realtime import RealTime
    from speechquant.jobs.bench.system import System

__all__ = ["BenchInterrupted", "BenchResult", "Cell"]

_FORMAT = 1
_NOISY = 0.25
_TOKENS_APART = 0.1


@dataclass(frozen=True, slots=True)
class Cell:
    """All systems at one length and batch.

    `tokens` is how many each wrote, for models that write token by token and so take longer for more.
    """

    latency: LatencyResult
    tokens: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class BenchResult:
    """Everything that was measured.

    Attributes:
        title: what was measured, for people.
        provenance: where, with what, and how.
        systems: by name, in the order in which they are shown.
        cells: one per length and batch, as far as the job came.
        footprints: one per system, length and batch.
        realtime: on a data set, if one was given.
        notes: what was left out or done differently, one line each.
        interrupted: whether the user ended it early.
    """

    title: str
    provenance: Provenance
    systems: Mapping[str, System]
    cells: tuple[Cell, ...]
    footprints: tuple[Footprint, ...] = ()
    realtime: RealTime | None = None
    notes: tuple[str, ...] = ()
    interrupted: bool = False

    @property
    def batches(self) -> tuple[int, ...]:
        """The batch sizes that were measured."""
        return tuple(dict.fromkeys(cell.latency.batch for cell in self.cells))

    def of_batch(self, batch: int) -> tuple[LatencyResult, ...]:
        """Latencies at one batch size, shortest audio first."""
        found = [cell.latency for cell in self.cells if cell.latency.batch == batch]
        return tuple(sorted(found, key=lambda latency: latency.seconds))

    def fastest_float32(self, latency: LatencyResult) -> str | None:
        """The float32 system with the lowest median there; None if there is none."""
        median = latency.median
        return min((n for n in median if self.systems[n].kind == "f32"), key=median.__getitem__, default=None)

    def speedups(self, latency: LatencyResult) -> dict[str, dict[str, float]]:
        """How many times faster each system is than each float system: system -> float system -> ratio.

        Medians of the ratios within a turn.
        """
        floats = [name for name in latency.turns if self.systems[name].kind in FLOATS]
        return {name: {other: latency.ratio(other, name) for other in floats} for name in latency.turns}

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """Why figures may not mean what they seem to, one line each."""
        return (*self._noise(), *self._unequal_work())

    def _noise(self) -> list[str]:
        spreads = [
            (spread, f"{name} at {_where(cell.latency)}")
            for cell in self.cells
            for name, spread in cell.latency.spread.items()
            if spread > _NOISY
        ]
        if not spreads:
            return []
        worst, where = max(spreads)
        count = sum(len(cell.latency.turns) for cell in self.cells)
        line = (
            f"the machine was not quiet: {len(spreads)} of {count} medians have quartiles more than "
            f"{_NOISY:.0%} apart, the worst {worst:.0%} ({where}); stop other programs and measure again"
        )
        return [line]

    def _unequal_work(self) -> list[str]:
        found = []
        for cell in self.cells:
            if not cell.tokens:
                continue
            fewest, most = (
                min(cell.tokens, key=cell.tokens.__getitem__),
                max(cell.tokens, key=cell.tokens.__getitem__),
            )
            low, high = cell.tokens[fewest], cell.tokens[most]
            if high - low > _TOKENS_APART * high:
                found.append(
                    f"at {_where(cell.latency)} {fewest} wrote {low} tokens and {most} {high}: unequal work, so "
                    "their times cannot be compared"
                )
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; times in milliseconds unless the name says seconds."""
        return {
            "format": _FORMAT,
            "title": self.title,
            "interrupted": self.interrupted,
            **self.provenance.to_dict(),
            "systems": {name: system.to_dict() for name, system in self.systems.items()},
            "latency": [self._cell(cell) for cell in self.cells],
            "footprints": [asdict(item) for item in self.footprints],
            "realtime": None if self.realtime is None else self.realtime.to_dict(),
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }

    def _cell(self, cell: Cell) -> dict[str, Any]:
        latency = cell.latency
        return {
            "seconds": latency.seconds,
            "batch": latency.batch,
            "median": latency.median,
            "low": latency.low,
            "high": latency.high,
            "fastest_float32": self.fastest_float32(latency),
            "speedups": self.speedups(latency),
            "tokens": dict(cell.tokens),
            "turns": {name: list(values) for name, values in latency.turns.items()},
        }


class BenchInterrupted(KeyboardInterrupt):
    """The user ended the benchmark; `result` is what it had found until then."""

    def __init__(self, result: BenchResult) -> None:
        super().__init__("the benchmark was interrupted")
        self.result = result


def _where(latency: LatencyResult) -> str:
    batch = f", batch {latency.batch}" if latency.batch > 1 else ""
    return f"{latency.seconds:g} s{batch}"
