"""Interleaved rotary position embedding on part of every head (Su et al. 2021, as Moonshine uses it)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Rotation", "rotate", "rotation"]


class Rotation(NamedTuple):
    """Cosine and sine of the angle of every position and channel pair, each of shape (time, pairs)."""

    cosine: torch.Tensor
    sine: torch.Tensor


def rotation(embedding: nn.Module, positions: torch.Tensor) -> Rotation:
    """The rotation at integer `positions` (time,), by the frequencies of a transformers rotary module."""
    frequencies: torch.Tensor = embedding.inv_freq  # type: ignore[assignment]
    angles = positions.to(frequencies.dtype)[:, None] * frequencies[None]
    return Rotation(angles.cos(), angles.sin())


def rotate(states: torch.Tensor, by: Rotation) -> torch.Tensor:
    """Rotate the first 2 * pairs channels of states (batch, heads, time, channels); the others stay."""
    pairs = by.cosine.shape[-1]
    turned, kept = states[..., : 2 * pairs], states[..., 2 * pairs :]
    even, odd = turned[..., 0::2], turned[..., 1::2]
    mixed = torch.stack((even * by.cosine - odd * by.sine, odd * by.cosine + even * by.sine), dim=-1)
    return torch.cat((mixed.flatten(-2), kept), dim=-1)
