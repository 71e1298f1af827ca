"""OpenVINO with its own settings, where ours switch two of them off."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from speechquant.engines.openvino import OpenVINOGraph, shared_core

if TYPE_CHECKING:
    from pathlib import Path

    import openvino

__all__ = ["CompiledGraph", "compiled"]


class CompiledGraph(OpenVINOGraph):
    """A model that somebody compiled, as `recognizers.Graph`."""

    def __init__(self, model: openvino.CompiledModel) -> None:
        self._compiled = model
        self.outputs = tuple(output.get_any_name() for output in model.outputs)
        self._local = threading.local()


def compiled(model: openvino.Model | Path, part: str, precision: str, threads: int) -> openvino.CompiledModel:
    """Compile a graph for the CPU, for one utterance at a time."""
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
    }
    if part == "step":
        # Its fused attention over a growing cache is wrong from 16 keys on (docs/engines.md).
        settings["SNIPPETS_MODE"] = "DISABLE"
    return shared_core().compile_model(model, "CPU", settings)
