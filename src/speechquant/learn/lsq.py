"""Learned step sizes: rounding with gradients for what is rounded and for the step (Esser et al. 2020)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from speechquant.simulation import fake_quantize

if TYPE_CHECKING:
    from speechquant.numerics import QuantSpec

__all__ = ["StepSize", "gradient_scale", "lsq"]


class _LSQ(torch.autograd.Function):
    """`clamp(round(x / s), qmin, qmax) * s`, with eq. 3 and 5 of the paper as gradients.

    Values exactly at a limit count as inside; the paper has them outside.
    """

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd passes by position
        ctx: Any, x: torch.Tensor, scale: torch.Tensor, qmin: int, qmax: int, share: float
    ) -> torch.Tensor:
        ctx.save_for_backward(x, scale)
        ctx.limits, ctx.share = (qmin, qmax), share
        return torch.div(x, scale).round_().clamp_(qmin, qmax).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None, None]:
        x, scale = ctx.saved_tensors
        qmin, qmax = ctx.limits
        steps = x / scale
        inside = (steps >= qmin) & (steps <= qmax)
        # Inside: round(x / s) - x / s; outside the limit itself, which clamping gives for both terms.
        slope = steps.round().clamp_(qmin, qmax).sub_(steps * inside)
        toward_scale = (grad[0] * slope).sum_to_size(scale.shape) * ctx.share
        return grad[0] * inside, toward_scale, None, None, None


def lsq(x: torch.Tensor, scale: torch.Tensor, spec: QuantSpec, *, share: float = 1.0) -> torch.Tensor:
    """Quantize and dequantize with gradients for `x` and for `scale`.

    Args:
        x: any shape, float32.
        scale: positive, of a shape that broadcasts to that of `x`.
        spec: bits and range.
        share: multiplies the gradient of the scale, see `gradient_scale`.
    """
    result: torch.Tensor = _LSQ.apply(x, scale, spec.qmin, spec.qmax, share)  # type: ignore[no-untyped-call]
    return result


def gradient_scale(values: int, spec: QuantSpec) -> float:
    """1 / sqrt(N * qmax) for a step that `values` values share (section 2.2)."""
    return 1 / math.sqrt(max(values, 1) * spec.qmax)


class StepSize(nn.Module):
    """The step of one tensor, fixed or learned.

    A learned step is `start * exp(shift)`: its logarithm is what the optimizer sees, as in TQT (Jain et al.
    2020, section 3.3), so that it stays positive and a learning rate means the same relative change for steps
    of all sizes; Adam would otherwise move a small step by a multiple of itself. This is a deviation from
    LSQ, whose gradients are kept.

    Args:
        scale: to start from, (), (channels,) or (channels, groups).
        spec: bits, granularity and range.
        learned: whether the step is trained.
        weight: whether its tensors are weights, with channels first. The features that share a step are then
            those of one channel, else those of one utterance.
    """

    start: torch.Tensor

    def __init__(self, scale: torch.Tensor, spec: QuantSpec, *, learned: bool, weight: bool) -> None:
        super().__init__()
        self.spec = spec
        self._weight = weight
        self.register_buffer("start", scale.detach().float().clone())
        self.shift = nn.Parameter(torch.zeros_like(self.start), requires_grad=learned)

    @property
    def scale(self) -> torch.Tensor:
        """The present step, of the shape of the first one; files keep steps of groups as float16 values."""
        scale = self.start * torch.exp(self.shift)
        if self.spec.group_size is None:
            return scale
        # The sum is the float16 value itself: the difference of neighbours is exact.
        return scale + (scale.detach().half().float() - scale.detach())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Quantize `x` in float32: a weight (channels, ...), or an activation (batch, ...); not in groups."""
        scale = self.scale
        if scale.ndim:
            scale = scale.view(-1, *[1] * (x.ndim - 1))
        values = x[0].numel() if scale.ndim or not self._weight else x.numel()
        return self._quantize(x, scale, values)

    def rows(self, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Quantize the rows `ids` (...) of a matrix (channels, width) alone: (..., width)."""
        scale = self.scale[ids][..., None] if self.start.ndim else self.scale
        values = x.shape[-1] if scale.ndim else x.numel()
        return self._quantize(functional.embedding(ids, x), scale, values)

    def _quantize(self, x: torch.Tensor, scale: torch.Tensor, values: int) -> torch.Tensor:
        if self.shift.requires_grad:
            return lsq(x.float(), scale, self.spec, share=gradient_scale(values, self.spec))
        return fake_quantize(x.float(), scale, self.spec)
