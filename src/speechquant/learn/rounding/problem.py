"""The rounding of one operator as a quadratic problem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["Problem"]


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Find integers q such that s q x' is near W x (Nagel et al. 2020, eq. 25, without activation function).

    x are the inputs of the operator in the float model, x' those in the model quantized so far. With
    D = s q - W and e = W (x' - x) the error is the mean of (D x' + e)^2 over the rows, which is quadratic in
    D: its three coefficients stand for all rows of the speech, and nothing large cancels in them.

    Shapes: `groups` are those of a convolution (1 for a Linear), `outputs` and `inputs` are per group, and an
    input is a channel at one position of the kernel. All tensors are float32.

    Attributes:
        weight: W, (groups, outputs, inputs).
        scale: s, the same shape.
        qmin: smallest integer.
        qmax: largest integer.
        gram: mean of x' x'^T, (groups, inputs, inputs).
        drift: mean of e x'^T, (groups, outputs, inputs).
        offset: mean of e^2, (groups, outputs): the error that unquantized weights would have.
        energy: mean of (W x)^2, (groups, outputs).
    """

    weight: torch.Tensor
    scale: torch.Tensor
    qmin: int
    qmax: int
    gram: torch.Tensor
    drift: torch.Tensor
    offset: torch.Tensor
    energy: torch.Tensor

    def nearest(self) -> torch.Tensor:
        """The integers of rounding to nearest, half to even, as float32 (groups, outputs, inputs)."""
        return (self.weight / self.scale).round().clamp(self.qmin, self.qmax)

    def error(self, integers: torch.Tensor) -> torch.Tensor:
        """The mean squared error of every output channel, (groups, outputs)."""
        change = integers * self.scale - self.weight
        return self.offset + (change * (change @ self.gram + 2 * self.drift)).sum(-1)
