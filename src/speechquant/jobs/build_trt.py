"""Build TensorRT engines on the machine that will run them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechquant.engines.tensorrt import build_engines
from speechquant.jobs.progress import Silent

if TYPE_CHECKING:
    from pathlib import Path

    from speechquant.engines.tensorrt import BuildOptions, Built
    from speechquant.jobs.progress import Progress

__all__ = ["build_trt"]


def build_trt(
    artifact: str | Path,
    output: str | Path,
    options: BuildOptions | None = None,
    *,
    progress: Progress | None = None,
) -> Built:
    """Build one engine per graph of an export for TensorRT (see `build_engines`).

    Raises:
        ArtifactError: a graph is missing or altered.
        EngineError: there is no export for TensorRT, a graph breaks a rule, or TensorRT refuses it.
        MissingExtraError: TensorRT or onnx is not installed.
        StorageError: the output cannot be written.
    """
    watcher = progress or Silent()
    with watcher.stage("build"):
        return build_engines(artifact, output, options, watcher.note)
