"""Speech -> the quadratic problem of every operator of a stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from speechquant.learn.rounding.problem import Problem
from speechquant.learn.rounding.replay import input_of
from speechquant.learn.rounding.result import on_grid, replaced
from speechquant.numerics import ScaleTable
from speechquant.simulation import quantized

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from speechquant.learn.rounding.replay import Passage
    from speechquant.learn.rounding.shortcuts import Shortcuts
    from speechquant.learn.rounding.stages import Stage
    from speechquant.models import SpeechModel
    from speechquant.numerics import Entry

__all__ = ["bare_problem", "collect", "parts", "weight_entry"]

_GRAM_BYTES = 1 << 29


def parts(model: SpeechModel, stage: Stage) -> Iterator[range]:
    """The groups of a stage in portions whose Gram matrices fit into half a gigabyte together, at least one."""
    inputs = model.operator(stage.operators[0]).get_parameter("weight")[0].numel()
    groups = stage.windows.groups
    step = max(1, _GRAM_BYTES // (4 * inputs * inputs))
    return (range(first, min(first + step, groups)) for first in range(0, groups, step))


def bare_problem(model: SpeechModel, entry: Entry) -> Problem:
    """The problem of a weight of which nothing but itself and its scales is known."""
    weight, scale = _matrices(model, entry, 1)
    nothing = weight.new_zeros(())
    return Problem(weight, scale, entry.spec.qmin, entry.spec.qmax, nothing, nothing, nothing, nothing)


def collect(
    model: SpeechModel,
    table: ScaleTable,
    stage: Stage,
    groups: range,
    *,
    passages: Sequence[Passage],
    weights: Mapping[str, torch.Tensor],
    shortcuts: Shortcuts,
    rows: int,
    seed: int,
) -> dict[str, Problem]:
    """Run float and quantized model up to a stage, and sum up what its operators see.

    Args:
        model: in float.
        table: all scales; inputs are fake-quantized by them.
        stage: whose operators.
        groups: which groups of the stage's convolution.
        passages: the speech.
        weights: of the model quantized so far, by module; the float weight where one is missing.
        shortcuts: of this run, whose passes they serve; the stages must come in network order.
        rows: at most so many in all, the same number of random ones from each passage.
        seed: of the choice.

    Returns:
        The problem of each operator, by module.
    """
    inputs = ScaleTable({name: entry for name, entry in table.entries.items() if entry.site.role == "input"})
    entries = {name: weight_entry(table, name) for name in stage.operators}
    windows, first = stage.windows, stage.operators[0]
    sums = {name: _Sums(*_matrices(model, entry, windows.groups, groups)) for name, entry in entries.items()}
    share = -(-rows // len(passages))
    gram: torch.Tensor | float = 0.0
    for index, passage in enumerate(passages):
        with shortcuts.taken(("float", index)):
            x = input_of(model, first, passage)
        chosen = _choice(windows.count(x), share, seed + index).to(x.device)
        ideal = windows.rows(x, chosen, groups)
        with replaced(model, weights), quantized(model, inputs), shortcuts.taken(("quantized", index)):
            x = input_of(model, first, passage)
        actual = windows.rows(x, chosen, groups)
        gram = gram + actual.transpose(1, 2) @ actual
        for one in sums.values():
            one.add(ideal, actual)
    assert isinstance(gram, torch.Tensor)
    gram /= sums[first].rows
    return {name: one.problem(entries[name], gram) for name, one in sums.items()}


class _Sums:
    """The coefficients of one operator's problem, summed over rows."""

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor) -> None:
        self.weight, self.scale = weight, scale
        self.drift = torch.zeros_like(weight)
        self.offset, self.energy = weight.new_zeros(weight.shape[:2]), weight.new_zeros(weight.shape[:2])
        self.rows = 0

    def add(self, ideal: torch.Tensor, actual: torch.Tensor) -> None:
        """Count rows (groups, rows, inputs) of the float and of the quantized model."""
        error = self.weight @ (actual - ideal).transpose(1, 2)
        self.drift += error @ actual
        self.offset += (error**2).sum(-1)
        self.energy += ((self.weight @ ideal.transpose(1, 2)) ** 2).sum(-1)
        self.rows += ideal.shape[1]

    def problem(self, entry: Entry, gram: torch.Tensor) -> Problem:
        """Means instead of sums."""
        return Problem(
            self.weight,
            self.scale,
            entry.spec.qmin,
            entry.spec.qmax,
            gram,
            self.drift / self.rows,
            self.offset / self.rows,
            self.energy / self.rows,
        )


def _matrices(
    model: SpeechModel, entry: Entry, groups: int, part: range | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and scale as (groups, outputs, inputs); `part` says which groups."""
    weight = model.operator(entry.site.module).get_parameter("weight").detach()
    # Whatever the granularity: one step of every weight is what the grid makes of the integer 1.
    step = on_grid(entry, np.ones(tuple(weight.shape), np.int8))
    scale = torch.from_numpy(step).to(weight.device)
    chosen = slice(part.start, part.stop) if part else slice(None)
    shape = (groups, weight.shape[0] // groups, -1)
    return weight.reshape(shape)[chosen], scale.reshape(shape)[chosen]


def weight_entry(table: ScaleTable, name: str) -> Entry:
    """The entry of an operator's weight, which must be there."""
    entry = table.get(f"{name}:weight")
    assert entry is not None
    return entry


def _choice(count: int, share: int, seed: int) -> torch.Tensor:
    """At most `share` of `count` rows, ascending."""
    if count <= share:
        return torch.arange(count)
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(count, generator=generator)[:share].sort().values
