"""`speechquant compare`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from speechquant.cli.recipe_options import ModelArgument, recipe_options
from speechquant.jobs.compare_recipe import CompareRecipe

if TYPE_CHECKING:
    from speechquant.jobs.comparison import CompareResult

__all__ = ["compare"]

_HELP = """Compare quantization methods on one model, with paired tests against float and StableQuant.

Examples:

    speechquant compare demo --recipe table2 -o tables

    speechquant compare ./my-model --calibration CAL --dev DEV --test TEST --methods max,mse --bits w8a8,w6a6 -o out

    speechquant compare ./my-model --test TEST --row one-stage=out1 --row uniform=out2 --row control=out3 -o mixed

    speechquant compare ./my-model --recipe table3 --calibration CAL --dev DEV --test TEST --row qat=my-qat -o out
"""
_INTERRUPTED = 130


def compare(
    model: ModelArgument = None,
    *,
    recipe: Annotated[
        str | None,
        typer.Option(help="table1, table2, table3, figures, or a YAML file; options given here override it."),
    ] = None,
    **settings: Any,
) -> None:
    """Run the job; the help text is `_HELP`."""
    from speechquant.cli.progress import StderrProgress
    from speechquant.jobs.compare_recipe import load_compare_recipe

    checked = load_compare_recipe(recipe, model=model, **settings)
    from speechquant.jobs.comparison import CompareInterrupted
    from speechquant.jobs.comparison import compare as job

    try:
        result = job(checked, progress=StderrProgress())
    except CompareInterrupted as stop:
        _print(stop.result, checked)
        typer.echo("interrupted; run the same command again to go on", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    _print(result, checked)


def _print(result: CompareResult, recipe: CompareRecipe) -> None:
    from speechquant.cli.tables import columns, show
    from speechquant.jobs.comparison.speed_tables import speed_grids, speed_notes
    from speechquant.jobs.comparison.tables import grids, notes

    speeds = result.speeds
    measured = speed_grids(speeds, short=True) if speeds else ()
    for grid in (*grids(result, short=True), *measured):
        table = columns(*grid.head)
        for row in grid.rows:
            table.add_row(*row)
        show(grid.title, table)
    for line in (*(notes(result) if result.rows else ()), *(speed_notes(speeds) if speeds else ())):
        show(line)
    show(f"tables and figures: {recipe.output}")


compare.__doc__ = _HELP
compare = recipe_options(compare, CompareRecipe)
