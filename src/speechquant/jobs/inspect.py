"""Every quantized tensor of an artifact, and what the engine really made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from speechquant.artifact import load_artifact

if TYPE_CHECKING:
    from pathlib import Path

    from speechquant.artifact import Manifest
    from speechquant.engines.manifest import Coverage
    from speechquant.engines.manifest import Manifest as EngineManifest
    from speechquant.numerics import Role

__all__ = ["Inspection", "Runs", "SiteRow", "inspect"]

Runs = Literal["int8", "float", "unknown"]


@dataclass(frozen=True, slots=True)
class SiteRow:
    """One quantized tensor.

    `scale` is the largest where there are `scales` of them, and `threshold` the magnitude at which values are
    clipped. `clipped` says that the layer was selected: its threshold lies below the largest value that
    calibration saw. `runs` is what the engine does with the operator.
    """

    site: str
    layer: str
    role: Role
    bits: int
    scale: float
    scales: int
    threshold: float
    clipped: bool
    runs: Runs


@dataclass(frozen=True, slots=True)
class Inspection:
    """An artifact's decisions; `coverage` is None where it was never read back from the engine."""

    folder: Path
    info: Manifest
    rows: tuple[SiteRow, ...]
    coverage: Coverage | None


def inspect(folder: str | Path) -> Inspection:
    """Read an artifact's decisions.

    Raises:
        ArtifactError: no artifact, or a damaged one.
    """
    from speechquant.engines.manifest import Manifest as EngineManifest

    artifact = load_artifact(folder)
    engine = EngineManifest.load(artifact.onnx)
    runs = _runs(engine)
    rows = []
    for entry in artifact.scale_table():
        scale = float(entry.scale.max())
        rows.append(
            SiteRow(
                site=entry.site.name,
                layer=entry.site.layer,
                role=entry.site.role,
                bits=entry.spec.bits,
                scale=scale,
                scales=entry.scale.size,
                threshold=scale * entry.spec.qmax,
                clipped=entry.site.role == "input" and entry.site.layer in artifact.info.selected_layers,
                runs=runs.get(entry.site.module, "unknown"),
            )
        )
    return Inspection(artifact.folder, artifact.info, tuple(rows), engine.coverage)


def _runs(engine: EngineManifest) -> dict[str, Runs]:
    """What was read back for each operator by dotted path; empty where nothing was."""
    if engine.coverage is None:
        return {}
    fallbacks = set(engine.coverage.fallbacks)
    modules = (module for record in engine.operators for module in record.modules)
    return {module: "float" if module in fallbacks else "int8" for module in modules}
