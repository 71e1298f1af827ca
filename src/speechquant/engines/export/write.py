"""Write the graphs of a model for one engine."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_ir as ir
from onnx_ir.passes.common import (
    ClearMetadataAndDocStringPass,
    CommonSubexpressionEliminationPass,
    DeduplicateInitializersPass,
    IdentityEliminationPass,
    RemoveUnusedNodesPass,
)
from onnxscript.optimizer import optimize_ir

from speechquant.engines.coverage import read_coverage
from speechquant.engines.export.attention import simplify_attention
from speechquant.engines.export.dialects import dialect as dialect_of
from speechquant.engines.export.dialects.groups import KEPT
from speechquant.engines.export.layout import cancel_transposes, drop_turns, simplify_group_norm
from speechquant.engines.export.locate import locate
from speechquant.engines.export.trace import owners_of, trace
from speechquant.engines.manifest import EngineFile, Manifest, OperatorRecord
from speechquant.storage import storage_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from speechquant.engines.export.dialects import Dialect, Lowered
    from speechquant.engines.manifest import Coverage
    from speechquant.models import ExportPart, SpeechModel
    from speechquant.numerics import ScaleTable

__all__ = ["Exported", "export_onnx"]

_IR_VERSION = 10
_ZERO_POINTS = {"QuantizeLinear": 2, "DequantizeLinear": 2, "MatMulInteger": 3}
_PRODUCER = "speechquant"


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote into `folder`: graphs of `bytes` in all, and how much runs in 8-bit integers."""

    folder: Path
    files: tuple[Path, ...]
    bytes: int
    operators: tuple[OperatorRecord, ...]
    coverage: Coverage


def export_onnx(
    model: SpeechModel,
    table: ScaleTable | None,
    folder: Path,
    dialect: str = "onnxruntime",
    progress: Callable[[str], None] | None = None,
) -> Exported:
    """Write `<part>.onnx` for every part of a model, and `engine.json`.

    Equal models and tables give equal bytes.

    Args:
        model: The float model; it is not changed.
        table: Scales of the sites that are to be quantized; sites that are not in it stay in float. None
            writes the float32 model.
        folder: Made if it is not there; files of the same names are replaced.
        dialect: How quantizers are written, `dialect_names()` lists the choices.
        progress: Called with the name of each step.

    Raises:
        EngineError: unknown dialect, a part that cannot be exported, a table that the engine cannot express.
        StorageError: the folder cannot be written.
    """
    rules = dialect_of(dialect)
    tell = progress or (lambda _: None)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files, records = [], []
        for part in model.parts():
            tell(f"export {part.name}")
            graph, lowered = _graph(model, part, table, rules)
            path = folder / f"{part.name}.onnx"
            ir.save(graph, path)
            files.append(_describe(part.name, path))
            records += [
                OperatorRecord(part.name, one.modules, one.node, one.int8, one.weights_4bit)
                for one in lowered
            ]
    except OSError as error:
        raise storage_error(folder, error) from error
    manifest = Manifest(dialect, model.runtime, tuple(files), tuple(records))
    tell("read back coverage")
    coverage = read_coverage(folder, manifest)
    manifest.with_coverage(coverage).save(folder)
    paths = tuple(folder / file.name for file in files)
    return Exported(folder, paths, sum(file.size for file in files), tuple(records), coverage)


def _graph(
    model: SpeechModel, part: ExportPart, table: ScaleTable | None, rules: Dialect
) -> tuple[ir.Model, tuple[Lowered, ...]]:
    traced = trace(model, part)
    operators = locate(traced.graph, owners_of(part.module, model.module))
    lowered = rules.lower(traced.graph, operators, table)
    _tidy(traced, rules)
    return traced, lowered


def _tidy(model: ir.Model, rules: Dialect) -> None:
    """Fold what is constant, share what is equal, drop what nobody reads or what only a debugger would."""
    RemoveUnusedNodesPass()(model)
    # Engines fold these themselves when they load the file; folded here, it would have the weight twice.
    optimize_ir(
        model,
        should_fold=lambda node: False if node.op_type in {"Transpose", "Pad"} or KEPT in node.meta else None,
    )
    simplify_attention(model.graph)
    simplify_group_norm(model.graph)
    cancel_transposes(model.graph, rules.transposed)
    drop_turns(model.graph)
    rules.finish(model)
    for tidy in (
        DeduplicateInitializersPass(),
        IdentityEliminationPass(),
        CommonSubexpressionEliminationPass(),
        RemoveUnusedNodesPass(),
        ClearMetadataAndDocStringPass(),
    ):
        tidy(model)
    _part_zero_points(model.graph)
    model.metadata_props.clear()
    model.graph.sort()
    model.ir_version = _IR_VERSION
    model.producer_name, model.producer_version = _PRODUCER, None


def _part_zero_points(graph: ir.Graph) -> None:
    """A zero point of its own for every operator that reads an int8 one.

    ONNX Runtime (1.31) does not load a file in which several share one, when it is to take its exact products.
    """
    taken = set()
    for node in graph:
        place = _ZERO_POINTS.get(node.op_type, len(node.inputs))
        zero = node.inputs[place] if place < len(node.inputs) else None
        if zero is None or zero.const_value is None or zero.dtype != ir.DataType.INT8:
            continue
        if zero.name in taken:
            name = f"{node.name}/zero_point"
            tensor = ir.tensor(zero.const_value.numpy(), name=name)
            own = ir.Value(name=name, shape=zero.shape, type=zero.type, const_value=tensor)
            graph.register_initializer(own)
            node.replace_input_with(place, own)
        taken.add(zero.name)


def _describe(part: str, path: Path) -> EngineFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return EngineFile(part, path.name, path.stat().st_size, digest)
