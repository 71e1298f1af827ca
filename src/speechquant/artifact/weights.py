"""`model.safetensors`: quantized weights as packed integers with their scales, everything else in float."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from speechquant.errors import ArtifactError
from speechquant.numerics import (
    MAX_BITS,
    MIN_BITS,
    decode,
    dequantize,
    packed_size,
    quantize,
    smallest,
    unpack,
)
from speechquant.numerics.entropy import MAX_CODED_BITS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from speechquant.numerics import Entry, ScaleTable

__all__ = [
    "WEIGHTS",
    "Packing",
    "Tensors",
    "file_bytes",
    "input_scale_name",
    "save_tensors",
    "scale_name",
    "weight_name",
]

WEIGHTS = "model.safetensors"
_NOTE = "speechquant"
_PACKED = "packed"
_TIED = "tied"
_CODING = "deflate"

_MOST_AXES, _MOST_WEIGHTS = 8, 1 << 62


@dataclass(frozen=True, slots=True)
class Packing:
    """How one packed weight is read: bits per value, its shape, and how many weights share a scale if groups do.

    `coded` says that the integers are entropy coded (`numerics.encode`), not laid side by side (`numerics.pack`).
    """

    bits: int
    shape: tuple[int, ...]
    group_size: int | None = None
    coded: bool = False

    @property
    def packed_bytes(self) -> int:
        """Bytes of the integers side by side."""
        return packed_size(math.prod(self.shape), self.bits)


def weight_name(module: str) -> str:
    """The tensor of a module's weight site."""
    return f"{module}.weight"


def scale_name(tensor: str) -> str:
    """The tensor that holds the scales of a packed weight."""
    return f"{tensor}.scale"


def input_scale_name(module: str) -> str:
    """The tensor that holds the scales of an activation with one scale per channel."""
    return f"{module}.input_scale"


def save_tensors(path: Path, weights: Mapping[str, NDArray[Any]], table: ScaleTable) -> None:
    """Write all tensors of a model, the weights that `table` quantizes as integers.

    Tensors that share their memory (tied embeddings) are written once. Integers come from
    `numerics.quantize`, output channels first, so weights that lie on their grid already are kept exactly.

    Args:
        path: the file to write.
        weights: float arrays by name, `MODULE.weight` for weight sites.
        table: scales and bits of the weight sites.

    Raises:
        ValueError: a weight site has no tensor, or a name is taken twice.
        OSError: the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    stored, note = _laid_out(weights, table)
    try:
        save_file(stored, path, metadata=note)
    except SafetensorError as error:
        raise OSError(str(error)) from error


def file_bytes(weights: Mapping[str, NDArray[Any]], table: ScaleTable) -> int:
    """The size of the file that `save_tensors` would write, found without writing it."""
    from safetensors.numpy import save

    stored, note = _laid_out(weights, table)
    return len(save(stored, metadata=note))


def _laid_out(
    weights: Mapping[str, NDArray[Any]], table: ScaleTable
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The tensors of the file, and its note."""
    entries = {weight_name(entry.site.module): entry for entry in table if entry.site.role == "weight"}
    missing = sorted(entries.keys() - weights.keys())
    if missing:
        raise ValueError(f"no weight is called {missing[0]!r}, which the scale table quantizes")
    stored: dict[str, NDArray[Any]] = {}
    packed: dict[str, dict[str, Any]] = {}
    tied = {
        name: owner
        for name, owner in _tied(weights, first=entries.keys()).items()
        if name not in entries or _alike(entries[name], entries[owner])
    }
    for name, entry in entries.items():
        if name not in tied:
            stored[name], packed[name] = _integers(weights[name], entry)
            _add(stored, scale_name(name), _stored_scale(entry))
    for name, array in weights.items():
        if name not in entries and name not in tied:
            _add(stored, name, np.ascontiguousarray(array))
    for entry in table:
        if entry.site.role == "input" and entry.scale.ndim:
            _add(stored, input_scale_name(entry.site.module), np.asarray(entry.scale, np.float32))
    # One note, because safetensors writes several in random order and equal artifacts are to have equal bytes.
    return stored, {_NOTE: json.dumps({_PACKED: packed, _TIED: tied})}


