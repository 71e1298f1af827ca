"""Weights of a few bits by training: the same bits for all, bits learned first, or both at once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from speechquant.artifact.weights import file_bytes
from speechquant.jobs.learning.probe import probe_speech
from speechquant.jobs.learning.rounding import round_in_place
from speechquant.jobs.learning.session import Stage
from speechquant.learn.allocation import Budget, candidates_of, cost_key, sensitivities
from speechquant.learn.mixed import (
    Annealing,
    BitChoice,
    MixedWeights,
    SearchPlan,
    groups_of,
    room_of,
    settled,
    uniform_bits,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from speechquant.jobs.learn_recipe import LearnRecipe
    from speechquant.jobs.learning.session import Session, StageRun
    from speechquant.learn.allocation import Allocation, Candidates
    from speechquant.models import SpeechModel
    from speechquant.numerics import ScaleTable

__all__ = ["budget_of", "candidates_for", "costs_for", "file_size_of", "one_stage", "two_stage", "uniform"]


def uniform(session: Session, work: Path) -> tuple[Allocation, tuple[StageRun, ...]]:
    """Quantization-aware training with the most bits that all searched matrices can have at once."""
    candidates, budget = candidates_for(session), budget_of(session.recipe)
    assert budget is not None
    room = room_of(session.model, candidates, budget, file_size_of(session.model))
    width = uniform_bits(candidates, room, budget)
    bits = {matrix.site.module: width for matrix in candidates.matrices}
    quantizers = _rounded(session, candidates.table(bits), work)
    run = session.train(work, quantizers, Stage("train", session.recipe.steps))
    found = settled(session.model, candidates, quantizers, bits, budget=budget, criterion="uniform")
    return found, (run,)


def one_stage(session: Session, work: Path) -> tuple[Allocation, tuple[StageRun, ...]]:
    """Learn bits and quantized weights in one training; on request go on with frozen bits.

    Where settled weights are rounded by speech, that begins at the float weights, which the search then leaves alone:
    there they would learn to live with rounding to nearest, and rounding by speech would aim at what became of them.
    The rest of the training begins a schedule of its own behind it.
    """
    recipe, model = session.recipe, session.model
    candidates, budget = candidates_for(session), budget_of(recipe)
    choice = _choice(session, candidates, work)
    quantizers = MixedWeights.searching(model, candidates, choice, learned=_learned(recipe))
    search_updates, nearest = _search_updates(recipe), recipe.rounding == "nearest"
    # Before the bits are settled there is no model yet that could be chosen.
    first = (
        Stage("train", recipe.steps, search_updates)
        if nearest
        else Stage("search", search_updates, None, weights=False)
    )
    runs = [session.train(work, quantizers, first)]
    record = partial(
        settled,
        model,
        candidates,
        budget=budget,
        criterion="learned",
        preferences=choice.preferences(),
        file_size=file_size_of(model),
    )
    found = record(quantizers, choice.bits(), repaired=choice.repaired())

    def go_on(stage: Stage, frozen: MixedWeights) -> Allocation:
        runs.append(session.train(work, frozen, stage))
        return record(frozen, {item.module: item.bits for item in found.choices}, repaired=found.repaired)

    if not nearest:
        rest = Stage("train", recipe.steps - search_updates, first=search_updates)
        found = go_on(rest, _rounded(session, found.table, work))
    if recipe.second_pass:
        last = Stage("second-pass", recipe.second_pass, first=recipe.steps)
        found = go_on(last, _frozen(session, found.table))
    return found, tuple(runs)


def two_stage(session: Session, work: Path) -> tuple[Allocation, tuple[StageRun, ...]]:
    """Learn bits as in one stage, throw the weights away, and train the float model anew with these bits."""
    recipe, model = session.recipe, session.model
    candidates, budget = candidates_for(session), budget_of(recipe)
    choice = _choice(session, candidates, work)
    before = {name: tensor.numpy().copy() for name, tensor in model.module.state_dict().items()}
    search = MixedWeights.searching(model, candidates, choice, learned=_learned(recipe))
    first = session.train(work, search, Stage("search", _search_updates(recipe), judge_from=None))
    model.load_tensors(before)
    bits = choice.bits()
    quantizers = _rounded(session, candidates.table(bits), work)
    second = session.train(work, quantizers, Stage("train", recipe.steps))
    found = settled(
        model,
        candidates,
        quantizers,
        bits,
        budget=budget,
        criterion="learned",
        preferences=choice.preferences(),
        repaired=choice.repaired(),
    )
    return found, (first, second)


def budget_of(recipe: LearnRecipe) -> Budget | None:
    """The recipe's budget, None where a penalty takes its place."""
    if recipe.bit_penalty is not None:
        return None
    return Budget(recipe.average_bits, recipe.megabytes, recipe.ratio)


