"""Write an artifact's graphs for an engine, from the integers and scales of the artifact."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from speechquant.artifact import amended_folder, load_artifact
from speechquant.engines import engine_names, import_engine, is_export
from speechquant.errors import EngineError, MissingExtraError, StorageError
from speechquant.jobs.progress import Silent
from speechquant.storage import storage_error

if TYPE_CHECKING:
    from speechquant.engines import Coverage
    from speechquant.engines.export import Exported
    from speechquant.jobs.progress import Progress
    from speechquant.models import SpeechModel
    from speechquant.numerics import ScaleTable

__all__ = ["ALL", "EngineExport", "export"]

ALL = "all"
_HOME = "onnxruntime"


@dataclass(frozen=True, slots=True)
class EngineExport:
    """The files of one engine: where they lie, their bytes, and how much of the model they run in int8."""

    engine: str
    folder: Path
    bytes: int
    coverage: Coverage


def export(
    artifact: str | Path,
    *,
    engine: str = ALL,
    output: str | Path | None = None,
    progress: Progress | None = None,
) -> tuple[EngineExport, ...]:
    """Export an artifact for one engine, or for all that are installed.

    Args:
        artifact: folder of the artifact; `model.safetensors` is the source of all weights.
        engine: a name of `engine_names()`, or `all`.
        output: a folder for the graphs and the vocabulary alone, with one folder per engine below it for
            `all`. By default they go into the artifact: `onnx` for ONNX Runtime, `onnx/ENGINE` for others.
        progress: hears of every step.

    Raises:
        ArtifactError, ModelError: the artifact is damaged.
        EngineError: unknown engine, or a graph that it refuses.
        MissingExtraError: PyTorch, or the engine that is asked for, is not installed.
        StorageError: the place cannot be written to, or holds other things.
    """
    if engine not in {ALL, *engine_names()}:
        raise EngineError(f"unknown engine {engine!r}; choose {ALL} or one of {', '.join(engine_names())}")
    watcher, home = progress or Silent(), Path(artifact)
    target = Path(output) if output is not None else None
    if target is not None:
        _check_bare(target)
    with watcher.stage("load") as advance:
        advance(0, 1, home.name)
        model, table = _open(home)
    wanted = engine_names() if engine == ALL else (engine,)
    done = []
    for name in wanted:
        try:
            import_engine(name)
            place = target / name if target is not None and engine == ALL else target
            done.append(_export(home, name, place, model, table, watcher=watcher))
        except MissingExtraError as error:
            if engine != ALL:
                raise
            watcher.note(f"skipped {name}: {error}")
    if target is not None:
        _copy_vocabulary(model, target)
    return tuple(done)


def _open(home: Path) -> tuple[SpeechModel, ScaleTable]:
    """The model with the artifact's weights on their grids, and the scales."""
    info = load_artifact(home)
    try:
        from speechquant.models import load_model
    except ImportError as error:
        raise MissingExtraError("exporting needs PyTorch: pip install 'speechquant[quantize]'") from error
    return load_model(home, tensors=info.tensors()), info.scale_table()


def _export(
    home: Path,
    engine: str,
    place: Path | None,
    model: SpeechModel,
    table: ScaleTable,
    *,
    watcher: Progress,
) -> EngineExport:
    """Export for one engine, into `place` or into the artifact `home`."""
    from speechquant.engines.export import export_onnx

    with watcher.stage(f"export for {engine}") as advance:
        steps = 0

        def tell(what: str) -> None:
            nonlocal steps
            advance(steps, len(model.parts()) + 1, what)
            steps += 1

        def fill(folder: Path) -> Exported:
            return export_onnx(model, table, folder, engine, progress=tell)

        if place is not None:
            made, folder = fill(place), place
        else:
            name = "onnx" if engine == _HOME else f"onnx/{engine}"
            with amended_folder(load_artifact(home), name) as staged:
                made = fill(staged)
            folder = home / name
    return EngineExport(engine, folder, made.bytes, made.coverage)


def _check_bare(target: Path) -> None:
    if target.exists() and not target.is_dir():
        raise StorageError(f"{target}: is a file; choose a folder")
    if target.is_dir() and any(target.iterdir()) and not is_export(target):
        raise StorageError(f"{target}: holds other files than an export; choose another folder")


def _copy_vocabulary(model: SpeechModel, target: Path) -> None:
    """The model's own files, so that the graphs run without the artifact."""
    try:
        for path in model.kept_files:
            shutil.copyfile(path, target / path.name)
    except OSError as error:
        raise storage_error(target, error) from error
