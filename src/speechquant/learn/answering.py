"""A block whose output is known need not run."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

__all__ = ["answering"]


@contextmanager
def answering(block: nn.Module, output: Any) -> Iterator[None]:
    """The block returns `output` whatever it is given."""
    block.forward = lambda *_args, **_kwargs: output
    try:
        yield
    finally:
        del block.forward
