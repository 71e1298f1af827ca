"""Makers of our own files, of the float exports that peers start from, and of PyTorch's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer_files import maker

from speechquant.engines import Coverage

if TYPE_CHECKING:
    from pathlib import Path

    from peer_files import Case

    from speechquant.models import SpeechModel
    from speechquant.numerics import ScaleTable

DIALECTS = {"ort": "onnxruntime", "ov": "openvino"}
GROUP = 64


@maker("ort-f32", "ov-f32")
def make_float(case: Case, folder: Path) -> Coverage:
    """Our export without quantization: the file that peers are given."""
    from speechquant.engines.export import export_onnx

    return export_onnx(_model(case), None, folder, _dialect(folder)).coverage


@maker("ort-int8", "ov-int8", "ort-w4", "ov-w4")
def make_ours(case: Case, folder: Path) -> Coverage:
    """What `speechquant export` writes; with random weights, scales are percentiles of noise."""
    from speechquant.engines.export import export_onnx
    from speechquant.jobs.export import export

    kind = folder.name.removesuffix(".part").partition("-")[2]
    if case.trained:
        if kind not in case.artifacts:
            raise ValueError(f"no {kind} artifact was given")
        (done,) = export(case.artifacts[kind], engine=_dialect(folder), output=folder)
        for copied in folder.iterdir():
            if copied.suffix not in {".onnx", ".json", ".data"}:
                copied.unlink()
        return done.coverage
    model = _model(case)
    table = _small_table(model) if kind == "w4" else _table(case, model)
    return export_onnx(model, table, folder, _dialect(folder)).coverage


@maker("torch-f32", "torch-bf16", "torch-int8")
def make_torch(case: Case, folder: Path) -> Coverage:
    """The converted weights, for their size; they are converted anew when the system is opened."""
    import torch
    from peer_torch import covered, loaded

    name = folder.name.removesuffix(".part")
    model, parts = loaded(name, case.model)
    torch.save(model.module.state_dict(), folder / "weights.pt")
    case.add_manifest(folder, name, {part.name: "weights.pt" for part in parts})
    integer, names = covered(model)
    return Coverage(len(integer), len(names), tuple(one for one in names if one not in integer))


def _dialect(folder: Path) -> str:
    return DIALECTS[folder.name.partition("-")[0]]


def _model(case: Case) -> SpeechModel:
    from speechquant.models import load_model
    from speechquant.models.random import random_model

    if not case.trained and not (case.model / "config.json").is_file():
        random_model(case.name, case.model)
    return load_model(str(case.model))


def _table(case: Case, model: SpeechModel) -> ScaleTable:
    from speechquant.simulation import activation_table, observe, weight_table

    histograms = observe(model, case.calibration)
    weights = weight_table(model, model.sites(), bits=8)
    return weights.merged(
        activation_table(model.sites(), histograms=histograms, calibrator="percentile", bits=8)
    )


def _small_table(model: SpeechModel) -> ScaleTable:
    """What `--bits w4a16` does by default, but for the search of ranges, which changes no size."""
    from speechquant.simulation import weight_table

    return weight_table(model, model.sites(), bits=4, granularity="group", group_size=GROUP)
