"""Round all weights of a model, operator by operator, in network order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from speechquant.errors import DataError, ModelError
from speechquant.learn.rounding.base import rounding_method
from speechquant.learn.rounding.collect import bare_problem, collect, parts, weight_entry
from speechquant.learn.rounding.replay import passages
from speechquant.learn.rounding.result import Reconstruction, RoundedWeights, on_grid
from speechquant.learn.rounding.shortcuts import Shortcuts
from speechquant.learn.rounding.stages import stages
from speechquant.learn.rounding.store import Store, run_key
from speechquant.numerics import quantize

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from speechquant.learn.rounding.base import Rounding
    from speechquant.learn.rounding.stages import Stage
    from speechquant.learn.rounding.store import Found
    from speechquant.models import SpeechModel
    from speechquant.numerics import Entry, ScaleTable

__all__ = ["ROWS", "round_weights"]

ROWS = 8192
_TINY = 2.0**-120


class Progress(Protocol):
    """Hears how many of the weights are done and which come next."""

    def __call__(self, done: int, total: int, what: str = "") -> None:
        """`done` of `total` weights are finished."""
        ...


def _silent(done: int, total: int, what: str = "") -> None:
    del done, total, what


def round_weights(
    model: SpeechModel,
    table: ScaleTable,
    audio: Sequence[NDArray[np.float32]],
    *,
    method: str,
    options: Mapping[str, Any] | None = None,
    rows: int = ROWS,
    seed: int = 0,
    work: Path | None = None,
    progress: Progress = _silent,
) -> RoundedWeights:
    """Integers for every weight site of `table`, on its grid.

    Operators are rounded in the order in which the network calls them: the inputs of each come from the model
    quantized so far (weights rounded, inputs fake-quantized by the table), its targets from the float model.
    A decoder is fed the tokens that the float model writes. Until its turn a weight is rounded to nearest,
    which shows where an embedding shares it.

    Args:
        model: the float model; it is unchanged afterwards. Computation is on the device of its parameters.
        table: scales of weights, and of the inputs that are quantized too.
        audio: calibration speech, each of shape (time,) at the model's rate.
        method: one of `rounding_names()`.
        options: fields of the method.
        rows: at most so many frames or tokens are used for one operator.
        seed: of the choice of rows.
        work: folder for finished operators; started again, the same run continues and gives the same bits.
        progress: hears of every operator.

    Raises:
        RecipeError: unknown method or option.
        DataError: the method needs speech and there is none.
        ModelError: activations or weights are not finite.
        StorageError: `work` cannot be written to.
    """
    chosen = rounding_method(method, **(options or {}))
    entries = {entry.site.module: entry for entry in table if entry.site.role == "weight"}
    weights = {name: _nearest(model, entry) for name, entry in entries.items()}
    if not chosen.needs_speech or not entries:
        integers = {entry.site.name: _free(model, entry, chosen) for entry in entries.values()}
        return RoundedWeights(method, table, integers, {})
    if not len(audio):
        raise DataError(f"rounding {method!r} needs speech; give some audio")
    store = Store(work, run_key(model, table, audio, chosen, (rows, seed))) if work else None
    speech = passages(model, audio)
    shortcuts = Shortcuts(model, 2 * len(speech))
    found: Found = {}
    shortest = min(speech, key=lambda passage: passage.features.shape[-1])
    for index, stage in enumerate(stages(model, table, shortest)):
        progress(len(found), len(entries), stage.operators[0])
        sites = [entries[name].site.name for name in stage.operators]
        solved = store.load(index, sites) if store else None
        if solved is None:
            solved = _solve(
                model,
                table,
                stage,
                chosen,
                passages=speech,
                weights=weights,
                shortcuts=shortcuts,
                rows=rows,
                seed=seed,
            )
            if store:
                store.save(index, solved)
        found |= solved
        for name in stage.operators:
            entry = entries[name]
            weights[name] = torch.from_numpy(on_grid(entry, solved[entry.site.name][0]))
    progress(len(entries), len(entries))
    return RoundedWeights(
        method,
        table,
        {name: integers for name, (integers, _) in found.items()},
        {name: error for name, (_, error) in found.items()},
    )


def _solve(
    model: SpeechModel,
    table: ScaleTable,
    stage: Stage,
    method: Rounding,
    **speech: Any,
) -> Found:
    """Round the operators of one stage; `speech` is what `collect` wants to know."""
    pieces: dict[str, list[torch.Tensor]] = {name: [] for name in stage.operators}
    errors = {name: np.zeros(3) for name in stage.operators}
    for groups in parts(model, stage):
        problems = collect(model, table, stage, groups, **speech)
        for name, problem in problems.items():
            if not bool(problem.gram.isfinite().all()):
                raise ModelError(
                    f"{name} reads infinite or NaN activations; check the model's weights and the audio"
                )
            integers = method.solve(problem)
            pieces[name].append(integers)
            errors[name] += [
                float(part.double().sum())
                for part in (problem.error(integers), problem.error(problem.nearest()), problem.energy)
            ]
    found: Found = {}
    for name in stage.operators:
        entry = weight_entry(table, name)
        shape = model.operator(name).get_parameter("weight").shape
        rounded, nearest, energy = (max(float(part), _TINY) for part in errors[name])
        found[entry.site.name] = (
            _integers(torch.cat(pieces[name]).reshape(shape), entry),
            Reconstruction(rounded / energy, nearest / energy),
        )
    return found


def _free(model: SpeechModel, entry: Entry, method: Rounding) -> NDArray[np.integer]:
    """The integers of a method that needs no speech."""
    shape = model.operator(entry.site.module).get_parameter("weight").shape
    return _integers(method.solve(bare_problem(model, entry)).reshape(shape), entry)


def _nearest(model: SpeechModel, entry: Entry) -> torch.Tensor:
    weight = model.operator(entry.site.module).get_parameter("weight").detach().cpu().numpy()
    return torch.from_numpy(on_grid(entry, quantize(weight, entry.scale, entry.spec)))


def _integers(found: torch.Tensor, entry: Entry) -> NDArray[np.integer]:
    return found.cpu().numpy().astype(np.int8 if entry.spec.bits <= 8 else np.int16)  # noqa: PLR2004
