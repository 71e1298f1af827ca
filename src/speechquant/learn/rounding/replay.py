"""Calibration speech, run again and again up to one operator, with the decoder fed the same tokens each time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from speechquant.models import SpeechModel

__all__ = ["Passage", "input_of", "passages", "replay"]


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """One utterance: the network's input (1, time), and for a decoder the tokens it is fed, int64 (1, tokens)."""

    features: torch.Tensor
    tokens: torch.Tensor | None = None


class _ReachedError(Exception):
    """The operator that was waited for has been called."""


def passages(model: SpeechModel, waves: Sequence[NDArray[np.float32]]) -> list[Passage]:
    """Prepare waves of shape (time,); a decoder gets the tokens that the model as it stands writes."""
    device = next(model.module.parameters()).device
    features = [model.features(wave).to(device) for wave in waves]
    if model.runtime.task == "ctc":
        return [Passage(one) for one in features]
    # Recognition runs on the CPU.
    model.module.to("cpu")
    try:
        heard = model.recognizer().recognize(waves)
    finally:
        model.module.to(device)
    start = model.runtime.start
    return [
        Passage(one, torch.tensor([[start, *transcript.tokens]], device=device))
        for one, transcript in zip(features, heard, strict=True)
    ]


def replay(model: SpeechModel, passage: Passage) -> None:
    """One forward pass; the decoder sees all its tokens at once."""
    with torch.no_grad():
        if passage.tokens is None:
            model.module(passage.features)
        else:
            model.module(passage.features, decoder_input_ids=passage.tokens, use_cache=False)


def input_of(model: SpeechModel, operator: str, passage: Passage) -> torch.Tensor:
    """What an operator is given by its first call, hooks included; nothing behind it is computed."""
    seen: list[torch.Tensor] = []

    def stop(_module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen.append(inputs[0])
        raise _ReachedError

    handle = model.operator(operator).register_forward_pre_hook(stop)
    try:
        replay(model, passage)
    except _ReachedError:
        pass
    finally:
        handle.remove()
    return seen[0]
