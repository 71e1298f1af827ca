"""ONNX Runtime's own quantization tools, on our float export."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from peer_files import maker

from speechquant.engines import Coverage
from speechquant.engines.onnxruntime import INTEGER_OPERATORS
from speechquant.engines.session import SessionOptions, open_session

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from peer_files import Case

    from speechquant.engines import Manifest

DYNAMIC: dict[str, dict[str, Any]] = {
    "ort-dynamic": {},
    # Integer convolutions are slower than float ones here, so the better setting leaves them alone; the embedding is
    # taken along for its size.
    "ort-dynamic-best": {"op_types_to_quantize": ["MatMul", "Gemm", "Gather"], "per_channel": True},
}
STATIC: dict[str, dict[str, Any]] = {
    "ort-static-s8s8": {"activation_type": QuantType.QInt8},
    "ort-static-u8s8": {"activation_type": QuantType.QUInt8, "per_channel": True},
    "ort-static-percentile": {
        "activation_type": QuantType.QUInt8,
        "per_channel": True,
        "calibrate_method": CalibrationMethod.Percentile,
        "extra_options": {"CalibPercentile": 99.99},
    },
}
# The percentile calibrator stacks all inputs, so they have one length, and holds every activation in memory.
PIECES, PIECE_SAMPLES = 12, 64_000


@maker(*DYNAMIC)
def make_dynamic(case: Case, folder: Path) -> Coverage:
    """`quantize_dynamic`: activations get a scale at run time."""
    name = folder.name.removesuffix(".part")
    for part in _parts(case):
        with tempfile.TemporaryDirectory() as scratch:
            source = _source(case, part, Path(scratch), prepare=name != "ort-dynamic")
            quantize_dynamic(source, folder / f"{part}.onnx", weight_type=QuantType.QInt8, **DYNAMIC[name])
    return _finish(case, folder)


@maker(*STATIC)
def make_static(case: Case, folder: Path) -> Coverage:
    """`quantize_static` in QDQ form, calibrated on the same recordings as ours."""
    name = folder.name.removesuffix(".part")
    better = name != "ort-static-s8s8"
    for part in _parts(case):
        settings = dict(STATIC[name])
        waves = case.calibration
        if "calibrate_method" in settings:
            waves = list(_pieces(waves))
        if part == "step":
            # Caches grow with every token and cannot be stacked: extremes are what remains.
            settings.pop("calibrate_method", None)
        with tempfile.TemporaryDirectory() as scratch:
            source = _source(case, part, Path(scratch), prepare=better)
            if better:
                # Attention products and everything without weights stay in float: faster, and closer to float.
                settings["nodes_to_quantize"] = _nodes(source)
            reader = _Reader(case.inputs(part, waves))
            target = folder / f"{part}.onnx"
            quantize_static(source, target, reader, weight_type=QuantType.QInt8, **settings)
    return _finish(case, folder)


class _Reader(CalibrationDataReader):
    """Hands out inputs one by one."""

    def __init__(self, inputs: Sequence[dict[str, NDArray[Any]]]) -> None:
        self._inputs = iter(inputs)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """The next inputs of the graph."""
        return next(self._inputs, None)


def _parts(case: Case) -> list[str]:
    return [file.part for file in case.manifest.files]


def _source(case: Case, part: str, scratch: Path, *, prepare: bool) -> Path:
    """The float graph, as it is or after the tool's own preparation, which turns weights the way it wants them."""
    path = case.manifest.path(case.folder("ort-f32"), part)
    if not prepare:
        return path
    ready = scratch / f"{part}.onnx"
    quant_pre_process(path, ready, skip_symbolic_shape=True)
    return ready


def _pieces(waves: Sequence[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """Speech of one length, from as many recordings as possible."""
    long = [wave for wave in waves if wave.size >= PIECE_SAMPLES][:PIECES]
    yield from (wave[:PIECE_SAMPLES] for wave in long)


def _nodes(path: Path) -> list[str]:
    """Names of the nodes of a graph that multiply by a weight."""
    graph = onnx.load(path).graph
    weights = {weight.name for weight in graph.initializer}
    weights |= {n.output[0] for n in graph.node if n.op_type == "Transpose" and n.input[0] in weights}
    products = ("Conv", "MatMul", "Gemm")
    return [node.name for node in graph.node if node.op_type in products and node.input[1] in weights]


def _finish(case: Case, folder: Path) -> Coverage:
    manifest = case.add_manifest(folder, "onnxruntime", {part: f"{part}.onnx" for part in _parts(case)})
    return read_back(folder, manifest)


def read_back(folder: Path, manifest: Manifest) -> Coverage:
    """Which operators ONNX Runtime runs in integers; recognised by their weight, as tools rename nodes."""
    fast: list[str] = []
    slow: list[str] = []
    for file in manifest.files:
        with tempfile.TemporaryDirectory() as scratch:
            target = Path(scratch) / "optimized.onnx"
            open_session(manifest.path(folder, file.part), SessionOptions(threads=1, optimized=target))
            nodes = onnx.load(target).graph.node
        read = {
            name for node in nodes if node.op_type in INTEGER_OPERATORS for name in (node.name, *node.input)
        }
        for record in manifest.operators:
            if record.part == file.part:
                weight = f"{record.node.rpartition('/')[0]}/weight"
                found = any(name.startswith((record.node, weight)) for name in read)
                (fast if found else slow).extend(record.modules)
    return Coverage(len(fast), len(fast) + len(slow), tuple(slow))
