"""Quantization-aware training: fake quantizers that stay in the network while it learns."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.nn import functional

from speechquant.errors import ModelError
from speechquant.learn.lsq import StepSize
from speechquant.numerics import Entry, ScaleTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from speechquant.models import SpeechModel

__all__ = ["Quantizers", "shared_inputs"]


class Quantizers(nn.Module):
    """The quantizers of all sites of a scale table, for training.

    Inputs that are one tensor, such as those of query, key and value projections, share a step as long as
    they began with the same one: engines quantize such a tensor once. A weight that an embedding shares with
    the output layer is quantized in both places, as it is in the artifact.

    Args:
        model: whose operators get quantizers. Its network is not changed before `installed`.
        table: the sites with the scales that training starts from.
        learned: whether steps are trained (LSQ), or stay as they are (straight-through estimator alone).
        shared: groups of modules that read the same tensor, by `shared_inputs`.
    """

    def __init__(
        self,
        model: SpeechModel,
        table: ScaleTable,
        *,
        learned: bool = True,
        shared: Sequence[Sequence[str]] = (),
    ) -> None:
        super().__init__()
        self._model = (model,)
        self._start = table
        self._active = True
        self.steps = nn.ModuleList()
        self._index: dict[str, int] = {}
        group_of = {name: group for group, names in enumerate(shared) for name in names}
        known: dict[tuple[Any, ...], int] = {}
        for entry in table:
            weight = entry.site.role == "weight"
            group = group_of.get(entry.site.module)
            own = (entry.site.name,)
            key = own if weight or group is None else (group, entry.spec, entry.scale.tobytes())
            if key not in known:
                known[key] = len(self.steps)
                scale = torch.from_numpy(entry.scale.copy())
                self.steps.append(StepSize(scale, entry.spec, learned=learned, weight=weight))
            self._index[entry.site.name] = known[key]

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Let the operators of the model quantize inside the block; afterwards they are as they were."""
        (model,) = self._model
        changed: list[nn.Module] = []
        try:
            for name in dict.fromkeys(entry.site.module for entry in self._start):
                operator = model.operator(name)
                inputs, weights = self._step(f"{name}:input"), self._step(f"{name}:weight")
                self._replace(operator, partial(self._operate, operator, inputs, weights))
                changed.append(operator)
                if weights is not None:
                    for table in _sharing(model.module, operator):
                        self._replace(table, partial(self._look_up, table, weights))
                        changed.append(table)
            yield
        finally:
            for module in changed:
                del module.__dict__["forward"]

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let the operators compute in float inside the block, for `simulation.quantized` for instance."""
        self._active = False
        try:
            yield
        finally:
            self._active = True

    def table(self) -> ScaleTable:
        """The scale table with the steps as they are now."""
        entries = {}
        for name, start in self._start.entries.items():
            step = self._step(name)
            assert step is not None
            scale = step.scale.detach().cpu().numpy().reshape(start.scale.shape)
            entries[name] = Entry(start.site, start.spec, scale)
        return ScaleTable(entries)

    def _step(self, site: str) -> StepSize | None:
        index = self._index.get(site)
        return None if index is None else cast("StepSize", self.steps[index])

    @staticmethod
    def _replace(module: nn.Module, forward: Any) -> None:
        # An attribute of the instance hides the method; hooks, names and parameters stay as they are.
        module.forward = forward

    def _operate(
        self, operator: nn.Module, inputs: StepSize | None, weights: StepSize | None, x: torch.Tensor
    ) -> torch.Tensor:
        if not self._active:
            return cast("torch.Tensor", type(operator).forward(operator, x))
        x = x if inputs is None else inputs(x)
        weight = operator.get_parameter("weight")
        weight = weight if weights is None else weights(weight)
        bias = cast("torch.Tensor | None", operator.bias)
        if isinstance(operator, nn.Conv1d):
            convolve: Any = operator._conv_forward  # noqa: SLF001 - forward with another weight
            return cast("torch.Tensor", convolve(x, weight, bias))
        return functional.linear(x, weight, bias)

    def _look_up(self, table: nn.Embedding, weights: StepSize, ids: torch.Tensor) -> torch.Tensor:
        if not self._active:
            return nn.Embedding.forward(table, ids)
        # The rows that are read, not the whole table, which is the largest weight of some models.
        return weights.rows(table.weight, ids)


def _sharing(network: nn.Module, operator: nn.Module) -> list[nn.Embedding]:
    """The embeddings whose table is the weight of an operator."""
    weight = operator.get_parameter("weight")
    return [part for part in network.modules() if isinstance(part, nn.Embedding) and part.weight is weight]


def shared_inputs(model: SpeechModel, wave: NDArray[np.float32]) -> tuple[tuple[str, ...], ...]:
    """Groups of operators that read one and the same tensor when the model recognises `wave`, (time,).

    Raises:
        ModelError: an operator never saw data.
    """
    names = [site.module for site in model.sites() if site.role == "input"]
    first: dict[str, torch.Tensor] = {}

    def hook(name: str, _module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        # Holding the tensors keeps their addresses from being used again.
        first.setdefault(name, inputs[0])

    handles = [model.operator(name).register_forward_pre_hook(partial(hook, name)) for name in names]
    try:
        model.observe(wave)
    finally:
        for handle in handles:
            handle.remove()
    groups: dict[int, list[str]] = {}
    for name in names:
        if name not in first:
            raise ModelError(f"{name}:input saw no data; its model family adapter is wrong")
        groups.setdefault(id(first[name]), []).append(name)
    return tuple(tuple(group) for group in groups.values())
