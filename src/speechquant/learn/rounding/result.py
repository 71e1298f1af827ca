"""Rounded weights: integers, and the float weights that stand for them everywhere downstream."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from speechquant.numerics import dequantize

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from speechquant.models import SpeechModel
    from speechquant.numerics import Entry, ScaleTable

__all__ = ["Reconstruction", "RoundedWeights", "on_grid", "replaced", "rounded"]


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """Mean squared error of an operator's output over that of its float output, on the speech used.

    `nearest` is what rounding to nearest would have given with the same inputs.
    """

    rounded: float
    nearest: float


@dataclass(frozen=True, slots=True, eq=False)
class RoundedWeights:
    """Integers for every weight site of a scale table.

    Attributes:
        method: how they were found.
        table: the scale table; its grid is theirs.
        integers: by site name, int8 up to 8 bits, else int16, in the shape of the weight.
        errors: by site name; empty where no speech was needed.
    """

    method: str
    table: ScaleTable
    integers: Mapping[str, NDArray[np.integer]]
    errors: Mapping[str, Reconstruction]

    def values(self, name: str) -> NDArray[np.float32]:
        """The weight of a site on its grid, scale times integer.

        Quantizing it by the table again gives the same integers: product and quotient are each wrong by at
        most one part in 2^24, so they miss an integer below 2^15 by less than 0.01.
        """
        entry = self.table.get(name)
        assert entry is not None
        return on_grid(entry, self.integers[name])

    @property
    def signature(self) -> str:
        """SHA-256 of grid and integers."""
        digest = hashlib.sha256(self.table.signature.encode())
        for name in sorted(self.integers):
            digest.update(f"{name}|".encode())
            digest.update(np.ascontiguousarray(self.integers[name], "<i2").tobytes())
        return digest.hexdigest()


def on_grid(entry: Entry, integers: NDArray[np.integer]) -> NDArray[np.float32]:
    """Scale times integer, in the shape of the weight."""
    return dequantize(integers, entry.scale, group_size=entry.spec.group_size)


@contextmanager
def rounded(model: SpeechModel, weights: RoundedWeights) -> Iterator[SpeechModel]:
    """Inside the block the model's weights lie on their grids.

    Whatever rounds to nearest there (simulation, artifact, export) finds exactly the integers. On exit, also
    after an exception, the float weights are back.
    """
    on_grid = {
        entry.site.module: torch.from_numpy(weights.values(entry.site.name))
        for entry in weights.table
        if entry.site.role == "weight"
    }
    with replaced(model, on_grid):
        yield model


@contextmanager
def replaced(model: SpeechModel, weights: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Weights of operators, by module, for a while; tied parameters follow."""
    parameters = {name: model.operator(name).get_parameter("weight") for name in weights}
    originals = [(parameter, parameter.data) for parameter in parameters.values()]
    try:
        for name, parameter in parameters.items():
            parameter.data = weights[name].to(parameter.device)
        yield
    finally:
        for parameter, original in originals:
            parameter.data = original
