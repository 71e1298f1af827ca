"""A weight as a mixture of itself at several numbers of bits: one float master, no candidate kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import nn
from torch.nn import functional

from speechquant.learn.lsq import StepSize, gradient_scale

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from speechquant.numerics import Entry

__all__ = ["Shares", "WeightMixture", "mixture"]


class Shares(Protocol):
    """Says which candidates count at present, and how much."""

    def __call__(self) -> tuple[tuple[int, ...], torch.Tensor]:
        """Places of the candidates, and their shares (candidates,), which sum to 1."""
        ...


class _Mixture(torch.autograd.Function):
    """`sum_n shares[n] * clamp(round(x / s_n), -q_n, q_n) * s_n`.

    Candidates are made again in the backward pass, so that nothing of the size of the weight is kept but the
    weight itself, however many candidates there are.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        shares: torch.Tensor,
        limits: Sequence[int],
        factors: Sequence[float] | None,
        *scales: torch.Tensor,
    ) -> torch.Tensor:
        ctx.save_for_backward(x, shares, *scales)
        ctx.limits, ctx.factors = limits, factors
        total = None
        for share, limit, scale in zip(shares, limits, scales, strict=True):
            part = torch.div(x, scale).round_().clamp_(-limit, limit).mul_(scale)
            if len(limits) == 1:
                return part
            total = part.mul_(share) if total is None else total.addcmul_(part, share)
        assert total is not None
        return total

    @staticmethod
    def backward(ctx: Any, *grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, shares, *scales = ctx.saved_tensors
        (incoming,) = grad
        passed, toward_shares, toward_scales = None, [], []
        for place, (limit, scale) in enumerate(zip(ctx.limits, scales, strict=True)):
            share = shares[place]
            steps = x / scale
            levels = steps.round()
            # A learned step follows LSQ, a fixed one `fake_quantize`: what rounds to a limit is inside there.
            inside = (levels if ctx.factors is None else steps).abs() <= limit
            levels.clamp_(-limit, limit)
            if len(scales) > 1:
                toward_shares.append((incoming * levels * scale).sum())
            if ctx.factors is not None:
                slope = levels.sub_(steps.mul_(inside)).mul_(incoming)
                toward_scales.append(slope.sum_to_size(scale.shape) * (share * ctx.factors[place]))
            weighted = inside * share
            passed = weighted if passed is None else passed.add_(weighted)
        assert passed is not None
        return (
            passed.mul_(incoming),
            torch.stack(toward_shares) if toward_shares else None,
            None,
            None,
            *(toward_scales or [None] * len(scales)),
        )


def mixture(
    x: torch.Tensor,
    shares: torch.Tensor,
    scales: Sequence[torch.Tensor],
    *,
    limits: Sequence[int],
    factors: Sequence[float] | None = None,
) -> torch.Tensor:
    """Quantize `x` in several ways and mix the results.

    Args:
        x: any shape, float32.
        shares: of every candidate, (candidates,); a single candidate counts wholly.
        scales: of every candidate, of shapes that broadcast to that of `x`.
        limits: the largest integer of every candidate; the smallest is its negative.
        factors: multiply the gradients of the scales (`gradient_scale`); None where scales are fixed.

    Returns:
        The shape of `x`, with gradients for `x` (straight through where nothing was clamped), for `shares`,
        and for `scales` as in LSQ (Esser et al. 2020, eq. 3).
    """
    result: torch.Tensor = _Mixture.apply(x, shares, tuple(limits), factors, *scales)  # type: ignore[no-untyped-call]
    return result


class WeightMixture(nn.Module):
    """The quantizer of one weight that mixes its candidates.

    Args:
        entries: of a scale table, by bits; their ranges are narrow.
        learned: whether scales are trained.
        shares: which candidates count, by place in the order of bits; None where there is one alone.
    """

    def __init__(
        self, entries: Mapping[float, Entry], *, learned: bool, shares: Shares | None = None
    ) -> None:
        super().__init__()
        self._entries = {bits: entries[bits] for bits in sorted(entries)}
        if any(not entry.spec.narrow for entry in self._entries.values()):
            raise ValueError("candidates have narrow ranges")
        self._learned = learned
        self._shares = shares
        self.steps = nn.ModuleDict(
            {
                _key(bits): StepSize(
                    torch.from_numpy(entry.scale.copy()), entry.spec, learned=learned, weight=True
                )
                for bits, entry in self._entries.items()
            }
        )

    @property
    def widths(self) -> tuple[float, ...]:
        """Bits of the candidates."""
        return tuple(self._entries)

    def entry(self, bits: float) -> Entry:
        """A candidate with its scale as it is now."""
        start = self._entries[bits]
        scale = self._step(bits).scale.detach().cpu().numpy().reshape(start.scale.shape)
        return type(start)(start.site, start.spec, scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Quantize a weight (channels, ...) in float32."""
        return self._mixed(x.float(), x.numel(), lambda scale: scale)

    def rows(self, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Quantize the rows `ids` (...) of a matrix (channels, width) alone: (..., width)."""
        flat = ids.flatten()
        found = self._mixed(
            functional.embedding(flat, x).float(),
            x.numel(),
            lambda scale: scale[flat] if scale.ndim else scale,
        )
        return found.view(*ids.shape, x.shape[1])

    def _step(self, bits: float) -> StepSize:
        return cast("StepSize", self.steps[_key(bits)])

    def _mixed(
        self, x: torch.Tensor, values: int, part: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """Mix the candidates of `x` (rows, ...), for which `part` takes the scales of a weight of `values`."""
        places, shares = ((0,), x.new_ones(1)) if self._shares is None else self._shares()
        steps = [self._step(self.widths[place]) for place in places]
        form = steps[0].spec
        shaped = _in_groups(x, form.group_size) if form.group_size is not None else x
        share_of = {"tensor": values, "channel": x[0].numel(), "group": form.group_size}[form.granularity]
        assert share_of is not None
        found = mixture(
            shaped,
            shares,
            [_aligned(part(step.scale), shaped.ndim) for step in steps],
            limits=[step.spec.qmax for step in steps],
            factors=[gradient_scale(share_of, step.spec) for step in steps] if self._learned else None,
        )
        return found.flatten(1)[:, : x[0].numel()].reshape(x.shape) if form.group_size is not None else found


def _key(bits: float) -> str:
    """A name for a submodule, which must not contain a point."""
    return f"{bits:g}".replace(".", "_")


def _aligned(scale: torch.Tensor, ndim: int) -> torch.Tensor:
    return scale.view(*scale.shape, *[1] * (ndim - scale.ndim)) if scale.ndim else scale


def _in_groups(x: torch.Tensor, size: int) -> torch.Tensor:
    """(rows, ...) -> (rows, groups, size); a last group that is shorter is filled with zeros, which stay zeros."""
    flat = x.flatten(1)
    return functional.pad(flat, (0, -flat.shape[1] % size)).view(len(flat), -1, size)
