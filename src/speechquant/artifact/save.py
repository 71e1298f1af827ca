"""Write an artifact: all of it or nothing."""

from __future__ import annotations

import json
import math
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal

from speechquant.artifact.card import model_card
from speechquant.artifact.load import Artifact, load_artifact
from speechquant.artifact.manifest import (
    FORMAT_VERSION,
    MANIFEST,
    FileRecord,
    Manifest,
    ModelRecord,
    Signatures,
    SiteRecord,
)
from speechquant.artifact.record import file_records
from speechquant.artifact.staging import staged_folder
from speechquant.artifact.storage import Storage, storage_of
from speechquant.artifact.weights import WEIGHTS, input_scale_name, save_tensors, scale_name, weight_name

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from speechquant.artifact.cutoffs import Cutoffs
    from speechquant.numerics import Entry, ScaleTable

__all__ = ["ArtifactContents", "package_versions", "save_artifact"]

_PACKAGES = ("speechquant", "numpy", "onnxruntime", "onnx", "torch", "transformers")


@dataclass(frozen=True, slots=True, eq=False)
class ArtifactContents:
    """Everything an artifact is made of, as plain data.

    Attributes:
        name: what people call the model.
        source: the model folder or hub id it came from.
        family: architecture as in `config.json`.
        task: how it is run.
        method: how scales were found.
        bits: for people, `w8a8`.
        rounding: how weights were rounded.
        searched: modules whose weights got bits of their own by a search.
        model_files: the model's own files, kept under their names at the top of the folder.
        weights: float arrays by name, see `save_tensors`.
        table: every quantized site.
        metrics: contents of `metrics.json`.
        model_signature: hash of the reference.
        data_signatures: hash of the data set of each role.
        recipe: contents of `recipe.yaml`.
        onnx: a folder to copy to `onnx/`, or a function that fills the folder it is given.
        selected_layers: layers that are clipped.
        p_opt: the cut-off in percent, by layer where layers differ.
        float_layers: layers that the search left in float.
        maxima: largest magnitude that calibration saw, by name of an input site.
        report: contents of `report.html`, or a function that writes them from what the file of weights takes.
        license_name: SPDX identifier of the model's licence.
    """

    name: str
    source: str
    family: str
    task: Literal["ctc", "seq2seq"]
    method: str
    bits: str
    model_files: Sequence[Path]
    weights: Mapping[str, NDArray[Any]]
    table: ScaleTable
    metrics: Mapping[str, Any]
    model_signature: str
    data_signatures: Mapping[str, str]
    recipe: str
    onnx: Path | Callable[[Path], None]
    selected_layers: Sequence[str] = ()
    p_opt: Cutoffs = None
    maxima: Mapping[str, float] = field(default_factory=dict)
    report: str | Callable[[Storage], str] | None = None
    license_name: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    rounding: str = "nearest"
    searched: Sequence[str] = ()
    float_layers: Sequence[str] = ()


def save_artifact(contents: ArtifactContents, target: Path) -> Artifact:
    """Write an artifact; one that was there before is replaced at the end, in one step.

    Raises:
        ArtifactError: `target` holds something that is not an artifact.
        StorageError: the disk is full or the place cannot be written to; nothing is left behind.
    """
    with staged_folder(target) as folder:
        for path in contents.model_files:
            shutil.copyfile(path, folder / path.name)
        save_tensors(folder / WEIGHTS, contents.weights, contents.table)
        if callable(contents.onnx):
            (folder / "onnx").mkdir()
            contents.onnx(folder / "onnx")
        else:
            shutil.copytree(contents.onnx, folder / "onnx", copy_function=shutil.copyfile)
        _write(folder / "recipe.yaml", contents.recipe)
        storage = storage_of(folder / WEIGHTS, contents.searched)
        metrics = {**contents.metrics, "storage": storage.figures()}
        write_json(folder / "metrics.json", metrics)
        if contents.report is not None:
            page = contents.report(storage) if callable(contents.report) else contents.report
            _write(folder / "report.html", page)
        draft = _manifest(contents, files={})
        card = model_card(draft, metrics, license_name=contents.license_name)
        _write(folder / "README.md", card)
        manifest = draft.model_copy(update={"files": file_records(folder)})
        write_json(folder / MANIFEST, manifest.model_dump(mode="json"))
        load_artifact(folder)
    return load_artifact(target)


def _manifest(contents: ArtifactContents, *, files: dict[str, FileRecord]) -> Manifest:
    return Manifest(
        format="speechquant",
        format_version=FORMAT_VERSION,
        model=ModelRecord(
            name=contents.name, source=contents.source, family=contents.family, task=contents.task
        ),
        method=contents.method,
        bits=contents.bits,
        rounding=contents.rounding,
        searched=tuple(contents.searched),
        selected_layers=tuple(contents.selected_layers),
        p_opt=contents.p_opt,
        float_layers=tuple(contents.float_layers),
        sites=tuple(_site(entry, contents.maxima.get(entry.site.name)) for entry in contents.table),
        metrics=_summary(contents.metrics),
        signatures=Signatures(
            model=contents.model_signature,
            data=dict(contents.data_signatures),
            scale_table=contents.table.signature,
        ),
        created_with=package_versions() | dict(contents.versions),
        files=files,
    )


def _site(entry: Entry, maximum: float | None) -> SiteRecord:
    site, spec = entry.site, entry.spec
    tensor = weight_name(site.module) if site.role == "weight" else None
    # The scales of weights lie beside their integers, where any reader of model.safetensors finds them.
    scale_tensor = (
        scale_name(tensor) if tensor else (input_scale_name(site.module) if entry.scale.ndim else None)
    )
    return SiteRecord(
        module=site.module,
        role=site.role,
        layer=site.layer,
        bits=spec.bits,
        granularity=spec.granularity,
        narrow=spec.narrow,
        group_size=spec.group_size,
        scale=None if scale_tensor else float(entry.scale),
        scale_tensor=scale_tensor,
        tensor=tensor,
        maximum=maximum,
    )


def _summary(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """The figures that a listing of artifacts wants to show."""
    found: dict[str, Any] = {"p_value": metrics.get("p_value")}
    for system in ("float", "quantized"):
        row = metrics.get(system)
        if isinstance(row, dict):
            found[f"{system}_wer"], found["words"] = row.get("wer"), row.get("words")
    return {
        key: float(value) if isinstance(value, float | int) and math.isfinite(value) else None
        for key, value in found.items()
    }


def package_versions() -> dict[str, str]:
    """Of Python and of every installed package that decides the result."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _write(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8"))


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON object for machines and people."""
    _write(path, json.dumps(_finite(values), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    """JSON has no infinity: the error rate of insertions without reference words becomes null."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
