"""Weights go onto their grid before they are trained on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechquant.data import usable_waves
from speechquant.jobs.learning.start import calibration_part
from speechquant.learn import round_weights

if TYPE_CHECKING:
    from pathlib import Path

    from speechquant.jobs.learning.session import Session
    from speechquant.numerics import ScaleTable

__all__ = ["round_in_place"]


def round_in_place(session: Session, table: ScaleTable, work: Path) -> None:
    """Replace the model's weights by those that the recipe's rounding method finds on the grid of `table`.

    It aims at the outputs of the weights as they are. Where the method is rounding to nearest they stay as they
    are: quantizers round to nearest anyway, and training wants to know what is lost. Rounded operators are kept in
    `work`.

    Raises:
        DataError: no utterance can be used.
        StorageError: `work` cannot be written to.
    """
    recipe, model = session.recipe, session.model
    if recipe.rounding == "nearest":
        return
    if session.trains:
        # What a decoder is fed in training is written by the model as it is now.
        _ = session.speech
    waves = usable_waves(calibration_part(session.roles.train, recipe), strict=recipe.strict)
    with (
        session.progress.stage("round weights") as advance,
        session.timed("round weights"),
        session.accelerator.main_process_first(),
    ):
        found = round_weights(
            model, table, waves, method=recipe.rounding, seed=recipe.seed, work=work, progress=advance
        )
    for entry in table:
        if entry.site.role == "weight":
            weight = model.operator(entry.site.module).get_parameter("weight")
            weight.data.copy_(weight.new_tensor(found.values(entry.site.name)))
    session.rounding_errors = found.errors
    model.load_tensors({name: tensor.numpy() for name, tensor in model.module.state_dict().items()})
