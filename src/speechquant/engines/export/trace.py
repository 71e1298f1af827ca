"""From a torch module to an ONNX graph whose weights still know which module they belong to."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from onnx_ir.passes.common import (
    CommonSubexpressionEliminationPass,
    IdentityEliminationPass,
    RemoveUnusedNodesPass,
)
from torch import nn

from speechquant.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx_ir as ir

    from speechquant.engines.export.locate import Kind
    from speechquant.models import ExportPart, SpeechModel

__all__ = ["OPSET", "owners_of", "trace"]

OPSET = 21
"""The lowest opset with GroupNormalization as one operator and 16-bit QuantizeLinear."""


# Tracing takes most of the time of an export; a model is exported several times: in float, with each table.
_TRACES: WeakKeyDictionary[SpeechModel, dict[str, ir.Model]] = WeakKeyDictionary()


def trace(model: SpeechModel, part: ExportPart) -> ir.Model:
    """The graph of one part, with a weight's initializer named after its parameter and nothing folded yet.

    A model is traced once; every call returns a graph of its own, which shares only the weights.

    Raises:
        EngineError: torch cannot export the part.
    """
    known = _TRACES.setdefault(model, {})
    if part.name not in known:
        known[part.name] = _trace(part)
    return known[part.name].clone()


def _trace(part: ExportPart) -> ir.Model:
    try:
        with _quiet(), torch.inference_mode(mode=False), torch.no_grad():
            program = torch.onnx.export(
                part.module,
                part.inputs,
                dynamo=True,
                optimize=False,
                opset_version=OPSET,
                input_names=list(part.input_names),
                output_names=list(part.output_names),
                dynamic_shapes=part.dynamic_shapes,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = str(error).strip().splitlines()[0]
        raise EngineError(f"cannot export the {part.name} part to ONNX: {reason}") from error
    assert program is not None
    model: ir.Model = program.model
    # Readers of one value must read one Value, or they could not share a quantizer.
    for tidy in (IdentityEliminationPass(), CommonSubexpressionEliminationPass(), RemoveUnusedNodesPass()):
        tidy(model)
    return model


def owners_of(part: nn.Module, module: nn.Module) -> dict[str, tuple[tuple[Kind, str], ...]]:
    """Initializer names of a traced part -> kind and path in `module` of every owner of the weight."""
    by_identity: dict[int, list[tuple[Kind, str]]] = {}
    for path, operator in module.named_modules():
        kind = _kind(operator)
        if kind is not None:
            by_identity.setdefault(id(operator.weight), []).append((kind, path))
    # A folded weight norm leaves its weight as a buffer.
    tensors = (*part.named_parameters(remove_duplicate=False), *part.named_buffers(remove_duplicate=False))
    return {name: tuple(by_identity[id(tensor)]) for name, tensor in tensors if id(tensor) in by_identity}


def _kind(operator: nn.Module) -> Kind | None:
    if isinstance(operator, nn.Linear):
        return "linear"
    if isinstance(operator, nn.Conv1d):
        return "conv"
    return "embedding" if isinstance(operator, nn.Embedding) else None


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter reports its progress to people who debug it; users see our own progress."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
