"""Gradient checkpointing: less memory in an update for a second forward pass."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from speechquant.models.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["recomputing"]


@contextmanager
def recomputing(network: Any) -> Iterator[None]:
    """Let every layer keep its input alone inside the block; the backward pass runs the layer again (Chen et al. 2016).

    The second run draws the random numbers of the first, so that gradients are the same. Networks in evaluation
    mode are not affected.

    Args:
        network: of transformers, one that `supports_gradient_checkpointing`.
    """
    with warnings.catch_warnings():
        # The name that all supported versions of transformers know is an old one in the newest.
        warnings.simplefilter("ignore", FutureWarning)
        network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    try:
        # It would say that the encoder of an autoregressive model has no cache, which it never has.
        with quiet():
            yield
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            network.gradient_checkpointing_disable()
