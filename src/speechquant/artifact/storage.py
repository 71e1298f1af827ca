"""What a file of weights takes: bits per weight, bytes, and the ratio to float32."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from speechquant.artifact.weights import Tensors, weight_name
from speechquant.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

__all__ = ["Storage", "storage_of"]

_FLOAT_BYTES = 4
_BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "U8": 8, "I8": 8, "BOOL": 8}


@dataclass(frozen=True, slots=True)
class Storage:
    """Bits and bytes of `model.safetensors`.

    Attributes:
        parameters: values of the model, shared ones counted once, scales not counted.
        quantized: how many of them are integers.
        quantized_bits: bits of these on average, as they are before entropy coding.
        searched_bits: the same over the weights whose bits were searched; None where none were.
        average_bits: bits of all parameters on average.
        float_bytes: of all parameters in float32.
        packed_bytes: of the file, if no tensor were entropy coded.
        stored_bytes: of the file: integers, scales, everything in float, and its header.
    """

    parameters: int
    quantized: int
    quantized_bits: float | None
    searched_bits: float | None
    average_bits: float
    float_bytes: int
    packed_bytes: int
    stored_bytes: int

    @property
    def ratio(self) -> float:
        """Bytes in float32 over bytes of the file."""
        return self.float_bytes / self.stored_bytes

    @property
    def packed_ratio(self) -> float:
        """The same without entropy coding."""
        return self.float_bytes / self.packed_bytes

    def figures(self) -> dict[str, Any]:
        """All figures by name, for `metrics.json`."""
        return asdict(self) | {"ratio": self.ratio, "packed_ratio": self.packed_ratio}


def storage_of(path: Path, searched: Collection[str] = ()) -> Storage:
    """Count what a file of weights holds; no tensor is read.

    Args:
        path: the file.
        searched: modules whose bits were searched.

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    tensors = Tensors(path)
    integers = {name: (math.prod(how.shape), how.bits) for name, how in tensors.packed.items()}
    chosen = [integers[name] for module in searched if (name := weight_name(module)) in integers]
    floats, saved = [], 0
    for name in tensors:
        if name in tensors.packed:
            saved += tensors.packed[name].packed_bytes - math.prod(tensors.layout(name)[0])
        elif name not in tensors.tied:
            shape, kind = tensors.layout(name)
            if kind not in _BITS:
                raise ArtifactError(f"{path}: {name} is of type {kind}, which no artifact has")
            floats.append((math.prod(shape), _BITS[kind]))
    everything = [*integers.values(), *floats]
    parameters, stored = sum(size for size, _ in everything), path.stat().st_size
    return Storage(
        parameters=parameters,
        quantized=sum(size for size, _ in integers.values()),
        quantized_bits=_average([*integers.values()]),
        searched_bits=_average(chosen),
        average_bits=_average(everything) or 0.0,
        float_bytes=_FLOAT_BYTES * parameters,
        packed_bytes=stored + saved,
        stored_bytes=stored,
    )


def _average(parts: list[tuple[int, int]]) -> float | None:
    total = sum(size for size, _ in parts)
    return sum(size * bits for size, bits in parts) / total if total else None
