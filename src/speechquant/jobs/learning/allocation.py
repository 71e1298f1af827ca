"""Mixed precision without training: bits by sensitivity and integer programme, then weights on their grids."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from speechquant.errors import RecipeError
from speechquant.jobs.learning.mixed import budget_of, candidates_for, costs_for, file_size_of
from speechquant.jobs.learning.rounding import round_in_place
from speechquant.learn.allocation import choose, float_bytes
from speechquant.learn.mixed import stored, with_margin

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from speechquant.jobs.learning.session import Session
    from speechquant.learn.allocation import Allocation, Budget
    from speechquant.models import SpeechModel

__all__ = ["allocated"]

_ATTEMPTS = 3


def allocated(session: Session, work: Path) -> Allocation:
    """Measure sensitivities on part of the training speech, choose bits for the recipe's budget, round the weights.

    Costs are kept in `work`: another budget for the same model and speech measures nothing again. Bits are chosen by
    what files hold of weights that are rounded to nearest; where they are rounded by speech, a budget in bytes has the
    margin that it has before a training. Integers that take more than that after all get fewer bits and are rounded
    anew.

    Raises:
        SpeechquantError: the budget cannot be met, or no utterance can be used.
    """
    recipe, budget = session.recipe, budget_of(session.recipe)
    assert budget is not None
    model, size = session.model, file_size_of(session.model)
    candidates = candidates_for(session)
    costs = costs_for(session, candidates, recipe.criterion, work)

    def chosen(target: Budget) -> Allocation:
        with session.timed("allocate"):
            return choose(model, candidates, costs, budget=target, criterion=recipe.criterion, file_size=size)

    if recipe.rounding == "nearest":
        return chosen(budget)
    most, before, target = budget.file_bytes(float_bytes(model)), _copied(model), with_margin(budget)
    try:
        found = chosen(target)
    except RecipeError:
        # There may be room for the fewest bits without the margin.
        found = chosen(budget)
    for attempt in range(1, _ATTEMPTS + 1):
        round_in_place(session, found.table, work)
        taken = size(found.table)
        if most is None or taken <= most:
            break
        after, target = _copied(model), with_margin(target, most / taken)
        model.load_tensors(before)
        fewer = None
        if attempt < _ATTEMPTS:
            with suppress(RecipeError):
                fewer = chosen(target)
        if fewer is None:
            model.load_tensors(after)
            session.progress.note(f"the file has {taken / 1e6:.3f} MB after rounding, above {budget}")
            break
        found = fewer
    return replace(found, budget=budget, choices=stored(model, found))


def _copied(model: SpeechModel) -> dict[str, NDArray[Any]]:
    return {name: tensor.numpy().copy() for name, tensor in model.module.state_dict().items()}
