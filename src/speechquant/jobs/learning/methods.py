"""What each method of `learn` does between the float model and a finished scale table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from speechquant.data import iter_loaded
from speechquant.errors import DataError
from speechquant.jobs.learning.allocation import allocated
from speechquant.jobs.learning.mixed import one_stage, two_stage, uniform
from speechquant.jobs.learning.rounding import round_in_place
from speechquant.jobs.learning.session import Stage
from speechquant.jobs.learning.start import activation_ranges, start_table
from speechquant.learn.qat import Quantizers, shared_inputs
from speechquant.numerics import ScaleTable

if TYPE_CHECKING:
    from pathlib import Path

    from speechquant.jobs.learning.session import Session, StageRun
    from speechquant.learn.allocation import Allocation

__all__ = ["Compressed", "compress"]


@dataclass(frozen=True, slots=True, eq=False)
class Compressed:
    """What a method left in the model, and how.

    Attributes:
        table: all quantized sites; None for the float control.
        stages: its trainings, in their order.
        allocation: bits by matrix, where the method has a budget.
        seconds: by step, what the method took; interruptions and the proof afterwards do not count.
    """

    table: ScaleTable | None
    stages: tuple[StageRun, ...] = ()
    allocation: Allocation | None = None
    seconds: dict[str, float] = field(default_factory=dict)


def compress(session: Session, work: Path) -> Compressed:
    """Run the recipe's method on the session's model, in place.

    Raises:
        SpeechquantError: the recipe or the speech is unusable, or training diverged.
    """
    method = session.recipe.method
    plain = Stage("train", session.recipe.steps)
    if method == "float":
        return _compressed(session, None, (session.train(work, None, plain),))
    if method == "qat":
        quantizers = _quantizers(session, work)
        run = session.train(work, quantizers, plain)
        return _compressed(session, quantizers.table(), (run,))
    # First, as they are those of the float model.
    inputs = _inputs(session)
    stages: tuple[StageRun, ...] = ()
    if method == "allocate":
        allocation = allocated(session, work)
    else:
        learn = {"one-stage": one_stage, "two-stage": two_stage, "uniform": uniform}[method]
        allocation, stages = learn(session, work)
    return _compressed(session, allocation.table.merged(inputs), stages, allocation)


def _compressed(
    session: Session,
    table: ScaleTable | None,
    stages: tuple[StageRun, ...],
    allocation: Allocation | None = None,
) -> Compressed:
    seconds = {**session.seconds, **{run.stage.name: run.seconds for run in stages}}
    return Compressed(table, stages, allocation, seconds)


def _inputs(session: Session) -> ScaleTable:
    """The scales of activations behind a search of bits; none where activations stay in float."""
    recipe = session.recipe
    if recipe.activation_bits is None:
        return ScaleTable({})
    with session.timed("calibrate"):
        return activation_ranges(
            session.model, session.roles.train, recipe, session.progress, recipe.activation_bits
        )


def _quantizers(session: Session, work: Path) -> Quantizers:
    with session.timed("calibrate"):
        start = start_table(session.model, session.roles.train, session.recipe, session.progress)
    shared = () if session.recipe.weight_only else _shared(session)
    round_in_place(session, start, work)
    return Quantizers(session.model, start, learned=session.recipe.step_sizes == "learned", shared=shared)


def _shared(session: Session) -> tuple[tuple[str, ...], ...]:
    """Operators that read one tensor, by what the first usable utterance shows."""
    loaded = iter_loaded(session.roles.train, strict=False, on_skip=lambda _: None)
    first = next(loaded, None)
    if first is None:
        raise DataError(f"no usable speech in the {session.roles.train.name} set")
    return shared_inputs(session.model, first[1])
