"""The network in training, with all that its loss needs, as one module that processes can share."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from speechquant.learn.training.objective import divergence

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from speechquant.learn.installed import FakeQuantizers
    from speechquant.learn.training.data import Batch
    from speechquant.learn.training.objective import Task

__all__ = ["LossWeights", "Student"]


@dataclass(frozen=True, slots=True)
class LossWeights:
    """How much each part of the loss counts, and the temperature of the distillation."""

    task: float = 1.0
    distillation: float = 0.0
    temperature: float = 1.0


class Student(nn.Module):
    """Batches -> parts of the loss, each summed over the utterances of the batch.

    Args:
        network: what is trained.
        task: how it is run, and its own loss.
        weights: of the parts.
        teacher: the frozen float network, where the distillation counts.
        extra: the quantizers in the network, whose step sizes are trained.
        bf16: compute matrix products in bfloat16.
        penalty: a further part of the loss that no utterance decides, such as the size of the model, ().
    """

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        *,
        weights: LossWeights | None = None,
        teacher: nn.Module | None = None,
        extra: FakeQuantizers | None = None,
        bf16: bool = False,
        penalty: Callable[[], torch.Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.extra = extra
        self._task = task
        self._weights = weights or LossWeights()
        # In a tuple it is no part of this module: not trained, not saved, never in training mode.
        self._teacher = (teacher,)
        self._bf16 = bf16
        self._penalty = penalty

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of what `forward` returns: `loss`, the weighted sum that is made small, and its parts."""
        counted = (name for name in ("task", "distillation") if getattr(self._weights, name))
        return ("loss", *counted, *(["penalty"] if self._penalty is not None else []))

    def once(self) -> AbstractContextManager[None]:
        """Quantize weights once for all batches of an update, see `FakeQuantizers.once`."""
        return nullcontext() if self.extra is None else self.extra.once()

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The `parts`, each a number; gradients flow from `loss` alone."""
        weights, (teacher,) = self._weights, self._teacher
        with torch.autocast(batch.waves.device.type, torch.bfloat16, enabled=self._bf16):
            outputs = self._task.outputs(self.network, batch)
            parts = {}
            if weights.task:
                parts["task"] = self._task.loss(outputs, batch).sum()
            if weights.distillation:
                assert teacher is not None
                with torch.no_grad():
                    meant = self._task.outputs(teacher, batch)
                parts["distillation"] = divergence(outputs, meant, temperature=weights.temperature).sum()
        total = torch.stack([getattr(weights, name) * part for name, part in parts.items()]).sum()
        if self._penalty is not None:
            # Every utterance brings its share, so that the sum over an update has it once.
            parts["penalty"] = len(batch) * self._penalty()
            total = total + parts["penalty"]
        return {"loss": total, **{name: part.detach() for name, part in parts.items()}}