class Tensors(Mapping[str, "NDArray[np.float32]"]):
    """The tensors of an artifact by name, read and dequantized one by one when they are asked for.

    Packed weights come as float32; tensors kept in float come in the type they were stored in.

    Raises:
        ArtifactError: the file is missing or damaged, or its notes are malformed.
    """

    def __init__(self, path: Path) -> None:
        from safetensors import SafetensorError, safe_open

        self.path = path
        try:
            self._file = cast("Any", safe_open(path, framework="numpy"))
            self.stored: tuple[str, ...] = tuple(self._file.keys())
            note = self._file.metadata() or {}
        except (OSError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise ArtifactError(f"{path}: cannot be read ({reason}); fetch the artifact again") from error
        try:
            notes = json.loads(note.get(_NOTE, "{}"))
            self.packed = {name: _packing(name, entry) for name, entry in notes.get(_PACKED, {}).items()}
            self.tied = {str(k): str(v) for k, v in notes.get(_TIED, {}).items()}
            self._check_names()
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise ArtifactError(
                f"{path}: its notes on packed weights are malformed ({error}); fetch the artifact again"
            ) from error
        scales = {scale_name(name) for name in self.packed}
        own = (name for name in self.stored if name not in scales and not name.endswith(".input_scale"))
        self._names = (*own, *self.tied)

    def _check_names(self) -> None:
        """Everything that the notes speak of is there (ValueError)."""
        spoken = {*self.packed, *map(scale_name, self.packed), *self.tied.values()}
        missing = sorted(spoken.difference(self.stored))
        if missing:
            raise ValueError(f"no tensor {missing[0]}")

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        name = self.tied.get(name, name)
        if name not in self._names:
            raise KeyError(name)
        if name not in self.packed:
            return self.raw(name)
        integers, scale = self.integers(name), self.raw(scale_name(name))
        try:
            return dequantize(integers, scale, group_size=self.packed[name].group_size)
        except ValueError as error:
            raise ArtifactError(f"{self.path}: the scales of {name} do not fit it ({error})") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def integers(self, name: str) -> NDArray[np.integer]:
        """The integers of a packed weight.

        Raises:
            ArtifactError: the stored bytes do not fit the recorded shape.
        """
        how, data = self.packed[name], self.raw(name)
        if data.dtype != np.uint8 or not (how.coded or data.size == how.packed_bytes):
            raise ArtifactError(
                f"{self.path}: {name} holds {data.nbytes} bytes of {data.dtype}, which is not "
                f"{how.bits}-bit {how.shape}; fetch the artifact again"
            )
        try:
            return (decode if how.coded else unpack)(data, how.bits, how.shape)
        except ArtifactError as error:
            raise ArtifactError(f"{self.path}: {name}: {error}; fetch the artifact again") from error

    def layout(self, name: str) -> tuple[tuple[int, ...], str]:
        """Shape and type of a tensor as it lies in the file, which is not read."""
        part = self._file.get_slice(name)
        return tuple(part.get_shape()), str(part.get_dtype())

    def raw(self, name: str) -> NDArray[Any]:
        """A tensor as it lies in the file.

        Raises:
            ArtifactError: there is no such tensor.
        """
        from safetensors import SafetensorError

        try:
            array: NDArray[Any] = self._file.get_tensor(name)
        except (SafetensorError, KeyError, TypeError) as error:
            raise ArtifactError(f"{self.path}: tensor {name} cannot be read") from error
        return array


def _integers(weight: NDArray[Any], entry: Entry) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """The bytes of a weight's integers, and the note that says how to read them."""
    integers, spec = quantize(weight, entry.scale, entry.spec), entry.spec
    data, coded = smallest(integers, spec.bits)
    note: dict[str, Any] = {"bits": spec.bits, "shape": list(integers.shape)}
    if spec.group_size is not None:
        note["group_size"] = spec.group_size
    return data, note | ({"coding": _CODING} if coded else {})


def _packing(name: str, entry: dict[str, Any]) -> Packing:
    bits, shape, group_size = entry["bits"], tuple(entry["shape"]), entry.get("group_size")
    if any(type(number) is not int for number in (bits, *shape)):
        raise ValueError(f"{name}: bits and sizes are whole numbers")
    if not MIN_BITS <= bits <= MAX_BITS or any(size < 0 for size in shape):
        raise ValueError(f"{name}: impossible bits or shape")
    if len(shape) > _MOST_AXES or math.prod(shape) > _MOST_WEIGHTS:
        raise ValueError(f"{name}: impossible shape")
    if group_size is not None and (type(group_size) is not int or group_size < 1):
        raise ValueError(f"{name}: impossible group size")
    coding = entry.get("coding")
    if coding not in (None, _CODING) or (coding and bits > MAX_CODED_BITS):
        raise ValueError(f"{name}: unknown coding")
    return Packing(bits, shape, group_size, coding is not None)


def _stored_scale(entry: Entry) -> NDArray[Any]:
    """Scales of groups are many, and are stored in 16 bits where that loses nothing."""
    scale = np.asarray(entry.scale, np.float32)
    if entry.spec.group_size is not None:
        with np.errstate(over="ignore"):
            half = scale.astype(np.float16)
        if np.array_equal(half.astype(np.float32), scale):
            return half
    return scale


def _add(stored: dict[str, NDArray[Any]], name: str, array: NDArray[Any]) -> None:
    if name in stored:
        raise ValueError(f"two tensors are called {name!r}")
    stored[name] = array


def _alike(first: Entry, second: Entry) -> bool:
    return first.spec == second.spec and np.array_equal(first.scale, second.scale)


def _tied(weights: Mapping[str, NDArray[Any]], *, first: Collection[str]) -> dict[str, str]:
    """Names of tensors that are views of the same memory as another, to the name under which it is stored."""
    owners: dict[tuple[Any, ...], str] = {}
    tied = {}
    for name in sorted(weights, key=lambda name: name not in first):
        array = weights[name]
        view = (array.__array_interface__["data"][0], array.shape, array.strides, array.dtype.str)
        owner = owners.setdefault(view, name)
        if owner != name and array.size:
            tied[name] = owner
    return tied
