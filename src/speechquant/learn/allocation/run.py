"""From a float model and some speech to a scale table of mixed bits."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from speechquant.errors import RecipeError
from speechquant.learn.allocation.base import criterion as known_criterion
from speechquant.learn.allocation.candidates import bits_of, candidates_of
from speechquant.learn.allocation.programme import solve
from speechquant.learn.allocation.progress import silent
from speechquant.learn.allocation.result import Allocation, Choice
from speechquant.learn.allocation.speech import Speech
from speechquant.storage import storage_error, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from speechquant.learn.allocation.budget import Budget
    from speechquant.learn.allocation.candidates import Candidates, Rule
    from speechquant.learn.allocation.progress import Advance
    from speechquant.models import SpeechModel
    from speechquant.numerics import Code, Granularity, ScaleTable, WeightMethod

__all__ = ["VERSION", "allocate", "choose", "cost_key", "float_bytes", "sensitivities"]

VERSION = 2
"""Raise it with every change of a criterion after which the same speech gives other costs."""

Costs = dict[str, dict[float, float]]

_FLOAT_BYTES = 4
_ATTEMPTS = 8


def allocate(
    model: SpeechModel,
    audio: Sequence[NDArray[np.float32]],
    *,
    budget: Budget,
    criterion: str = "kl",
    options: Mapping[str, Any] | None = None,
    rule: Rule = "paper",
    bits: Sequence[float] | None = None,
    code: Code = "fixed",
    granularity: Granularity = "channel",
    group_size: int | None = None,
    method: WeightMethod = "mse",
    file_size: Callable[[ScaleTable], int] | None = None,
    seed: int = 0,
    work: Path | None = None,
    on_step: Advance = silent,
) -> Allocation:
    """Choose the bits of every searched matrix so that the sum of the costs is least within the budget.

    Args:
        model: the float model; it is unchanged afterwards.
        audio: speech, each of shape (time,) at the model's rate; no transcripts are needed.
        budget: how small the result is to be.
        criterion: one of `criterion_names()`.
        options: fields of the criterion.
        rule: which weights are searched.
        bits: the candidates; None for those of the code.
        code: what their bits mean, see `candidates_of`.
        granularity: what shares a scale.
        group_size: size of groups, where these do.
        method: how scales below 8 bits are found.
        file_size: bytes of the file that a table makes; a budget in bytes needs it.
        seed: of what a criterion draws.
        work: folder for costs; started again, the same run goes on where it was.
        on_step: hears of the progress.

    Raises:
        RecipeError: unknown criterion or option, or a budget that even the fewest bits exceed.
        DataError: there is no speech.
        StorageError: `work` cannot be written to.
        MissingExtraError: SciPy is not installed.
    """
    known_criterion(criterion, **(options or {}))
    candidates = candidates_of(
        model,
        rule=rule,
        bits=bits,
        code=code,
        granularity=granularity,
        group_size=group_size,
        method=method,
        on_step=on_step,
    )
    costs = sensitivities(
        model, candidates, audio, criterion=criterion, options=options, seed=seed, work=work, on_step=on_step
    )
    return choose(model, candidates, costs, budget=budget, criterion=criterion, file_size=file_size)


def sensitivities(
    model: SpeechModel,
    candidates: Candidates,
    audio: Sequence[NDArray[np.float32]],
    *,
    criterion: str,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    work: Path | None = None,
    on_step: Advance = silent,
    on_saved: Callable[[], None] = lambda: None,
) -> Costs:
    """The cost of every matrix by module and bits; arguments as in `allocate`.

    `on_saved` is called whenever what was measured so far is in `work`.
    """
    chosen = known_criterion(criterion, **(options or {}))
    key = cost_key(model, candidates, audio, criterion=criterion, options=options, seed=seed)
    path = work / f"costs-{key[:16]}.json" if work else None
    costs = _load(path) if path else {}
    missing = [m for m in candidates.matrices if costs.get(m.site.module, {}).keys() != m.entries.keys()]
    if missing:
        wanted = missing if chosen.separate else candidates.matrices
        for module, cost in chosen.costs(Speech(model, audio), wanted, seed, on_step):
            costs[module] = dict(cost)
            if path:
                _save(path, costs)
                on_saved()
    return {m.site.module: costs[m.site.module] for m in candidates.matrices}


def choose(
    model: SpeechModel,
    candidates: Candidates,
    costs: Mapping[str, Mapping[float, float]],
    *,
    budget: Budget,
    criterion: str,
    file_size: Callable[[ScaleTable], int] | None = None,
) -> Allocation:
    """Solve the integer programme for known costs; arguments and errors as in `allocate`."""
    matrices = candidates.matrices
    by_matrix = [costs[m.site.module] for m in matrices]
    most = budget.file_bytes(float_bytes(model))
    if most is None:
        assert budget.average_bits is not None
        sizes = [{bits: bits_of(bits, m.weight.size) for bits in m.entries} for m in matrices]
        limit = bits_of(budget.average_bits, sum(m.weight.size for m in matrices))
        found = solve(by_matrix, sizes, limit)
        if found is None:
            least = sum(min(s.values()) for s in sizes) / sum(m.weight.size for m in matrices)
            raise RecipeError(f"{budget} is not possible; the fewest are {least:g}")
    elif file_size is None:
        raise ValueError("a budget in bytes needs to know the size of the file")
    else:
        whole = float_bytes(model)
        found = _within(candidates, by_matrix, most, file_size, lambda least: budget.impossible(least, whole))
    bits = {m.site.module: width for m, width in zip(matrices, found, strict=True)}
    choices = tuple(
        Choice(m.site.module, m.site.layer, m.weight.size, width, cost, m.bytes)
        for m, width, cost in zip(matrices, found, by_matrix, strict=True)
    )
    return Allocation(criterion, candidates.rule, budget, candidates.table(bits), choices)


def float_bytes(model: SpeechModel) -> int:
    """Bytes of all parameters in float32, shared ones counted once."""
    unique: dict[int, int] = {id(p): p.numel() for p in model.module.state_dict(keep_vars=True).values()}
    return _FLOAT_BYTES * sum(unique.values())


def _within(
    candidates: Candidates,
    costs: Sequence[Mapping[float, float]],
    most: int,
    file_size: Callable[[ScaleTable], int],
    impossible: Callable[[int], RecipeError],
) -> list[float]:
    """The choice whose file has at most so many bytes; an error where even the smallest file has more."""
    matrices = candidates.matrices
    sizes = [m.bytes for m in matrices]

    def table(widths: Sequence[float]) -> ScaleTable:
        return candidates.table({m.site.module: w for m, w in zip(matrices, widths, strict=True)})

    least = [min(size.items(), key=lambda item: item[1])[0] for size in sizes]
    smallest = file_size(table(least))
    fixed = smallest - sum(min(size.values()) for size in sizes)
    for _ in range(_ATTEMPTS):
        found = solve(costs, sizes, most - fixed)
        if found is None:
            break
        whole = file_size(table(found))
        if whole <= most:
            return found
        # The header of the file holds offsets, whose digits depend on the choice.
        fixed += whole - most
    raise impossible(smallest)


def cost_key(
    model: SpeechModel,
    candidates: Candidates,
    audio: Sequence[NDArray[np.float32]],
    *,
    criterion: str,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> str:
    """SHA-256 of everything that decides the costs; arguments as in `allocate`."""
    method = repr(known_criterion(criterion, **(options or {})))
    digest = hashlib.sha256(f"{VERSION}|{model.results_signature}|{method}|{seed}".encode())
    for matrix in candidates.matrices:
        for bits, entry in matrix.entries.items():
            digest.update(f"|{matrix.site.name}|{bits:g}|{entry.spec}|".encode())
            digest.update(np.ascontiguousarray(entry.scale, "<f4").tobytes())
    for wave in audio:
        digest.update(f"|{wave.size}|".encode())
        digest.update(np.ascontiguousarray(wave, "<f4").tobytes())
    return digest.hexdigest()


def _load(path: Path) -> Costs:
    """What an earlier run found; nothing where there was none or the file is damaged."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return {
            name: {float(bits): float(value) for bits, value in cost.items()} for name, cost in kept.items()
        }
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _save(path: Path, costs: Costs) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(path, error) from error
    write_whole(path, json.dumps(costs, indent=1) + "\n")
