"""`speechquant build-trt`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path  # noqa: TC003 - typer reads annotations
from typing import Annotated, Literal

import typer

__all__ = ["build_trt"]

_HELP = """Build TensorRT engines from an export, on a machine with TensorRT and the GPU that will run them.

Examples:

    speechquant build-trt hubert-int8 -o hubert-trt

    speechquant build-trt hubert-int8 -o hubert-trt --precision fp16 --seconds 0:3:10 --seconds 10:20:30
"""


def build_trt(
    artifact: Annotated[Path, typer.Argument(help="Artifact or export for TensorRT.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the engines.")],
    seconds: Annotated[
        list[str] | None,
        typer.Option(help="shortest:typical:longest audio of a profile; may be repeated. [default: 0:10:30]"),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Most utterances at once.")] = 8,
    precision: Annotated[
        Literal["fp32", "fp16"], typer.Option(help="fp32 or fp16, for all that is not int8.")
    ] = "fp32",
    workspace: Annotated[
        int | None, typer.Option(min=1, help="Most scratch memory in MiB; all by default.")
    ] = None,
    portable: Annotated[
        bool, typer.Option("--portable", help="Engines for every GPU from Ampere on, somewhat slower.")
    ] = False,
    timing_cache: Annotated[
        Path | None, typer.Option(help="Measurements kept between builds; by default in the output.")
    ] = None,
    level: Annotated[int | None, typer.Option(min=0, max=5, help="Optimisation level of TensorRT.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run the job; the help text is `_HELP`."""
    from speechquant.cli.progress import StderrProgress
    from speechquant.engines.tensorrt import BuildOptions, parse_seconds
    from speechquant.jobs.build_trt import build_trt as job

    options = BuildOptions(
        seconds=tuple(map(parse_seconds, seconds or ["0:10:30"])),
        batch=batch,
        precision=precision,
        workspace=workspace,
        portable=portable,
        timing_cache=timing_cache,
        level=level,
    )
    built = job(artifact, output, options, progress=StderrProgress())
    if as_json:
        typer.echo(json.dumps(asdict(built), default=str))
    else:
        names = ", ".join(path.name for path in built.files)
        int8 = f"{built.coverage.int8} of {built.coverage.total} operators in int8"
        typer.echo(f"{names} in {built.folder}: {built.bytes / 1e6:.1f} MB, {int8}, TensorRT {built.version}")


build_trt.__doc__ = _HELP
