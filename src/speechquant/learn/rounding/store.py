"""Finished stages in a work folder, so that a killed run goes on where it was."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from speechquant.learn.rounding.result import Reconstruction
from speechquant.storage import replacing, storage_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from speechquant.learn.rounding.base import Rounding
    from speechquant.models import SpeechModel
    from speechquant.numerics import ScaleTable

__all__ = ["Store", "run_key"]

VERSION = 2
"""Raise it with every change of the methods after which the same input gives other integers."""

_ERROR = "error|"

Found = dict[str, tuple["NDArray[np.integer]", Reconstruction]]


def run_key(
    model: SpeechModel,
    table: ScaleTable,
    waves: Sequence[NDArray[np.float32]],
    method: Rounding,
    settings: Sequence[object],
) -> str:
    """SHA-256 of everything that decides the integers."""
    options = [(field.name, getattr(method, field.name)) for field in fields(cast("Any", method))]
    device = next(model.module.parameters()).device.type
    words = [
        VERSION,
        model.results_signature,
        table.signature,
        type(method).__name__,
        options,
        settings,
        device,
    ]
    digest = hashlib.sha256(repr(words).encode())
    for wave in waves:
        digest.update(f"|{wave.size}|".encode())
        digest.update(np.ascontiguousarray(wave, "<f4").tobytes())
    return digest.hexdigest()


class Store:
    """One safetensors file per stage in a folder of its own below `work`, named by the run's key."""

    def __init__(self, work: Path, key: str) -> None:
        self._folder = work / f"rounding-{key[:16]}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(self._folder, error) from error

    def load(self, stage: int, sites: Sequence[str]) -> Found | None:
        """What an earlier run found for these sites; None where it did not come so far or the file is damaged."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            tensors = load_file(self._path(stage))
            return {
                name: (tensors[name], Reconstruction(*map(float, tensors[_ERROR + name]))) for name in sites
            }
        except (OSError, SafetensorError, KeyError, TypeError):
            return None

    def save(self, stage: int, found: Mapping[str, tuple[NDArray[np.integer], Reconstruction]]) -> None:
        """Keep a stage, or nothing of it: StorageError."""
        from safetensors import SafetensorError
        from safetensors.numpy import save_file

        tensors: dict[str, NDArray[Any]] = {}
        for name, (integers, error) in found.items():
            tensors[name] = np.ascontiguousarray(integers)
            tensors[_ERROR + name] = np.array([error.rounded, error.nearest], np.float64)
        path = self._path(stage)
        with replacing(path) as partial:
            try:
                save_file(tensors, partial)
            except SafetensorError as error:
                raise OSError(str(error)) from error

    def _path(self, stage: int) -> Path:
        return self._folder / f"{stage:04d}.safetensors"
