"""What is compared: our engine files, the float engines, and what a user could make with other tools instead.

A system is a set of files on an engine. `peer_files.py` makes the files; this module knows all systems and opens them,
and imports neither torch nor a quantization tool for systems that run without.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from speechquant.decoding import load_vocabulary
from speechquant.engines import EngineOptions, Manifest, load_recognizer
from speechquant.engines.recognizers import recognizer_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from speechquant.decoding import Recognizer
    from speechquant.engines import Precision

__all__ = ["SYSTEMS", "System", "find", "open_system", "opener"]

Engine = Literal["onnxruntime", "openvino", "torch"]


@dataclass(frozen=True, slots=True)
class System:
    """One row: `files` (a folder that `peer_files.py` makes) on `engine`, everything but integers in `precision`.

    `kind` is what the weights are; `ours` says that the product made the files and runs them. Files that are not ours
    run with the engine's own default settings.
    """

    key: str
    label: str
    files: str
    engine: Engine
    kind: str
    precision: Precision = "f32"
    ours: bool = False


SYSTEMS = (
    System("torch-f32", "PyTorch f32", "torch-f32", "torch", "f32"),
    System("torch-bf16", "PyTorch bf16", "torch-bf16", "torch", "bf16", "bf16"),
    System("torch-int8", "PyTorch quantize_dynamic (Linear)", "torch-int8", "torch", "int8"),
    System("ort-f32", "ONNX Runtime f32", "ort-f32", "onnxruntime", "f32"),
    System("ov-f32", "OpenVINO f32", "ov-f32", "openvino", "f32"),
    System("ov-bf16", "OpenVINO bf16", "ov-f32", "openvino", "bf16", "bf16"),
    System("ort-dynamic", "ORT quantize_dynamic, default", "ort-dynamic", "onnxruntime", "int8"),
    System(
        "ort-dynamic-best",
        "ORT quantize_dynamic, Linear only, per channel",
        "ort-dynamic-best",
        "onnxruntime",
        "int8",
    ),
    System("ort-static-s8s8", "ORT quantize_static S8S8, default", "ort-static-s8s8", "onnxruntime", "int8"),
    System(
        "ort-static-u8s8",
        "ORT quantize_static U8S8, per channel, weights' operators only",
        "ort-static-u8s8",
        "onnxruntime",
        "int8",
    ),
    System(
        "ort-static-percentile",
        "ORT quantize_static U8S8, same, percentile 99.99",
        "ort-static-percentile",
        "onnxruntime",
        "int8",
    ),
    System("nncf-f32", "NNCF int8, default, rest f32", "nncf", "openvino", "int8"),
    System("nncf-bf16", "NNCF int8, default, rest bf16", "nncf", "openvino", "int8", "bf16"),
    System(
        "nncf-transformer-f32", "NNCF int8, TRANSFORMER, rest f32", "nncf-transformer", "openvino", "int8"
    ),
    System(
        "nncf-transformer-bf16",
        "NNCF int8, TRANSFORMER, rest bf16",
        "nncf-transformer",
        "openvino",
        "int8",
        "bf16",
    ),
    System("nncf-control-f32", "NNCF int8, accuracy control, rest f32", "nncf-control", "openvino", "int8"),
    System(
        "nncf-control-bf16",
        "NNCF int8, accuracy control, rest bf16",
        "nncf-control",
        "openvino",
        "int8",
        "bf16",
    ),
    System("nncf-int4-f32", "NNCF 4-bit weights, rest f32", "nncf-int4", "openvino", "int4"),
    System("nncf-int4-bf16", "NNCF 4-bit weights, rest bf16", "nncf-int4", "openvino", "int4", "bf16"),
    System("ort-int8", "speechquant int8, ONNX Runtime", "ort-int8", "onnxruntime", "int8", ours=True),
    System("ov-int8-f32", "speechquant int8, OpenVINO, rest f32", "ov-int8", "openvino", "int8", ours=True),
    System(
        "ov-int8-bf16",
        "speechquant int8, OpenVINO, rest bf16",
        "ov-int8",
        "openvino",
        "int8",
        "bf16",
        ours=True,
    ),
    System("ort-w4", "speechquant 4-bit weights, ONNX Runtime", "ort-w4", "onnxruntime", "int4", ours=True),
    System(
        "ov-w4-f32", "speechquant 4-bit weights, OpenVINO, rest f32", "ov-w4", "openvino", "int4", ours=True
    ),
    System(
        "ov-w4-bf16",
        "speechquant 4-bit weights, OpenVINO, rest bf16",
        "ov-w4",
        "openvino",
        "int4",
        "bf16",
        ours=True,
    ),
)
"""All systems, in the order of the tables."""


def find(key: str) -> System:
    """The system of that name."""
    return next(system for system in SYSTEMS if system.key == key)


def opener(system: System, folder: Path, model: Path, threads: int) -> Callable[[], Recognizer]:
    """`open_system` as a function without arguments that another process can import."""
    return partial(open_system, system.key, str(folder), str(model), threads)


def open_system(key: str, folder: str, model: str, threads: int) -> Recognizer:
    """Open a system.

    Args:
        key: its name in `SYSTEMS`.
        folder: its files.
        model: the float model's folder, for the vocabulary and, in PyTorch, the network.
        threads: inside an operator.
    """
    system, place = find(key), Path(folder)
    if system.ours:
        return load_recognizer(
            place,
            engine=system.engine,
            vocabulary=model,
            options=EngineOptions(threads=threads, precision=system.precision),
        )
    manifest = Manifest.load(place)
    open_graph, version = _GRAPHS[system.engine](system, place, manifest, Path(model), threads)
    return recognizer_of(
        manifest, load_vocabulary(Path(model)), open_graph, backend=system.label, version=version
    )


def _onnxruntime(
    _: System, folder: Path, manifest: Manifest, __: Path, threads: int
) -> tuple[Callable[[str], Any], str]:
    import onnxruntime

    from speechquant.engines.onnxruntime import OnnxRuntimeGraph
    from speechquant.engines.session import SessionOptions

    settings = SessionOptions(threads=threads)
    return lambda part: OnnxRuntimeGraph(manifest.path(folder, part), settings), onnxruntime.__version__


def _openvino(
    system: System, folder: Path, manifest: Manifest, _: Path, threads: int
) -> tuple[Callable[[str], Any], str]:
    import openvino
    from peer_openvino import CompiledGraph, compiled

    def opened(part: str) -> Any:
        return CompiledGraph(compiled(manifest.path(folder, part), part, system.precision, threads))

    return opened, f"{openvino.__version__} {system.precision} defaults"


def _torch(
    system: System, _: Path, __: Manifest, model: Path, threads: int
) -> tuple[Callable[[str], Any], str]:
    from peer_torch import open_graphs, version

    return open_graphs(system.files, model, threads).__getitem__, f"{version()} {system.files}"


_GRAPHS = {"onnxruntime": _onnxruntime, "openvino": _openvino, "torch": _torch}
