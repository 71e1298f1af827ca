"""`speechquant learn`."""

from __future__ import annotations

from typing import Any

from speechquant.cli.recipe_options import ModelArgument, RecipeOption, recipe_options
from speechquant.jobs.learn_recipe import LearnRecipe

__all__ = ["learn"]

_HELP = """Train a speech model with its quantizers in place, or make its weights small to a budget.

Examples:

    speechquant learn demo --train train.jsonl --dev demo:dev --test demo:test --bits w6a6 -o out

    speechquant learn demo --train train.jsonl --dev demo:dev --method float -o control

    speechquant learn demo --train train.jsonl --dev demo:dev --method one-stage --average-bits 3.5 -o out

    speechquant learn ./my-model --train train/ --dev dev/ --start stablequant-artifact -o out
"""


def learn(
    model: ModelArgument = None,
    *,
    recipe: RecipeOption = None,
    **settings: Any,
) -> None:
    """Run the job; the help text is `_HELP`."""
    from speechquant.cli.learn_summary import print_learned
    from speechquant.cli.progress import StderrProgress
    from speechquant.jobs.learn_recipe import load_learn_recipe
    from speechquant.jobs.learning import learn as job

    outcome = job(load_learn_recipe(recipe, model=model, **settings), progress=StderrProgress())
    if outcome is not None:
        print_learned(outcome)


learn.__doc__ = _HELP
learn = recipe_options(learn, LearnRecipe)
