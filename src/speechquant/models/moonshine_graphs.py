"""Moonshine in the form in which it is run: an encoder pass, then one decoder step per token.

Both modules call the operators of the transformers network, so hooks and quantizers on those take part. The
arithmetic is that of transformers' `MoonshineForConditionalGeneration` (Jeffries et al. 2024, arXiv
2410.15608) without its padding of heads to a multiple of 8, which changes nothing in the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.nn import functional

from speechquant.models.rotary import Rotation, rotate, rotation

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MoonshineEncode", "MoonshineStep"]


def _heads(states: torch.Tensor, attention: Any) -> torch.Tensor:
    """(batch, time, channels) -> (batch, heads, time, channels per head)."""
    batch, time, _ = states.shape
    return states.view(batch, time, -1, attention.head_dim).transpose(1, 2)


def _attend(
    attention: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attention of heads (batch, heads, time, channels per head), then the output projection."""
    mixed = functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=attention.scaling
    )
    return cast("torch.Tensor", attention.o_proj(mixed.transpose(1, 2).flatten(2)))


class MoonshineEncode(nn.Module):
    """One wave -> keys and values of every cross-attention, which do not change while decoding."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.encoder = network.model.encoder
        self.decoder_layers = network.model.decoder.layers

    def forward(self, wave: torch.Tensor) -> list[torch.Tensor]:
        """Encode a wave of shape (1, samples).

        Returns:
            Key and value of decoder layer 0, 1, ...: twice as many tensors as layers, each of shape
            (1, heads, frames, channels per head).
        """
        states = self._encode(wave)
        caches: list[torch.Tensor] = []
        for layer in self.decoder_layers:
            attention: Any = layer.encoder_attn
            caches += (
                _heads(attention.k_proj(states), attention),
                _heads(attention.v_proj(states), attention),
            )
        return caches

    def _encode(self, wave: torch.Tensor) -> torch.Tensor:
        encoder: Any = self.encoder
        states = encoder.groupnorm(torch.tanh(encoder.conv1(wave[:, None])))
        states = functional.gelu(encoder.conv2(states))
        states = functional.gelu(encoder.conv3(states)).transpose(1, 2)
        turn = rotation(encoder.rotary_emb, torch.arange(states.shape[1], device=states.device))
        for layer in encoder.layers:
            attention = layer.self_attn
            normed = layer.input_layernorm(states)
            query = rotate(_heads(attention.q_proj(normed), attention), turn)
            key = rotate(_heads(attention.k_proj(normed), attention), turn)
            value = _heads(attention.v_proj(normed), attention)
            states = states + _attend(attention, query, key, value)
            states = states + layer.mlp(layer.post_attention_layernorm(states))
        return cast("torch.Tensor", encoder.layer_norm(states))


class MoonshineStep(nn.Module):
    """One token per row -> logits of the next one, and the grown caches."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.decoder = network.model.decoder
        self.proj_out = network.proj_out

    def forward(
        self,
        token: torch.Tensor,
        position: torch.Tensor,
        cross_mask: torch.Tensor,
        self_caches: Sequence[torch.Tensor],
        cross_caches: Sequence[torch.Tensor],
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Feed one token per row.

        Args:
            token: ids, (batch, 1).
            position: number of tokens fed before, (1,), the same for all rows.
            cross_mask: which encoder frames are real, bool, (batch, frames).
            self_caches: key and value of every layer, each (batch, heads, position, channels per head).
            cross_caches: what `MoonshineEncode` returned, rows stacked and padded to the longest.

        Returns:
            Logits (batch, vocabulary), and `self_caches` one position longer.
        """
        decoder: Any = self.decoder
        turn = rotation(decoder.rotary_emb, position)
        mask = cross_mask[:, None, None, :]
        states = decoder.embed_tokens(token)
        grown: list[torch.Tensor] = []
        for index, layer in enumerate(decoder.layers):
            past = self_caches[2 * index], self_caches[2 * index + 1]
            mixed, *caches = self._self_attention(layer, states, past, turn)
            grown += caches
            states = states + mixed
            attention = layer.encoder_attn
            query = _heads(attention.q_proj(layer.post_attention_layernorm(states)), attention)
            key, value = cross_caches[2 * index], cross_caches[2 * index + 1]
            states = states + _attend(attention, query, key, value, mask)
            states = states + layer.mlp(layer.final_layernorm(states))
        logits: torch.Tensor = self.proj_out(decoder.norm(states))
        return logits[:, 0], grown

    @staticmethod
    def _self_attention(
        layer: Any, states: torch.Tensor, past: tuple[torch.Tensor, torch.Tensor], turn: Rotation
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Causal attention of the newest position over all: its output, and the keys and values so far."""
        attention = layer.self_attn
        normed = layer.input_layernorm(states)
        query = rotate(_heads(attention.q_proj(normed), attention), turn)
        key = torch.cat((past[0], rotate(_heads(attention.k_proj(normed), attention), turn)), dim=2)
        value = torch.cat((past[1], _heads(attention.v_proj(normed), attention)), dim=2)
        return _attend(attention, query, key, value), key, value
