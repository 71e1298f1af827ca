"""What a budget leaves for the searched matrices, and what fits in it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from speechquant.errors import RecipeError
from speechquant.learn.allocation import (
    Allocation,
    Candidates,
    Choice,
    Matrix,
    bits_of,
    choose,
    float_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from speechquant.learn.allocation import Budget
    from speechquant.learn.mixed.network import MixedWeights
    from speechquant.models import SpeechModel
    from speechquant.numerics import ScaleTable

__all__ = ["Room", "room_of", "settled", "stored", "uniform_bits", "with_margin"]

# Weights are still to be trained or rounded, after which entropy coding may gain a little less.
_SHARE = Fraction(99, 100)


@dataclass(frozen=True, slots=True)
class Room:
    """How much the searched matrices may take together: bits, or bytes of the file."""

    limit: int
    in_bytes: bool


def room_of(
    model: SpeechModel, candidates: Candidates, budget: Budget, file_size: Callable[[ScaleTable], int]
) -> Room:
    """The limit of the sum of sizes that `groups_of` gives.

    Bytes are those of the float weights rounded, less a margin of 1 %, because entropy coding sees the trained
    ones in the end.

    Raises:
        RecipeError: even the fewest bits exceed the budget.
    """
    matrices = candidates.matrices
    most = budget.file_bytes(float_bytes(model))
    if most is None:
        assert budget.average_bits is not None
        weights = sum(m.weight.size for m in matrices)
        least = sum(bits_of(min(m.entries), m.weight.size) for m in matrices)
        limit = bits_of(budget.average_bits, weights)
        if least > limit:
            raise RecipeError(f"{budget} is not possible; the fewest are {least / weights:g}")
        return Room(limit, in_bytes=False)
    fewest = {m.site.module: min(m.bytes, key=lambda bits, m=m: m.bytes[bits]) for m in matrices}  # type: ignore[misc]
    smallest = file_size(candidates.table(fewest))
    fixed = smallest - sum(m.bytes[fewest[m.site.module]] for m in matrices)
    limit = math.floor(_SHARE * (most - fixed))
    if smallest - fixed > limit:
        raise budget.impossible(fixed + math.ceil((smallest - fixed) / _SHARE), float_bytes(model))
    return Room(limit, in_bytes=True)


def with_margin(budget: Budget, share: float = float(_SHARE)) -> Budget:
    """A share of a budget in bytes, 1 % less by default; bits are what they are."""
    if budget.average_bits is not None:
        return budget
    if budget.megabytes is not None:
        return replace(budget, megabytes=share * budget.megabytes)
    assert budget.ratio is not None
    return replace(budget, ratio=budget.ratio / share)


def stored(model: SpeechModel, allocation: Allocation) -> tuple[Choice, ...]:
    """Choices whose bytes are those of the model's weights as they are now."""

    def bytes_of(choice: Choice) -> Mapping[float, int]:
        entry = allocation.table.entries[f"{choice.module}:weight"]
        return Matrix(entry.site, _master(model, choice.module), {choice.bits: entry}).bytes

    return tuple(replace(choice, bytes=bytes_of(choice)) for choice in allocation.choices)


def uniform_bits(candidates: Candidates, room: Room, budget: Budget) -> float:
    """The most bits that every matrix can have at once.

    Raises:
        RecipeError: even the fewest exceed the budget.
    """
    for bits in sorted(candidates.matrices[0].entries, reverse=True):
        size = sum(
            m.bytes[bits] if room.in_bytes else bits_of(bits, m.weight.size) for m in candidates.matrices
        )
        if size <= room.limit:
            return bits
    raise RecipeError(f"{budget} is not possible with the same bits for all; take fewer --candidates")


def settled(
    model: SpeechModel,
    candidates: Candidates,
    quantizers: MixedWeights,
    bits: Mapping[str, float],
    *,
    budget: Budget | None,
    criterion: str,
    preferences: Mapping[str, Mapping[float, float]] | None = None,
    repaired: tuple[str, ...] = (),
    file_size: Callable[[ScaleTable], int] | None = None,
) -> Allocation:
    """The record of bits that were learned or given, with weights and scales as they are after training.

    Where the file of a search is larger than the budget after all, the integer programme leaves the logits by as
    little as it must, and the record says which matrices got other bits than they were trained with. Frozen bits
    stay.

    Args:
        model: the trained model.
        candidates: those that training began with.
        quantizers: with the trained scales.
        bits: by module.
        budget: None where there is none.
        criterion: what the record names as the reason.
        preferences: by module and bits, how far a logit is below the largest.
        repaired: modules whose bits are not those of the largest logit already.
        file_size: bytes of the file that a table makes; to be given with a budget in bytes.
    """
    table = quantizers.table()
    most = None if budget is None else budget.file_bytes(float_bytes(model))
    known = preferences or {}
    open_to_change = known and any(len(quantizers.candidates(m.site.name)) > 1 for m in candidates.matrices)
    if budget is None or most is None or file_size is None or not open_to_change or file_size(table) <= most:
        choices = []
        for m in candidates.matrices:
            name, entry = m.site.module, table.entries[m.site.name]
            own = Matrix(m.site, _master(model, name), {bits[name]: entry})
            cost = known.get(name, {})
            choices.append(Choice(name, m.site.layer, own.weight.size, bits[name], cost, own.bytes))
        return Allocation(criterion, candidates.rule, budget, table, tuple(choices), repaired)
    now = tuple(
        Matrix(m.site, _master(model, m.site.module), quantizers.candidates(m.site.name))
        for m in candidates.matrices
    )
    others = type(table)({name: table.entries[name] for name in candidates.others.entries})
    costs = {module: _from(known[module], own) for module, own in bits.items()}
    found = choose(
        model,
        Candidates(now, others, candidates.rule),
        costs,
        budget=budget,
        criterion=criterion,
        file_size=file_size,
    )
    changed = (c.module for c in found.choices if c.bits != bits[c.module])
    return replace(found, repaired=tuple(dict.fromkeys((*repaired, *changed))))


def _master(model: SpeechModel, module: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The float master of a weight."""
    return np.asarray(model.operator(module).get_parameter("weight").detach().cpu().numpy(), np.float32)


def _from(preferences: Mapping[float, float], own: float) -> dict[float, float]:
    """Costs of leaving the bits that a matrix was trained with; every change costs something."""
    return {
        bits: 0.0 if bits == own else 1e-3 + max(below - preferences[own], 0.0)
        for bits, below in preferences.items()
    }
