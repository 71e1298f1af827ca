"""Operators that quantize while they learn: put into a model for a while, and taken out again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from speechquant.models import SpeechModel
    from speechquant.numerics import ScaleTable

__all__ = ["FakeQuantizer", "FakeQuantizers"]


class FakeQuantizer(Protocol):
    """Quantizes and dequantizes one tensor, with gradients."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """A weight (channels, ...), or an activation (batch, ...)."""
        ...

    def rows(self, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """The rows `ids` (...) of a matrix (channels, width) alone: (..., width)."""
        ...


class FakeQuantizers(nn.Module, ABC):
    """The quantizers of a model, for training; a subclass says which site has which.

    A weight that an embedding shares with the output layer is quantized in both places, as it is in the
    artifact.

    Args:
        model: whose operators get quantizers. Its network is not changed before `installed`.
        operators: paths of the operators with a quantizer.
    """

    def __init__(self, model: SpeechModel, operators: Iterable[str]) -> None:
        super().__init__()
        self._model = (model,)
        self._operators = tuple(dict.fromkeys(operators))
        self._active = True
        # Within an update: by quantizer, what it made of its weight, and where batches leave their gradients.
        self._held: dict[int, tuple[torch.Tensor, torch.Tensor]] | None = None

    @abstractmethod
    def quantizer(self, site: str) -> FakeQuantizer | None:
        """The quantizer of a site by name, None where it stays in float."""

    @abstractmethod
    def table(self) -> ScaleTable:
        """The scale table with the steps as they are now."""

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Let the operators of the model quantize inside the block; afterwards they are as they were."""
        (model,) = self._model
        changed: list[nn.Module] = []
        try:
            for name in self._operators:
                operator = model.operator(name)
                inputs, weights = self.quantizer(f"{name}:input"), self.quantizer(f"{name}:weight")
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

    @contextmanager
    def once(self) -> Iterator[None]:
        """Quantize every weight once for the block, however many batches run forward and backward in it.

        Gradients of the batches add up at the quantized weight, and the end of the block takes the sum to master
        and step. That is the gradient of the sum, as it is without the block but for the order of additions. Rows
        of a shared embedding are still quantized batch by batch.
        """
        # Before any layer runs: within one that gradient checkpointing runs again, the graph would be thrown away.
        held = self._held = dict(self._quantized())
        try:
            yield
        finally:
            self._held = None
        for made, leaf in held.values():
            if leaf.grad is not None:
                torch.autograd.backward(made, leaf.grad)
                leaf.grad = None

    @staticmethod
    def _replace(module: nn.Module, forward: Any) -> None:
        # An attribute of the instance hides the method; hooks, names and parameters stay as they are.
        module.forward = forward

    def _operate(
        self,
        operator: nn.Module,
        inputs: FakeQuantizer | None,
        weights: FakeQuantizer | None,
        x: torch.Tensor,
    ) -> torch.Tensor:
        if not self._active:
            return cast("torch.Tensor", type(operator).forward(operator, x))
        x = x if inputs is None else inputs(x)
        master = operator.get_parameter("weight")
        weight = master if weights is None else self._present(weights, master)
        bias = cast("torch.Tensor | None", operator.bias)
        if isinstance(operator, nn.Conv1d):
            convolve: Any = operator._conv_forward  # noqa: SLF001 - forward with another weight
            return cast("torch.Tensor", convolve(x, weight, bias))
        return functional.linear(x, weight, bias)

    def _quantized(self) -> Iterator[tuple[int, tuple[torch.Tensor, torch.Tensor]]]:
        (model,) = self._model
        for name in self._operators:
            weights = self.quantizer(f"{name}:weight")
            if weights is not None:
                made = weights(model.operator(name).get_parameter("weight"))
                yield id(weights), (made, made.detach().requires_grad_())

    def _present(self, weights: FakeQuantizer, master: torch.Tensor) -> torch.Tensor:
        if self._held is None or not torch.is_grad_enabled():
            return weights(master)
        return self._held[id(weights)][1]

    def _look_up(self, table: nn.Embedding, weights: FakeQuantizer, ids: torch.Tensor) -> torch.Tensor:
        if not self._active:
            return nn.Embedding.forward(table, ids)
        # The rows that are read, not the whole table, which is the largest weight of some models.
        return weights.rows(table.weight, ids)


def _sharing(network: nn.Module, operator: nn.Module) -> list[nn.Embedding]:
    """The embeddings whose table is the weight of an operator."""
    weight = operator.get_parameter("weight")
    return [part for part in network.modules() if isinstance(part, nn.Embedding) and part.weight is weight]
