"""Options of the commands that run an artifact on an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["CacheOption", "PrecisionOption", "ProviderOption", "ThreadsOption"]

ThreadsOption = Annotated[int | None, typer.Option(help="CPU threads; all cores by default.")]
PrecisionOption = Annotated[
    Literal["f32", "bf16"] | None,
    typer.Option(help="Of what is not int8; by default the engine's fastest on this processor."),
]
CacheOption = Annotated[Path | None, typer.Option(help="Folder for compiled models (openvino).")]
ProviderOption = Annotated[
    str | None, typer.Option(help="What ONNX Runtime computes with: cpu by default, cuda, ...")
]
