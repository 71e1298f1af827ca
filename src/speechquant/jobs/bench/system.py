"""One system of a comparison: a model on an engine at a precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from speechquant.decoding import Recognizer
    from speechquant.engines import Coverage

__all__ = ["FLOATS", "System"]

FLOATS = ("f32", "bf16")
"""Kinds of systems without 8-bit integers, which the others are compared with."""


@dataclass(frozen=True, slots=True, eq=False)
class System:
    """How a system is opened, and what is known of it beforehand.

    Attributes:
        open: gives a new recogniser. To be measured in a process of its own it must be picklable and found by
            import: a function of a module, or a `functools.partial` of one, but none of a script or a closure.
        kind: `f32`, `bf16`, `int8`, or another word for what the weights are computed in.
        engine: what runs it.
        bytes: of all files that it needs on disk.
        note: what a reader must know to understand the figures.
        coverage: how many operators run in 8-bit integers, as read back from the engine.
    """

    open: Callable[[], Recognizer]
    kind: str
    engine: str
    bytes: int
    note: str = ""
    coverage: Coverage | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        coverage = None
        if self.coverage is not None:
            found = self.coverage
            coverage = {"int8": found.int8, "total": found.total, "fallbacks": list(found.fallbacks)}
        return {
            "engine": self.engine,
            "kind": self.kind,
            "bytes": self.bytes,
            "coverage": coverage,
            "note": self.note,
        }
