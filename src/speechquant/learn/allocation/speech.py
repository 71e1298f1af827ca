"""The float model on speech: its output distribution, and what it becomes when one matrix is changed."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from speechquant.errors import DataError
from speechquant.learn.answering import answering
from speechquant.learn.rounding.replay import passages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from speechquant.learn.rounding.replay import Passage
    from speechquant.models import SpeechModel

__all__ = ["Speech"]

_BYTES = 1 << 30


class Speech:
    """Utterances with the output of the float model, which is kept as it was when this was made.

    A decoder is fed the tokens that the float model writes.

    Args:
        model: the float model.
        waves: each of shape (time,) at the model's rate.

    Raises:
        DataError: there is no speech.
    """

    def __init__(self, model: SpeechModel, waves: Sequence[NDArray[np.float32]]) -> None:
        if not len(waves):
            raise DataError("sensitivities need speech; give some audio")
        self.model = model
        self.passages = passages(model, waves)
        self._prefix = _Prefix(model, len(self.passages))
        self._float = []
        with torch.no_grad():
            for index in range(len(self.passages)):
                with self._prefix.recording(index):
                    self._float.append(_log_softmax(self.logits(index)))
        self.positions = sum(len(said) for said in self._float)
        """Frames or tokens of all utterances."""

    def __len__(self) -> int:
        return len(self.passages)

    def logits(self, index: int) -> torch.Tensor:
        """What the network as it stands says of one utterance, (positions, vocabulary)."""
        return _run(self.model.module, self.passages[index])

    def divergence(self, index: int, logits: torch.Tensor) -> torch.Tensor:
        """KL(float || logits), summed over the positions of an utterance."""
        said = _log_softmax(logits)
        return functional.kl_div(said, self._float[index], reduction="sum", log_target=True)

    @torch.no_grad()
    def divergence_with(self, module: str, weight: torch.Tensor) -> float:
        """KL(float || with another weight of one operator) in nats per position."""
        parameter = self.model.operator(module).get_parameter("weight")
        original = parameter.data
        total = 0.0
        try:
            parameter.data = weight.to(original.device)
            for index in range(len(self)):
                with self._prefix.skipped(index, module):
                    total += float(self.divergence(index, self.logits(index)))
        finally:
            parameter.data = original
        return max(total, 0.0) / self.positions

    @contextmanager
    def gradients(self, modules: Sequence[str]) -> Iterator[dict[str, nn.Parameter]]:
        """The weights of operators by module, with gradients inside the block, also second ones."""
        weights = {name: self.model.operator(name).get_parameter("weight") for name in modules}
        before = {name: weight.requires_grad for name, weight in weights.items()}
        # The fused kernels of attention have no second derivative.
        with torch.enable_grad(), nn.attention.sdpa_kernel(nn.attention.SDPBackend.MATH):
            try:
                for weight in weights.values():
                    weight.requires_grad = True
                yield weights
            finally:
                for name, weight in weights.items():
                    weight.requires_grad = before[name]


def _log_softmax(logits: torch.Tensor) -> torch.Tensor:
    # In float32 the divergence of 8 bits drowns in the rounding of its terms, and may come out below 0.
    return functional.log_softmax(logits.double(), dim=-1)


def _run(network: nn.Module, passage: Passage) -> torch.Tensor:
    if passage.tokens is None:
        output = network(passage.features)
    else:
        output = network(passage.features, decoder_input_ids=passage.tokens, use_cache=False)
    logits: torch.Tensor = output.logits[0].float()
    return logits


class _Prefix:
    """Outputs of blocks in the float model, so that what lies before a changed operator is not computed again.

    Blocks are the members of an `nn.ModuleList`; each is called once per pass, and hands its output to the next.
    Outputs that do not fit a gigabyte in all (those of the first convolutions) are not kept.
    """

    def __init__(self, model: SpeechModel, passes: int) -> None:
        self._model = model
        self._stacks = [list(part) for part in model.module.modules() if isinstance(part, nn.ModuleList)]
        self._most = _BYTES // max(1, passes * sum(map(len, self._stacks)))
        self._kept: dict[tuple[int, int, int], Any] = {}
        self._before: dict[str, frozenset[tuple[int, int]]] = {}
        self._shared = _shared(model)

    @contextmanager
    def recording(self, utterance: int) -> Iterator[None]:
        """Keep what a pass of the float model puts out, and what was finished before each operator was called."""
        finished: set[tuple[int, int]] = set()

        def after(place: tuple[int, int], output: Any) -> None:
            finished.add(place)
            parts = [
                part for part in (output if isinstance(output, tuple) else (output,)) if part is not None
            ]
            known = all(isinstance(part, torch.Tensor) for part in parts)
            if known and sum(part.nbytes for part in parts) <= self._most:
                self._kept[utterance, *place] = output

        def before(module: str) -> None:
            self._before.setdefault(module, frozenset(finished))

        with ExitStack() as stack:
            for number, blocks in enumerate(self._stacks):
                for index, block in enumerate(blocks):
                    hook = partial(_with_output, after, (number, index))
                    stack.callback(block.register_forward_hook(hook).remove)
            for site in self._model.sites():
                operator = self._model.operator(site.module)
                call = partial(_with_nothing, before, site.module)
                stack.callback(operator.register_forward_pre_hook(call).remove)
            yield

    @contextmanager
    def skipped(self, utterance: int, module: str) -> Iterator[None]:
        """Blocks that were finished before the operator was called are not computed."""
        done = frozenset() if module in self._shared else self._before.get(module, frozenset())
        with ExitStack() as stack:
            for number, blocks in enumerate(self._stacks):
                known = [i for n, i in done if n == number and (utterance, n, i) in self._kept]
                # Only the output of the last is read by what comes behind the stack, or by the next block.
                for block in blocks[: max(known, default=-1) + 1]:
                    stack.enter_context(answering(block, self._kept[utterance, number, max(known)]))
            yield


def _with_output(tell: Callable[[tuple[int, int], Any], None], place: tuple[int, int], *call: Any) -> None:
    """A forward hook, whose last argument is the output."""
    tell(place, call[-1])


def _with_nothing(tell: Callable[[str], None], name: str, *_call: Any) -> None:
    tell(name)


def _shared(model: SpeechModel) -> frozenset[str]:
    """Operators whose weight other parts read too, such as an embedding: they may come first."""
    owners: dict[int, int] = {}
    for part in model.module.modules():
        for parameter in part.parameters(recurse=False):
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    modules = {site.module for site in model.sites()}
    return frozenset(name for name in modules if owners[id(model.operator(name).get_parameter("weight"))] > 1)
