"""WavLM's attention with its projections called as modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional
from transformers.models.wavlm.modeling_wavlm import WavLMAttention

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["ExplicitWavLMAttention", "make_attention_explicit"]


class ExplicitWavLMAttention(WavLMAttention):
    """The same attention, gated relative position bias included, that reads no weight behind a module.

    transformers hands `q_proj.weight` and its siblings to `torch.nn.functional`, so that a hook or quantizer
    on `q_proj` never sees any data.
    """

    def torch_multi_head_self_attention(  # type: ignore[override] # the weights it also returns are unused
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None,
        gated_position_bias: torch.Tensor,
    ) -> tuple[torch.Tensor, None]:
        """Self-attention of states (batch, time, channels) under a bias (batch * heads, time, time)."""
        batch, time, _ = hidden_states.shape

        def heads(projection: nn.Module) -> torch.Tensor:
            split: torch.Tensor = projection(hidden_states).view(batch, time, self.num_heads, self.head_dim)
            return split.transpose(1, 2)

        bias = gated_position_bias.view(batch, self.num_heads, time, time)
        if attention_mask is not None:
            bias = bias.masked_fill(attention_mask.ne(1)[:, None, None, :], float("-inf"))
        mixed = functional.scaled_dot_product_attention(
            heads(self.q_proj), heads(self.k_proj), heads(self.v_proj), attn_mask=bias
        )
        return self.out_proj(mixed.transpose(1, 2).reshape(batch, time, self.embed_dim)), None


def make_attention_explicit(module: nn.Module) -> None:
    """Turn every WavLM attention in a network into the explicit form; parameters and names stay the same."""
    for part in module.modules():
        if type(part) is WavLMAttention:
            part.__class__ = ExplicitWavLMAttention
