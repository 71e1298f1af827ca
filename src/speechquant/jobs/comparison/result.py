"""What a comparison found, in plain data, with every test that stands beside a figure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from speechquant.artifact import Storage
    from speechquant.evaluation import Evaluation
    from speechquant.jobs.comparison.speeds import Speeds
    from speechquant.metrics import PairedTest

__all__ = [
    "FLOAT_BITS",
    "CompareInterrupted",
    "CompareResult",
    "Conditions",
    "Found",
    "Mark",
    "Row",
    "mark",
]

Mark = Literal["better", "equal", "worse"]

FLOAT_BITS = "w32a32"

_FORMAT = "speechquant-compare-1"


@dataclass(frozen=True, slots=True)
class Found:
    """How a row came about; with it and the stored transcripts a finished row needs nothing done again.

    `signature` is that of the recogniser, `bytes` None where the size is unknown. `search_passes` counts passes
    over the speech for choices, the float model's included where layers were selected; the two final passes over dev
    and test are not among them. `seconds` is the time in the recogniser and in rounding, shared passes included.

    An artifact also has its `storage`, counted in its file of weights, and, where `learn` made it, the
    `compression_seconds` that this took.
    """

    signature: str
    backend: str
    bytes: int | None
    clipped: tuple[str, ...] = ()
    p_opt: float | dict[str, float] | None = None
    search_passes: int = 0
    seconds: float = 0.0
    storage: Storage | None = None
    compression_seconds: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One line of the table.

    `form` says what kind of method it is: "plain" (all layers alike), "layer-adaptive", "stablequant", "float",
    or "given" for an artifact or model that was brought along. A row that failed has an `error` and no figures.
    `against` has paired tests by reference ("float", "stablequant", "control") and data set; the reference is the
    first system.
    """

    name: str
    method: str
    form: str
    bits: str
    layers: str
    found: Found | None = None
    dev: Evaluation | None = None
    test: Evaluation | None = None
    against: Mapping[str, Mapping[str, PairedTest]] = field(default_factory=dict)
    error: str | None = None

    @property
    def is_float(self) -> bool:
        """Whether nothing is quantized in it."""
        return self.found is not None and self.bits == FLOAT_BITS

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; rates in percent, counts in words."""
        found = self.found
        return {
            "name": self.name,
            "method": self.method,
            "form": self.form,
            "bits": self.bits,
            "layers": self.layers,
            "bytes": found.bytes if found else None,
            "storage": found.storage.figures() if found and found.storage else {},
            "compression_seconds": found.compression_seconds if found else None,
            "dev": _figures(self.dev),
            "test": _figures(self.test),
            "against": {
                reference: {data: _outcome(test) for data, test in tests.items()}
                for reference, tests in self.against.items()
            },
            "clipped": list(found.clipped) if found else [],
            "p_opt": found.p_opt if found else None,
            "search_passes": found.search_passes if found else None,
            "seconds": round(found.seconds, 3) if found else None,
            "backend": found.backend if found else None,
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class Conditions:
    """Where the figures come from: without it they are no evidence.

    `speech` has the number of utterances and of reference words by role; "choices" is the part of dev on which
    layers and cut-offs were chosen. Roles that no row needed are not among them.
    `percentile` is that of rows which name none.
    """

    title: str
    model: str
    normalizer: str
    gamma: float
    cutoffs: tuple[float, ...]
    percentile: float
    speech: Mapping[str, tuple[int, int]]
    command: str
    machine: str
    versions: Mapping[str, str]
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        found = asdict(self) | {"cutoffs": list(self.cutoffs), "warnings": list(self.warnings)}
        return found | {
            "speech": {role: {"utterances": n, "words": words} for role, (n, words) in self.speech.items()}
        }


@dataclass(frozen=True, slots=True, eq=False)
class CompareResult:
    """All rows that are finished, of so many that are `planned`; the float model is the first.

    `speeds` is what was measured of them, None where that was not asked for.
    """

    rows: tuple[Row, ...]
    planned: int
    conditions: Conditions
    speeds: Speeds | None = None
    interrupted: bool = False

    @property
    def all_brought(self) -> bool:
        """Whether all rows were brought along: nothing was chosen for them here, and their sizes are those of files."""
        return all(row.form in ("float", "given") for row in self.rows)

    def size(self, row: Row) -> int | None:
        """Bytes of a row, comparable with those of the others; None where they are unknown."""
        if row.found is None:
            return None
        return row.found.storage.stored_bytes if self.all_brought and row.found.storage else row.found.bytes

    def milliseconds(self, row: Row) -> float | None:
        """Latency of a row: of its width, its own for an artifact, of float32; None where it was not measured."""
        if self.speeds is None or row.error is not None or (row.form == "given" and row.is_float):
            return None
        if row.form == "float":
            return self.speeds.of_float()
        if row.form == "given":
            return self.speeds.of_artifact(row.name)
        return self.speeds.of_width(row.bits, row.layers)

    @property
    def control(self) -> Row | None:
        """The first float model that was brought along."""
        return next((row for row in self.rows if row.is_float and row.form == "given"), None)

    @property
    def failed(self) -> tuple[Row, ...]:
        """Rows without figures."""
        return tuple(row for row in self.rows if row.error is not None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "format": _FORMAT,
            **self.conditions.to_dict(),
            "interrupted": self.interrupted,
            "planned": self.planned,
            "rows": [row.to_dict() | {"milliseconds": self.milliseconds(row)} for row in self.rows],
            "latency": None if self.speeds is None else self.speeds.to_dict(),
        }


class CompareInterrupted(KeyboardInterrupt):
    """The user ended the comparison; `result` has the rows that were finished, which were written."""

    def __init__(self, result: CompareResult) -> None:
        super().__init__("the comparison was interrupted")
        self.result = result


def mark(test: PairedTest) -> Mark:
    """What the second system is, at the level of the test."""
    return "equal" if test.better is None else "better" if test.better == "second" else "worse"


def _figures(found: Evaluation | None) -> dict[str, Any] | None:
    return (
        None if found is None else {**found.figures(), "capped": found.capped, "skipped": len(found.skipped)}
    )


def _outcome(test: PairedTest) -> dict[str, Any]:
    return {"outcome": mark(test), "p_value": test.p_value, "z": test.z, "segments": test.segments}
