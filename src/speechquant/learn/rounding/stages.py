"""In which order operators are rounded, and which of them read the very same rows."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from speechquant.errors import ModelError
from speechquant.learn.rounding.replay import replay

if TYPE_CHECKING:
    from collections.abc import Hashable

    from speechquant.learn.rounding.replay import Passage
    from speechquant.models import SpeechModel
    from speechquant.numerics import ScaleTable

__all__ = ["Stage", "Windows", "stages"]


@dataclass(frozen=True, slots=True)
class Windows:
    """How a Conv1d or Linear turns its input into the rows that its weight multiplies."""

    groups: int = 1
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    padding: tuple[int, int] = (0, 0)
    channels_first: bool = False

    @classmethod
    def of(cls, operator: nn.Module) -> Windows:
        """Those of a Conv1d or Linear."""
        if not isinstance(operator, nn.Conv1d):
            return cls()
        (kernel,), (stride,), (dilation,) = operator.kernel_size, operator.stride, operator.dilation
        if operator.padding_mode != "zeros":
            raise ModelError(
                f"convolutions that pad with {operator.padding_mode} cannot be rounded by speech"
            )
        if isinstance(operator.padding, str):
            whole = dilation * (kernel - 1) if operator.padding == "same" else 0
            padding = (whole // 2, whole - whole // 2)
        else:
            padding = (operator.padding[0], operator.padding[0])
        return cls(operator.groups, kernel, stride, dilation, padding, channels_first=True)

    def count(self, x: torch.Tensor) -> int:
        """How many rows an input gives: those of a Linear (..., channels), the frames of a Conv1d."""
        if not self.channels_first:
            return x[..., 0].numel()
        room = x.shape[-1] + sum(self.padding) - self.dilation * (self.kernel - 1) - 1
        return x.shape[0] * (room // self.stride + 1)

    def rows(self, x: torch.Tensor, chosen: torch.Tensor, groups: range) -> torch.Tensor:
        """Some of the rows of some of the groups.

        Args:
            x: (..., channels) of a Linear, (1, channels, time) of a Conv1d.
            chosen: int64 (rows,), each below `count`.
            groups: which groups.

        Returns:
            (groups, rows, inputs), inputs as in `weight.view(groups, outputs, inputs)`.
        """
        if not self.channels_first:
            return x.reshape(-1, x.shape[-1])[chosen][None]
        width = x.shape[1] // self.groups
        padded = nn.functional.pad(x[0, groups.start * width : groups.stop * width], self.padding)
        offsets = torch.arange(self.kernel, device=x.device) * self.dilation
        taken = padded[:, chosen[:, None] * self.stride + offsets]
        split = taken.view(len(groups), width, len(chosen), self.kernel)
        return split.transpose(1, 2).reshape(len(groups), len(chosen), width * self.kernel)


@dataclass(frozen=True, slots=True)
class Stage:
    """Operators that read one tensor with one scale and one geometry; rounding one does not touch the others."""

    operators: tuple[str, ...]
    windows: Windows


def stages(model: SpeechModel, table: ScaleTable, passage: Passage) -> tuple[Stage, ...]:
    """The operators whose weights `table` quantizes, in the order in which the network calls them.

    Raises:
        ModelError: the network never calls one of them.
    """
    wanted = [entry.site.module for entry in table if entry.site.role == "weight"]
    found: dict[Hashable, list[str]] = {}
    kept: list[torch.Tensor] = []  # so that no two tensors have one id
    with ExitStack() as stack:
        for name in wanted:

            def note(module: nn.Module, inputs: tuple[torch.Tensor, ...], name: str = name) -> None:
                kept.append(inputs[0])
                key = (id(inputs[0]), Windows.of(module), _quantizer(table, name))
                found.setdefault(key, []).append(name)

            stack.callback(model.operator(name).register_forward_pre_hook(note).remove)
        replay(model, passage)
    called = {name for group in found.values() for name in group}
    for name in wanted:
        if name not in called:
            raise ModelError(f"{name} saw no data; its model family adapter is wrong")
    return tuple(Stage(tuple(names), Windows.of(model.operator(names[0]))) for names in found.values())


def _quantizer(table: ScaleTable, name: str) -> Hashable:
    entry = table.get(f"{name}:input")
    return None if entry is None else (entry.spec, entry.scale.tobytes())
