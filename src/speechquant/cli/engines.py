"""`speechquant engines`."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["engines"]

_HELP = """List the engines that are installed, what the processor can do, and what each engine will use.

Examples:

    speechquant engines

    speechquant engines --json | jq .cpu.features
"""


def engines(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Run the job; the help text is `_HELP`."""
    from speechquant.cli.tables import print_engines
    from speechquant.jobs.engines import engines as job
    from speechquant.jobs.printable import json_line

    found = job()
    if as_json:
        typer.echo(json_line(found.to_dict()))
    else:
        print_engines(found)


engines.__doc__ = _HELP
