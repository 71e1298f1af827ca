"""`speechquant inspect`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path  # noqa: TC003 - typer reads annotations
from typing import Annotated

import typer

__all__ = ["inspect"]

_HELP = """List every quantized tensor: bits, scale, where it clips, and what the engine really runs in int8.

Examples:

    speechquant inspect hubert-int8

    speechquant inspect hubert-int8 --engine openvino

    speechquant inspect hubert-int8 --json | jq '.sites[] | select(.runs == "float")'
"""


def inspect(
    artifact: Annotated[Path, typer.Argument(help="Folder of the artifact.")],
    *,
    engine: Annotated[str, typer.Option(help="Engine whose treatment is shown.")] = "onnxruntime",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run the job; the help text is `_HELP`."""
    from speechquant.cli.tables import print_inspection
    from speechquant.jobs.inspect import inspect as job
    from speechquant.jobs.printable import json_line

    found = job(artifact, engine=engine)
    if as_json:
        info = found.info.model_dump(mode="json", exclude={"sites", "files"})
        coverage = asdict(found.coverage) if found.coverage else None
        sites = [asdict(row) for row in found.rows]
        exports = {name: asdict(one) if one else None for name, one in found.exports.items()}
        more = {"engine": found.engine, "coverage": coverage, "exports": exports, "sites": sites}
        typer.echo(json_line(info | more))
    else:
        print_inspection(found)


inspect.__doc__ = _HELP
