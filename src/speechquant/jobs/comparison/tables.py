"""The rows as tables of text, for the terminal, Markdown and the page alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechquant.jobs.bench.tables import Grid
from speechquant.jobs.comparison.result import mark
from speechquant.report.formats import duration, p_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from speechquant.evaluation import Evaluation
    from speechquant.jobs.comparison.result import CompareResult, Row
    from speechquant.metrics import PairedTest

__all__ = ["conditions", "main_grid", "notes", "search_grid", "short_grid"]

_HEAD = ("method", "bits", "layers", "MB", "dev WER % (95 %), S/D/I", "test WER % (95 %), S/D/I")
_TESTS = {"float": "against float", "stablequant": "against StableQuant"}


def main_grid(result: CompareResult) -> Grid:
    """Rates with everything that must stand beside them, and what the paired tests say."""
    rows = tuple(_cells(row) for row in result.rows if row.error is None)
    return Grid("Word error rates", (*_HEAD, *_TESTS.values()), rows)


def short_grid(result: CompareResult) -> Grid:
    """What fits a terminal: rates without their intervals, and the tests on the test set."""
    head = ("row", "MB", "dev WER %", "test WER %", "against float", "against StableQuant")
    rows = []
    for row in result.rows:
        if row.error is None:
            tests = (row.against.get(reference, {}).get("test") for reference in _TESTS)
            rates = (f"{found.wer:.2f}" if found else "" for found in (row.dev, row.test))
            rows.append((row.name, _size(row), *rates, *(_outcome(test) if test else "" for test in tests)))
    return Grid("Word error rates, and what paired tests on the test set say", head, tuple(rows))


def search_grid(result: CompareResult) -> Grid:
    """What was chosen for each row, and what it took."""
    head = ("row", "clipped layers", "p_opt %", "passes to choose", "time")
    rows = []
    for row in result.rows:
        if row.found is not None:
            searched = row.form in ("stablequant", "layer-adaptive")
            clipped = ", ".join(row.found.clipped) or ("none" if searched else "")
            passes = str(row.found.search_passes) if searched else ""
            rows.append((row.name, clipped, _p_opt(row), passes, duration(row.found.seconds)))
    return Grid("Choices and costs", head, tuple(rows))


def notes(result: CompareResult) -> list[str]:
    """How to read the tables, one line each."""
    where = result.conditions
    dev, test = (f"{role} {_words(result, role):,} words" for role in ("dev", "test"))
    lines = [
        f"{dev}, {test}; text normaliser {where.normalizer}",
        "S/D/I: substitutions, deletions, insertions; capped: transcripts that ran into the length limit",
        "better, worse: significant in the two-sided paired test MAPSSWE at 0.05, which gives the p behind it",
        "equal: no significant difference; a set of few words cannot show a small one",
        "MB (10^6 bytes) by arithmetic: quantized weights packed at their bits, scales and the rest in float32",
    ]
    if any(row.form in ("stablequant", "layer-adaptive") for row in result.rows):
        count, spoken = where.speech["choices"]
        whole = where.speech["choices"] == where.speech["dev"]
        part = "all of dev" if whole else f"{count} utterances of dev with {spoken:,} words"
        grid = where.cutoffs
        lines.append(
            f"layers and cut-offs were chosen on {part}; gamma {where.gamma:g}; {len(grid)} cut-offs from {grid[0]:g} "
            f"to {grid[-1]:g} %. Final figures are of all of dev and test, test served for nothing else"
        )
        lines.append(
            "adaptive-: the layers StableQuant selects get this calibrator, the others the largest value"
        )
    if any(row.method.startswith(("percentile", "adaptive-percentile")) for row in result.rows):
        lines.append(f"percentile without a number keeps {where.percentile:g} %")
    lines += [f"{row.name} failed: {row.error}" for row in result.failed]
    if len(result.rows) < result.planned:
        lines.append(f"{len(result.rows)} of {result.planned} rows; the same command goes on")
    return lines


def conditions(result: CompareResult) -> list[str]:
    """Machine and versions, one line each."""
    where = result.conditions
    return [where.machine, ", ".join(f"{name} {version}" for name, version in where.versions.items())]


def _words(result: CompareResult, role: str) -> int:
    """Reference words as they are scored: a normaliser may write one as two. As they are spoken, where no row is."""
    scored = next((found for row in result.rows if (found := getattr(row, role)) is not None), None)
    return scored.errors.words if scored else result.conditions.speech[role][1]


def _cells(row: Row) -> tuple[str, ...]:
    tests = (_tests(row.against.get(reference)) for reference in _TESTS)
    method = row.method if row.form != "given" else row.name
    return (method, row.bits, row.layers, _size(row), _rate(row.dev), _rate(row.test), *tests)


def _size(row: Row) -> str:
    return "" if row.found is None or row.found.bytes is None else f"{row.found.bytes / 1e6:.1f}"


def _rate(found: Evaluation | None) -> str:
    if found is None:
        return ""
    errors, interval = found.errors, found.interval
    counts = f"{errors.substitutions}/{errors.deletions}/{errors.insertions}"
    capped = f", {found.capped} capped" if found.capped else ""
    return f"{found.wer:.2f} ({interval.low:.2f} to {interval.high:.2f}), {counts}{capped}"


def _tests(found: Mapping[str, PairedTest] | None) -> str:
    if not found:
        return ""
    return "; ".join(f"{data} {_outcome(test)}" for data, test in found.items())


def _outcome(test: PairedTest) -> str:
    return f"{mark(test)} {p_value(test.p_value)}"


def _p_opt(row: Row) -> str:
    p = row.found.p_opt if row.found else None
    if p is None:
        return ""
    return ", ".join(f"{layer} {value:g}" for layer, value in p.items()) if isinstance(p, dict) else f"{p:g}"
