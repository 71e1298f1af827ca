"""Quantization-aware training: fake quantizers that stay in the network while it learns."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from speechquant.errors import ModelError
from speechquant.learn.installed import FakeQuantizers
from speechquant.learn.lsq import StepSize
from speechquant.numerics import Entry, ScaleTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from speechquant.models import SpeechModel

__all__ = ["Quantizers", "shared_inputs"]


class Quantizers(FakeQuantizers):
    """The quantizers of all sites of a scale table, for training.

    Inputs that are one tensor, such as those of query, key and value projections, share a step as long as
    they began with the same one: engines quantize such a tensor once.

    Args:
        model: whose operators get quantizers.
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
        super().__init__(model, (entry.site.module for entry in table))
        self._start = table
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

    def quantizer(self, site: str) -> StepSize | None:
        """The step of a site by name, None where it stays in float."""
        index = self._index.get(site)
        return None if index is None else cast("StepSize", self.steps[index])

    def table(self) -> ScaleTable:
        """The scale table with the steps as they are now."""
        entries = {}
        for name, start in self._start.entries.items():
            step = self.quantizer(name)
            assert step is not None
            scale = step.scale.detach().cpu().numpy().reshape(start.scale.shape)
            entries[name] = Entry(start.site, start.spec, scale)
        return ScaleTable(entries)


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
