"""Put fake quantizers into a model for a while, and take them out again whatever happens."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch

from speechquant.simulation.fake_quant import fake_quantize

if TYPE_CHECKING:
    from collections.abc import Iterator

    from speechquant.models import SpeechModel
    from speechquant.numerics import Entry, ScaleTable

__all__ = ["quantized"]


@contextmanager
def quantized(model: SpeechModel, table: ScaleTable) -> Iterator[SpeechModel]:
    """Simulate `table` on `model` inside the block.

    Weights are replaced by their quantized values once; inputs are quantized on every call by hooks. On exit,
    also after an exception, the very same weight tensors are back and all hooks are gone.
    """
    with ExitStack() as stack:
        for entry in table:
            operator = model.operator(entry.site.module)
            if entry.site.role == "weight":
                stack.enter_context(_quantized_weight(operator, entry))
            else:
                stack.enter_context(_quantized_input(operator, entry))
        yield model


@contextmanager
def _quantized_weight(operator: torch.nn.Module, entry: Entry) -> Iterator[None]:
    parameter = operator.get_parameter("weight")
    original = parameter.data
    scale = torch.from_numpy(entry.scale).to(original.device)
    with torch.no_grad():
        parameter.data = fake_quantize(original, scale, entry.spec, axis=0)
    try:
        yield
    finally:
        parameter.data = original


@contextmanager
def _quantized_input(operator: torch.nn.Module, entry: Entry) -> Iterator[None]:
    device = next(operator.parameters()).device
    scale = torch.from_numpy(entry.scale).to(device)

    def quantize(_module: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (fake_quantize(inputs[0], scale, entry.spec), *inputs[1:])

    handle = operator.register_forward_pre_hook(quantize)
    try:
        yield
    finally:
        handle.remove()
