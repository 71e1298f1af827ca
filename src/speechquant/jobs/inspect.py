"""Every quantized tensor of an artifact, and what the engine really made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from speechquant.artifact import load_artifact
from speechquant.engines import find_export, find_exports

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from speechquant.artifact import Manifest, Storage
    from speechquant.engines.manifest import Coverage
    from speechquant.engines.manifest import Manifest as EngineManifest
    from speechquant.numerics import Entry, Role, ScaleTable

__all__ = ["Inspection", "Runs", "SiteRow", "inspect"]

Runs = Literal["int8", "float", "4-bit weights", "4-bit file", "unknown"]


@dataclass(frozen=True, slots=True)
class SiteRow:
    """One quantized tensor.

    `scale` is the largest where there are `scales` of them, `threshold` the magnitude at which values are clipped,
    and `maximum` the largest that calibration saw, None for weights and where it was not recorded. `selected`
    says that the search clipped this layer by a cut-off; others may be clipped too, by their calibrator.
    `runs` is what the engine does with the operator: with `4-bit weights` it multiplies floats by weights that
    it keeps in 4 bits, with `4-bit file` by weights that it made float when it loaded the file.
    """

    site: str
    layer: str
    role: Role
    bits: int
    scale: float
    scales: int
    threshold: float
    maximum: float | None
    selected: bool
    runs: Runs


@dataclass(frozen=True, slots=True)
class Inspection:
    """An artifact's decisions, in the order of the model; a coverage is None where it was never read back.

    `coverage` and what `rows` run in are those of `engine`; `exports` has the coverage of every engine that the
    artifact was exported for. `storage` is what the weights take on disk.
    """

    folder: Path
    info: Manifest
    rows: tuple[SiteRow, ...]
    engine: str
    coverage: Coverage | None
    exports: Mapping[str, Coverage | None]
    storage: Storage


def inspect(folder: str | Path, *, engine: str = "onnxruntime") -> Inspection:
    """Read an artifact's decisions.

    Args:
        folder: the artifact.
        engine: whose treatment of each tensor is shown.

    Raises:
        ArtifactError: no artifact, or a damaged one.
        EngineError: the artifact was not exported for `engine`.
    """
    artifact = load_artifact(folder)
    exports = {found.dialect: found.coverage for found in find_exports(artifact.folder).values()}
    runs = _runs(find_export(artifact.folder, engine)[1])
    maxima = {record.site.name: record.maximum for record in artifact.info.sites}
    rows = []
    for entry in _in_model_order(artifact.scale_table()):
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
                maximum=maxima.get(entry.site.name),
                selected=entry.site.role == "input" and entry.site.layer in artifact.info.selected_layers,
                runs=runs.get(entry.site.module, "unknown"),
            )
        )
    return Inspection(
        artifact.folder, artifact.info, tuple(rows), engine, exports[engine], exports, artifact.storage()
    )


def _in_model_order(table: ScaleTable) -> list[Entry]:
    """Input and weight of each operator together; a table has the weights of all operators in the model's order."""
    weights_first = sorted(table, key=lambda entry: entry.site.role == "input")
    order = {entry.site.module: place for place, entry in reversed(list(enumerate(weights_first)))}
    return sorted(table, key=lambda entry: (order[entry.site.module], entry.site.role == "weight"))


def _runs(engine: EngineManifest) -> dict[str, Runs]:
    """What was read back for each operator by dotted path; empty where nothing was."""
    if engine.coverage is None:
        return {}
    found: dict[str, Runs] = {}
    expanded, fallbacks = set(engine.coverage.expanded), set(engine.coverage.fallbacks)
    for record in engine.operators:
        kept: Runs = "4-bit weights" if record.weights_4bit else "int8"
        for module in record.modules:
            found[module] = "4-bit file" if module in expanded else "float" if module in fallbacks else kept
    return found
