"""How an engine is to run a model, in words that all engines share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from speechquant.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["EngineOptions", "Precision"]

Precision = Literal["f32", "bf16"]


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Settings of an engine; None leaves the choice to it.

    `threads` work inside an operator, by default one per core. `precision` is that of everything that is not
    8-bit integers: `f32` computes what the simulation computes, `bf16` is faster where the processor has it.
    `cache` is a folder for compiled models, which makes the next start faster. `provider` is what ONNX Runtime
    computes with, by default `cpu`; others, such as `cuda`, need the build of it that has them.
    """

    threads: int | None = None
    precision: Precision | None = None
    cache: Path | None = None
    provider: str | None = None

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise EngineError(f"{self.threads} threads are not possible; give 1 or more")
        if self.precision not in {None, "f32", "bf16"}:
            raise EngineError(f"unknown precision {self.precision!r}; choose f32 or bf16")
