"""Mixed precision without training: bits by sensitivity and integer programme."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechquant.jobs.learning.mixed import budget_of, file_size_of
from speechquant.jobs.learning.probe import probe_speech
from speechquant.learn.allocation import allocate

if TYPE_CHECKING:
    from pathlib import Path

    from speechquant.jobs.learning.session import Session
    from speechquant.learn.allocation import Allocation

__all__ = ["allocated"]


def allocated(session: Session, work: Path) -> Allocation:
    """Measure sensitivities on part of the training speech, and choose bits for the recipe's budget.

    Costs are kept in `work`: another budget for the same model and speech measures nothing again.

    Raises:
        SpeechquantError: the budget cannot be met, or no utterance can be used.
    """
    recipe, budget = session.recipe, budget_of(session.recipe)
    assert budget is not None
    granularity, group_size = recipe.weight_form
    with session.progress.stage("allocate") as advance, session.timed("allocate"):
        return allocate(
            session.model,
            probe_speech(session),
            budget=budget,
            criterion=recipe.criterion,
            rule=recipe.rule,
            bits=recipe.candidates,
            granularity=granularity,
            group_size=group_size,
            method=recipe.weights,
            file_size=file_size_of(session.model),
            seed=recipe.seed,
            work=work,
            on_step=advance,
        )
