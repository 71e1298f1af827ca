"""Where a training run stands, in one file that is read without unpickling anything."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from speechquant.storage import replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import nn

__all__ = [
    "Position",
    "load_checkpoint",
    "load_tensors",
    "read_tensors",
    "save_checkpoint",
    "save_tensors",
    "tensors_of",
]

_NOTE = "speechquant"
_MOMENT = "optimizer"


@dataclass(frozen=True, slots=True)
class Position:
    """How far a run is: finished updates, the best evaluation so far, and how many came since without gain.

    `settings` is a signature of everything that decides the run; `best` is an error rate, None before the
    first evaluation.
    """

    settings: str
    step: int = 0
    best: float | None = None
    best_step: int = 0
    evaluated: int = -1
    stale: int = 0


def tensors_of(module: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers by name; what is shared stands under its first name only."""
    return {name: tensor.detach() for name, tensor in (*module.named_parameters(), *module.named_buffers())}


def load_tensors(module: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put tensors back in their places."""
    with torch.no_grad():
        for name, tensor in tensors_of(module).items():
            tensor.copy_(tensors[name])


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor], note: Mapping[str, Any]) -> None:
    """Write tensors and a note such that the file is there whole or in its former state.

    Raises:
        StorageError: the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as partial:
        try:
            save_file(contiguous, partial, metadata={_NOTE: json.dumps(dict(note))})
        except SafetensorError as error:
            raise OSError(str(error)) from error


def save_checkpoint(
    path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, position: Position
) -> None:
    """Write weights, moments of the optimizer and position.

    Raises:
        StorageError: the file cannot be written.
    """
    tensors = tensors_of(module)
    for name, parameter in module.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{_MOMENT}/{key}/{name}"] = value
    save_tensors(path, tensors, asdict(position))


def load_checkpoint(
    path: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    settings: str,
    accept: Callable[[Position], bool],
) -> Position | None:
    """Put weights and moments back; None, and nothing changed, where the file is of no use for this run.

    It is of no use when it is not there, damaged, of a run with other settings, or `accept` says no.
    """
    read = read_tensors(path)
    if read is None or read[1].get("settings") != settings:
        return None
    tensors, note = read
    try:
        position = Position(**note)
        own = {name: tensors[name] for name in tensors_of(module)}
    except (KeyError, TypeError):
        return None
    if not accept(position):
        return None
    load_tensors(module, own)
    for name, parameter in module.named_parameters():
        moments = {
            key.split("/", 2)[1]: value
            for key, value in tensors.items()
            if key.startswith(f"{_MOMENT}/") and key.split("/", 2)[2] == name
        }
        if moments:
            optimizer.state[parameter] = {
                key: value.clone() if key == "step" else value.to(parameter.device)
                for key, value in moments.items()
            }
    return position


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """The tensors and the note of a file; None where it is missing or damaged."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            note = json.loads((file.metadata() or {}).get(_NOTE, "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, note  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, ValueError):
        return None
