"""`speechquant export`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path  # noqa: TC003 - typer reads annotations
from typing import Annotated

import typer

__all__ = ["export"]

_HELP = """Write an artifact's graphs for one engine or for all; the artifact's integers are the source.

Examples:

    speechquant export hubert-int8 --engine openvino

    speechquant export hubert-int8 --engine onnxruntime -o hubert-onnx
"""


def export(
    artifact: Annotated[Path, typer.Argument(help="Folder of the artifact.")],
    *,
    engine: Annotated[
        str, typer.Option("--engine", "-e", help="onnxruntime, openvino, tensorrt, or all.")
    ] = "all",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for graphs and vocabulary; by default the artifact."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run the job; the help text is `_HELP`."""
    from speechquant.cli.progress import StderrProgress
    from speechquant.cli.tables import print_exports
    from speechquant.jobs.export import export as job
    from speechquant.jobs.printable import json_line

    done = job(artifact, engine=engine, output=output, progress=StderrProgress())
    if as_json:
        rows = [asdict(item) | {"folder": str(item.folder)} for item in done]
        typer.echo(json_line(rows))
    else:
        print_exports(done)


export.__doc__ = _HELP
