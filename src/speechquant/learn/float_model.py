"""Write a trained float model as a folder that any tool of its family reads."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils import parametrize

from speechquant.models.quiet import quiet
from speechquant.storage import storage_error

if TYPE_CHECKING:
    from pathlib import Path

    from speechquant.models import SpeechModel

__all__ = ["save_float_model"]


def save_float_model(model: SpeechModel, folder: Path) -> None:
    """Write weights and configuration of `model` into an existing `folder`, and copy its other files.

    Weight normalisation, which loading has folded into the weight of the positional convolution, is taken
    apart again into direction and length, as the architecture stores it.

    Raises:
        StorageError: the folder cannot be written.
    """
    network: Any = model.module
    with torch.random.fork_rng(devices=[]):
        fresh: Any = type(network)(network.config)
    try:
        _copy(network, fresh)
        with quiet():
            fresh.save_pretrained(folder)
        for path in model.kept_files:
            if path.name != "config.json":
                shutil.copyfile(path, folder / path.name)
    except OSError as error:
        raise storage_error(folder, error) from error


@torch.no_grad()
def _copy(source: torch.nn.Module, target: torch.nn.Module) -> None:
    own = dict(source.state_dict())
    for name, part in target.named_modules():
        if parametrize.is_parametrized(part):
            for weight in list(part.parametrizations):
                # Assigning takes the value apart, by the inverse that the parametrization brings.
                setattr(part, weight, own.pop(f"{name}.{weight}"))
    plain = {name: tensor for name, tensor in target.state_dict().items() if ".parametrizations." not in name}
    for name, tensor in plain.items():
        tensor.copy_(own[name])
