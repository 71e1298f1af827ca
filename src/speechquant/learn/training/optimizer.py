"""AdamW with a learning rate of its own for step sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import nn

__all__ = ["PEAK", "optimizer_of", "set_learning_rates"]

PEAK = "peak"
_VECTOR = 1


def optimizer_of(
    network: nn.Module,
    extra: nn.Module | None = None,
    choice: nn.Module | None = None,
    *,
    learning_rate: float,
    extra_learning_rate: float = 0.0,
    choice_learning_rate: float = 0.0,
    weight_decay: float = 0.0,
) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) for a network and for further parameters.

    Weight decay pulls at matrices and kernels alone: norms and biases are no weights to be kept small, and
    step sizes even less.

    Args:
        network: its parameters that require gradients are trained.
        extra: further parameters, never decayed.
        choice: those of them that choose, such as logits, with a rate of their own.
        learning_rate: peak rate of the network.
        extra_learning_rate: peak rate of `extra`.
        choice_learning_rate: peak rate of `choice`.
        weight_decay: of the matrices.
    """
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {
            "params": [p for p in trained if p.ndim > _VECTOR],
            PEAK: learning_rate,
            "weight_decay": weight_decay,
        },
        {"params": [p for p in trained if p.ndim <= _VECTOR], PEAK: learning_rate, "weight_decay": 0.0},
    ]
    chosen = [] if choice is None else list(choice.parameters())
    groups.append({"params": chosen, PEAK: choice_learning_rate, "weight_decay": 0.0})
    if extra is not None:
        known = {id(parameter) for parameter in chosen}
        more = [p for p in extra.parameters() if p.requires_grad and id(p) not in known]
        groups.append({"params": more, PEAK: extra_learning_rate, "weight_decay": 0.0})
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=learning_rate)


def set_learning_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Give every group its peak rate times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group[PEAK] * factor
