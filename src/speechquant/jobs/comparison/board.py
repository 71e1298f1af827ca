"""Rows as they come in, and the paired tests between them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from speechquant.jobs.comparison.result import CompareResult

if TYPE_CHECKING:
    from speechquant.evaluation import Evaluation
    from speechquant.jobs.comparison.result import Conditions, Row
    from speechquant.jobs.comparison.speeds import Speeds
    from speechquant.metrics import PairedTest

__all__ = ["Board"]


class Board:
    """Collects rows; tests every row against the float model, StableQuant of the same bits, and the control.

    The control is the first float model that was brought along. Each test is made once, however often a result is
    asked for.
    """

    def __init__(self, conditions: Conditions, *, planned: int) -> None:
        self.conditions = conditions
        self._planned = planned
        self._rows: list[Row] = []
        self._tests: dict[tuple[str, str, str], PairedTest] = {}
        self._speeds: Speeds | None = None

    def add(self, row: Row) -> None:
        """A row is finished, or has failed."""
        self._rows.append(row)

    def hear(self, speeds: Speeds) -> None:
        """Latencies were measured, more than before."""
        self._speeds = speeds

    def result(self) -> CompareResult:
        """What there is so far."""
        found = CompareResult(tuple(self._rows), self._planned, self.conditions, self._speeds)
        rows = tuple(replace(row, against=self._against(row, found.control)) for row in self._rows)
        return replace(found, rows=rows)

    def _against(self, row: Row, control: Row | None) -> dict[str, dict[str, PairedTest]]:
        if row.found is None or row.form == "float":
            return {}
        references = {
            "float": self._rows[0],
            "stablequant": self._stablequant(row),
            "control": None if row is control else control,
        }
        return {name: self._pair(other, row) for name, other in references.items() if other is not None}

    def _stablequant(self, row: Row) -> Row | None:
        """StableQuant of the same bits: on the same layers, otherwise on all; made here rather than brought along."""
        same = [
            other
            for other in self._rows
            if (other.method, other.bits) == ("stablequant", row.bits) and other.layers in {row.layers, "all"}
        ]
        nearest = sorted(same, key=lambda other: (other.form != "stablequant", other.layers != row.layers))
        if not nearest or nearest[0].name == row.name:
            return None
        return nearest[0] if nearest[0].found is not None else None

    def _pair(self, first: Row, second: Row) -> dict[str, PairedTest]:
        pairs = {"dev": (first.dev, second.dev), "test": (first.test, second.test)}
        return {data: self._test(data, one, two) for data, (one, two) in pairs.items() if one and two}

    def _test(self, data: str, first: Evaluation, second: Evaluation) -> PairedTest:
        key = (data, first.signature, second.signature)
        if key not in self._tests:
            self._tests[key] = first.compare(second)
        return self._tests[key]
