"""Passes that start behind the blocks which are finished, so that the cost grows with the depth, not its square."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from speechquant.learn.answering import answering

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from speechquant.models import SpeechModel

__all__ = ["Shortcuts"]

_BYTES = 1 << 31


class Shortcuts:
    """What the last block that a pass went through put out, for every stack of blocks and every pass.

    A pass stops at the operator that is rounded next, and everything before that is final. So a block that a
    pass went through will put out the same in every later pass over the same utterance: it, and the blocks
    before it in its stack (an `nn.ModuleList`), need not be computed again. The same holds of a convolution
    outside of all stacks, which is a stack of its own here. Each block must be called once per pass, as in all
    families. Outputs that are too large to be kept are computed again.
    """

    def __init__(self, model: SpeechModel, passes: int) -> None:
        """Keep at most two gigabytes for so many different passes."""
        parts = list(model.module.modules())
        stacks = [list(part) for part in parts if isinstance(part, nn.ModuleList)]
        inside = {part for blocks in stacks for block in blocks for part in block.modules()}
        alone: list[list[nn.Module]] = [
            [part] for part in parts if isinstance(part, nn.Conv1d) and part not in inside
        ]
        self._stacks = [*stacks, *alone]
        self._most = _BYTES // max(1, passes * len(self._stacks))
        self._kept: dict[tuple[int, Hashable], tuple[int, Any]] = {}

    @contextmanager
    def taken(self, key: Hashable) -> Iterator[None]:
        """Passes inside the block skip what an earlier one under the same key went through."""
        with ExitStack() as stack:
            for number, blocks in enumerate(self._stacks):
                last, output = self._kept.get((number, key), (-1, None))
                for index, block in enumerate(blocks):
                    if index <= last:
                        stack.enter_context(answering(block, output))
                    else:
                        stack.callback(self._record(block, (number, key), index))
            yield

    def _record(self, block: nn.Module, place: tuple[int, Hashable], index: int) -> Any:
        def keep(_module: nn.Module, _inputs: tuple[Any, ...], output: Any) -> None:
            tensors = [
                part for part in (output if isinstance(output, tuple) else (output,)) if part is not None
            ]
            known = all(isinstance(part, torch.Tensor) for part in tensors)
            if known and sum(part.nbytes for part in tensors) <= self._most:
                self._kept[place] = (index, output)

        return block.register_forward_hook(keep).remove
