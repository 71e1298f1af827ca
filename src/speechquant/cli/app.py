"""The program `speechquant`."""

from __future__ import annotations

from typing import Annotated

import typer

from speechquant import __version__
from speechquant.cli.bench import bench
from speechquant.cli.build_trt import build_trt
from speechquant.cli.compare import compare
from speechquant.cli.engines import engines
from speechquant.cli.evaluate import evaluate
from speechquant.cli.export import export
from speechquant.cli.failures import Commands
from speechquant.cli.inspect import inspect
from speechquant.cli.learn import learn
from speechquant.cli.quantize import quantize
from speechquant.cli.transcribe import transcribe
from speechquant.cli.verify import verify

__all__ = ["app", "main"]

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(rich_help_panel="Make")(quantize)
app.command(rich_help_panel="Make")(learn)
app.command("build-trt", rich_help_panel="Make")(build_trt)
app.command(rich_help_panel="Make")(export)
app.command(rich_help_panel="Use")(transcribe)
app.command(rich_help_panel="Use")(evaluate)
app.command(rich_help_panel="Use")(bench)
app.command(rich_help_panel="Use")(compare)
app.command(rich_help_panel="Look inside")(inspect)
app.command(rich_help_panel="Look inside")(verify)
app.command(rich_help_panel="Look inside")(engines)


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer passes the flag by position
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _program(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Speech foundation models in 8-bit integers, with the word error rate proven."""


def main() -> None:
    """Run the program with the arguments of the process."""
    app(prog_name="speechquant")
