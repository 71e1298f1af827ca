"""Quantize and dequantize in float, to the bit what integer engines compute, with a gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from speechquant.numerics import QuantSpec

__all__ = ["fake_quantize"]


class _StraightThrough(torch.autograd.Function):
    """Rounding passes the gradient unchanged, clamping stops it (Bengio 2013, section 4)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: torch.Tensor, qmin: int, qmax: int) -> torch.Tensor:
        levels = torch.round(x / scale)
        ctx.save_for_backward((levels >= qmin) & (levels <= qmax))
        return levels.clamp_(qmin, qmax).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *grad: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (inside,) = ctx.saved_tensors
        return grad[0] * inside, None, None, None


def fake_quantize(
    x: torch.Tensor, scale: torch.Tensor, spec: QuantSpec, *, axis: int | None = None
) -> torch.Tensor:
    """`clamp(round(x / scale), qmin, qmax) * scale` (StableQuant eq. 1, z = 0), rounding half to even.

    The division is a real one, not a product with the reciprocal: ONNX QuantizeLinear divides, and the two
    differ at half-way values.

    Args:
        x: any shape, float32.
        scale: float32, shape (), (channels,), or (channels, groups) for a spec in groups.
        spec: bits, range and size of groups.
        axis: the channel axis of `x` when `scale` has one per channel; groups take axis 0.

    Returns:
        Same shape as `x`. The gradient passes straight through where nothing was clamped.
    """
    if spec.group_size is not None:
        inputs = x[0].numel()
        each = scale.repeat_interleave(min(spec.group_size, inputs), dim=1)[:, :inputs]
        scale = each.reshape(x.shape)
    elif axis is not None and scale.ndim:
        shape = [1] * x.ndim
        shape[axis] = -1
        scale = scale.view(shape)
    if torch.is_grad_enabled() and x.requires_grad:
        result: torch.Tensor = _StraightThrough.apply(x, scale, spec.qmin, spec.qmax)  # type: ignore[no-untyped-call]
        return result
    return torch.div(x, scale).round_().clamp_(spec.qmin, spec.qmax).mul_(scale)
