"""NNCF, OpenVINO's quantization tool, on our float export for OpenVINO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nncf
import openvino
from peer_files import maker

from speechquant.engines import Manifest, read_coverage

if TYPE_CHECKING:
    from pathlib import Path

    from peer_files import Case

    from speechquant.engines import Coverage

GROUPS = (128, 96, 64, 32)


@maker("nncf", "nncf-transformer")
def make_int8(case: Case, folder: Path) -> Coverage:
    """`nncf.quantize`, calibrated on the same recordings as ours."""
    settings: dict[str, Any] = {}
    if folder.name.startswith("nncf-transformer"):
        settings["model_type"] = nncf.ModelType.TRANSFORMER
    for part, model in _models(case).items():
        data = case.inputs(part, case.calibration)
        quantized = nncf.quantize(model, nncf.Dataset(data), subset_size=len(data), **settings)
        openvino.save_model(quantized, folder / f"{part}.xml", compress_to_fp16=False)
    return _finish(case, folder)


@maker("nncf-int4")
def make_int4(case: Case, folder: Path) -> Coverage:
    """`nncf.compress_weights` to 4 bits, in the largest groups that divide the model's channels."""
    for part in _models(case):
        model = _compressed(case, part)
        openvino.save_model(model, folder / f"{part}.xml", compress_to_fp16=False)
    return _finish(case, folder)


def _compressed(case: Case, part: str) -> openvino.Model:
    for size in GROUPS:
        try:
            return nncf.compress_weights(
                _models(case)[part], mode=nncf.CompressWeightsMode.INT4_SYM, group_size=size
            )
        except nncf.InvalidGroupSizeError:
            if size == GROUPS[-1]:
                raise
    raise AssertionError


def _models(case: Case) -> dict[str, openvino.Model]:
    folder, core = case.folder("ov-f32"), openvino.Core()
    return {file.part: core.read_model(folder / file.name) for file in case.manifest.files}


def _finish(case: Case, folder: Path) -> Coverage:
    source = Manifest.load(case.folder("ov-f32"))
    files = {file.part: f"{file.part}.xml" for file in source.files}
    return read_coverage(folder, case.add_manifest(folder, "openvino", files, source))
