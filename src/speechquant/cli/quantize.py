"""`speechquant quantize`."""

from __future__ import annotations

from typing import Any

from speechquant.cli.recipe_options import ModelArgument, RecipeOption, recipe_options

__all__ = ["quantize"]

_HELP = """Quantize a speech model and prove its word error rate.

Examples:

    speechquant quantize demo -o build/demo

    speechquant quantize ./my-model --calibration cal.jsonl --dev dev.csv --test test.tsv -o out

    speechquant quantize ./my-model --audio-only calls/ -o out

    speechquant quantize --recipe out/recipe.yaml -o again
"""


def quantize(
    model: ModelArgument = None,
    *,
    recipe: RecipeOption = None,
    **settings: Any,
) -> None:
    """Run the job; the help text is `_HELP`."""
    from speechquant.cli.progress import StderrProgress
    from speechquant.cli.summary import print_outcome
    from speechquant.jobs.quantization import quantize as job
    from speechquant.jobs.recipe import load_recipe
    from speechquant.jobs.sources import shipped_recipe

    path = recipe or (shipped_recipe(model) if model else None)
    print_outcome(job(load_recipe(path, model=model, **settings), progress=StderrProgress()))


quantize.__doc__ = _HELP
quantize = recipe_options(quantize)
