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

__all__ = ["finished", "float_models"]

GROUPS = (128, 96, 64, 32)


@maker("nncf", "nncf-transformer")
def make_int8(case: Case, folder: Path) -> Coverage:
    """`nncf.quantize`, calibrated on the same recordings as ours."""
    settings: dict[str, Any] = {}
    if folder.name.startswith("nncf-transformer"):
        settings["model_type"] = nncf.ModelType.TRANSFORMER
    for part, model in float_models(case).items():
        data = case.inputs(part, case.calibration)
        quantized = nncf.quantize(model, nncf.Dataset(data), subset_size=len(data), **settings)
        openvino.save_model(quantized, folder / f"{part}.xml", compress_to_fp16=False)
    return finished(case, folder)


@maker("nncf-int4")
def make_int4(case: Case, folder: Path) -> Coverage:
    """`nncf.compress_weights` to 4 bits, in the largest groups that divide the model's channels."""
    for part in float_models(case):
        model = _compressed(case, part)
        openvino.save_model(model, folder / f"{part}.xml", compress_to_fp16=False)
    return finished(case, folder)


def _compressed(case: Case, part: str) -> openvino.Model:
    for size in GROUPS:
        try:
            return nncf.compress_weights(
                float_models(case)[part], mode=nncf.CompressWeightsMode.INT4_SYM, group_size=size
            )
        except nncf.InvalidGroupSizeError:
            if size == GROUPS[-1]:
                raise
    raise AssertionError


def float_models(case: Case) -> dict[str, openvino.Model]:
    """Every graph of our float export, by part."""
    folder, core = case.folder("ov-f32"), openvino.Core()
    return {file.part: core.read_model(folder / file.name) for file in case.manifest.files}


def finished(case: Case, folder: Path) -> Coverage:
    """Describe the graphs of a folder and read back what runs in integers."""
    source = Manifest.load(case.folder("ov-f32"))
    files = {file.part: f"{file.part}.xml" for file in source.files}
    return read_coverage(folder, case.add_manifest(folder, "openvino", files, source))
