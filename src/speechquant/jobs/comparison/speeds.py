"""How fast the systems of a comparison are, and which of them stands for which row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from speechquant.jobs.bench.system import FLOATS

if TYPE_CHECKING:
    from speechquant.engines import LatencyResult
    from speechquant.jobs.bench.result import BenchResult

__all__ = ["ENGINE_NAMES", "Speeds", "artifact_system", "width_system"]

ENGINE_NAMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
"""What engines are called, in the order in which they are asked for a latency of rows."""

_HEADLINE_SECONDS = 10.0


def width_system(engine: str, bits: str, layers: str) -> str:
    """The system that stands for all methods of a width on a choice of layers."""
    return f"{engine} {bits}" + ("" if layers == "all" else f" {layers}")


def artifact_system(engine: str, name: str) -> str:
    """The system of an artifact that was brought along."""
    return f"{name} on {engine}"


@dataclass(frozen=True, slots=True, eq=False)
class Speeds:
    """What was measured, and the latencies in it that stand beside rows."""

    measured: BenchResult

    @property
    def engine(self) -> str | None:
        """The one engine whose latencies stand beside rows, so that they can be compared; None without any."""
        systems = self.measured.systems.values()
        quantized = {system.engine for system in systems if system.kind not in FLOATS}
        known = quantized or {system.engine for system in systems}
        return next((name for name in ENGINE_NAMES if name in known), None)

    @property
    def headline(self) -> LatencyResult | None:
        """The length at which rows are compared: ten seconds, or what comes closest to it."""
        cells = self.measured.of_batch(1)
        return min(cells, key=lambda cell: abs(cell.seconds - _HEADLINE_SECONDS), default=None)

    def of_float(self) -> float | None:
        """Median milliseconds of the float model in float32 at the headline length; None if not measured."""
        return self._median(f"{self.engine} f32")

    def of_width(self, bits: str, layers: str) -> float | None:
        """The same of a width."""
        return self._median(width_system(self.engine or "", bits, layers))

    def of_artifact(self, name: str) -> float | None:
        """The same of an artifact."""
        return self._median(artifact_system(self.engine or "", name))

    def _median(self, system: str) -> float | None:
        return None if self.headline is None else self.headline.median.get(system)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `rows` says of what the milliseconds of rows are."""
        cell = self.headline
        return {
            **self.measured.to_dict(),
            "rows": {"engine": self.engine, "seconds": None if cell is None else cell.seconds},
        }