def file_size_of(model: SpeechModel) -> Callable[[ScaleTable], int]:
    """Bytes of the file of the model's present weights that a table makes."""

    def size(table: ScaleTable) -> int:
        weights = {name: tensor.numpy() for name, tensor in model.module.state_dict().items()}
        return file_bytes(weights, table)

    return size


def candidates_for(session: Session) -> Candidates:
    """The matrices whose bits the recipe searches, at all bits that it lets them have."""
    recipe = session.recipe
    granularity, group_size = recipe.weight_form
    with session.progress.stage("candidates") as advance, session.timed("candidates"):
        return candidates_of(
            session.model,
            rule=recipe.rule,
            bits=recipe.candidates,
            code=recipe.code,
            granularity=granularity,
            group_size=group_size,
            method=recipe.weights,
            percentile=recipe.percentile,
            on_step=advance,
        )


def _choice(session: Session, candidates: Candidates, work: Path) -> BitChoice:
    recipe, budget = session.recipe, budget_of(session.recipe)
    room = None if budget is None else room_of(session.model, candidates, budget, file_size_of(session.model))
    plan = SearchPlan(
        Annealing(_search_updates(recipe), recipe.gumbel_start, recipe.gumbel_end),
        limit=None if room is None else room.limit,
        penalty=recipe.bit_penalty or 0.0,
        seed=recipe.seed,
    )
    in_bytes = room is not None and room.in_bytes
    # Without a budget there is no best assignment to begin near.
    even = room is None or recipe.bit_start == "even"
    costs = None if even else costs_for(session, candidates, recipe.bit_start, work)
    return BitChoice(groups_of(candidates, recipe.unit, in_bytes=in_bytes), plan, costs)


def costs_for(
    session: Session, candidates: Candidates, criterion: str, work: Path
) -> Mapping[str, Mapping[float, float]]:
    """What every matrix costs at each number of bits, by module; kept in `work`.

    The first process measures, and the others find what it has kept.

    Raises:
        DataError: no utterance can be used.
        StorageError: `work` cannot be written to.
    """
    model, seed, speech = session.model, session.recipe.seed, probe_speech(session)
    key = cost_key(model, candidates, speech, criterion=criterion, seed=seed)
    with (
        session.progress.stage("sensitivities") as advance,
        session.timed("sensitivities", f"sensitivities|{key}") as saved,
        session.accelerator.main_process_first(),
    ):
        return sensitivities(
            model,
            candidates,
            speech,
            criterion=criterion,
            seed=seed,
            work=work,
            on_step=advance,
            on_saved=saved,
        )


def _search_updates(recipe: LearnRecipe) -> int:
    return max(1, round(recipe.search_share * recipe.steps))


def _rounded(session: Session, table: ScaleTable, work: Path) -> MixedWeights:
    """The quantizers of a table, and the model's weights on their grid already where the recipe says so."""
    round_in_place(session, table, work)
    return _frozen(session, table)


def _frozen(session: Session, table: ScaleTable) -> MixedWeights:
    return MixedWeights.frozen(session.model, table, learned=_learned(session.recipe))


def _learned(recipe: LearnRecipe) -> bool:
    return recipe.step_sizes == "learned"
