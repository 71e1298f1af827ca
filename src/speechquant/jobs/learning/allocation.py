"""Mixed precision without training: bits by sensitivity and integer programme, then weights on their grids."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from speechquant.jobs.learning.mixed import budget_of, file_size_of
from speechquant.jobs.learning.probe import probe_speech
from speechquant.jobs.learning.rounding import round_in_place
from speechquant.learn.allocation import allocate
from speechquant.learn.mixed import stored, with_margin

if TYPE_CHECKING:
    from pathlib import Path

    from speechquant.jobs.learning.session import Session
    from speechquant.learn.allocation import Allocation

__all__ = ["allocated"]


def allocated(session: Session, work: Path) -> Allocation:
    """Measure sensitivities on part of the training speech, choose bits for the recipe's budget, round the weights.

    Costs are kept in `work`: another budget for the same model and speech measures nothing again. Bits are chosen by
    what files hold of weights that are rounded to nearest; where they are rounded by speech, a budget in bytes has the
    margin that it has before a training.

    Raises:
        SpeechquantError: the budget cannot be met, or no utterance can be used.
    """
    recipe, budget = session.recipe, budget_of(session.recipe)
    assert budget is not None
    nearest = recipe.rounding_method == "nearest"
    granularity, group_size = recipe.weight_form
    with session.progress.stage("allocate") as advance, session.timed("allocate"):
        found = allocate(
            session.model,
            probe_speech(session),
            budget=budget if nearest else with_margin(budget),
            criterion=recipe.criterion,
            rule=recipe.rule,
            bits=recipe.candidates,
            code=recipe.code,
            granularity=granularity,
            group_size=group_size,
            method=recipe.weights,
            file_size=file_size_of(session.model),
            seed=recipe.seed,
            work=work,
            on_step=advance,
        )
    round_in_place(session, found.table, work)
    return found if nearest else replace(found, budget=budget, choices=stored(session.model, found))
