"""PyTorch as a peer: float32, bfloat16, and `quantize_dynamic`, behind the interface that all engines share."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from speechquant.models import load_model

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from speechquant.models import ExportPart, SpeechModel

__all__ = ["TorchGraph", "covered", "loaded", "open_graphs", "version"]


class TorchGraph:
    """One part of a model as `recognizers.Graph`; floats are `dtype` inside and float32 outside."""

    def __init__(self, part: ExportPart, dtype: torch.dtype) -> None:
        self._part = part
        self._dtype = dtype
        self.outputs = part.output_names

    def put(self, array: NDArray[Any]) -> torch.Tensor:
        """An array as a tensor."""
        tensor = torch.from_numpy(array)
        return tensor.to(self._dtype) if tensor.is_floating_point() else tensor

    @torch.inference_mode()
    def run(self, values: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """All outputs by name."""
        names = iter(self._part.input_names)
        arguments = [
            [values[next(names)] for _ in example] if isinstance(example, list) else values[next(names)]
            for example in self._part.inputs
        ]
        return dict(zip(self.outputs, _flat(self._part.module(*arguments)), strict=True))

    def get(self, value: torch.Tensor) -> NDArray[Any]:
        """A tensor as an array."""
        array: NDArray[Any] = (value.float() if value.is_floating_point() else value).numpy()
        return array


def open_graphs(files: str, model: Path, threads: int) -> dict[str, TorchGraph]:
    """The graphs of a model by part, converted to what `files` names."""
    torch.set_num_threads(threads)
    _, parts = loaded(files, model)
    dtype = torch.bfloat16 if files == "torch-bf16" else torch.float32
    return {part.name: TorchGraph(part, dtype) for part in parts}


def loaded(files: str, folder: Path) -> tuple[SpeechModel, tuple[ExportPart, ...]]:
    """A float model converted in place, and its parts."""
    model = load_model(str(folder))
    # Made before the conversion: their examples are float32.
    parts = model.parts()
    if files == "torch-bf16":
        model.module.to(torch.bfloat16)
    elif files == "torch-int8":
        for part in parts:
            _quantize(part, model)
    return model, parts


def covered(model: SpeechModel) -> tuple[list[str], list[str]]:
    """The operators with weights that multiply integers, and all of them."""
    names = [site.module for site in model.sites() if site.role == "weight"]
    integer = [name for name in names if not isinstance(model.operator(name), nn.Linear | nn.Conv1d)]
    return integer, names


def version() -> str:
    """Of PyTorch."""
    return str(torch.__version__)


def _quantize(part: ExportPart, model: SpeechModel) -> None:
    from torch.ao.quantization import quantize_dynamic

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        quantize_dynamic(part.module, {nn.Linear}, dtype=torch.qint8, inplace=True)
    for inner, outer in part.operators.items():
        parent, _, name = outer.rpartition(".")
        setattr(model.module.get_submodule(parent), name, part.module.get_submodule(inner))


def _flat(found: Any) -> list[torch.Tensor]:
    if isinstance(found, torch.Tensor):
        return [found]
    return [tensor for item in found for tensor in _flat(item)]
