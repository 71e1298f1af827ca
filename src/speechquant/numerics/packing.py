"""Signed integers of 1 to 16 bits in bytes, without gaps. Shape and bits are recorded by the caller."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from speechquant.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["pack", "packed_size", "unpack"]

_MAX_BITS = 16
_INT8_BITS = 8
# A multiple of 8 values fills whole bytes at any bit width.
_CHUNK = 1 << 16


def packed_size(count: int, bits: int) -> int:
    """Bytes that `count` values of `bits` bits take."""
    return -(-count * bits // 8)


def pack(values: NDArray[np.integer], bits: int) -> NDArray[np.uint8]:
    """The values in C order as two's complement of `bits` bits each, lowest bit first, shape (bytes,).

    The unused bits of the last byte are 0. ValueError if a value does not fit or `bits` is not 1 to 16.
    """
    _check(bits)
    flat = np.ascontiguousarray(values).reshape(-1)
    if flat.dtype.kind not in "iu":
        raise ValueError(f"only integers can be packed, not {flat.dtype}")
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    if flat.size and (flat.min() < low or flat.max() > high):
        raise ValueError(f"values from {flat.min()} to {flat.max()} do not fit {bits} bits ({low} to {high})")
    out = np.empty(packed_size(flat.size, bits), np.uint8)
    shifts = np.arange(bits, dtype=np.uint16)
    for start in range(0, flat.size, _CHUNK):
        words = flat[start : start + _CHUNK].astype(np.int16).view(np.uint16)
        digits = (words[:, None] >> shifts & 1).astype(np.uint8)
        packed = np.packbits(digits.reshape(-1), bitorder="little")
        offset = start * bits // 8
        out[offset : offset + packed.size] = packed
    return out


def unpack(data: NDArray[np.uint8], bits: int, shape: Sequence[int]) -> NDArray[np.integer]:
    """The array of `shape` that `pack` wrote: int8 up to 8 bits, else int16.

    Raises:
        ArtifactError: The number of bytes does not fit the shape.
        ValueError: `bits` is not 1 to 16.
    """
    _check(bits)
    count = math.prod(shape)
    if data.size != packed_size(count, bits):
        wanted = packed_size(count, bits)
        raise ArtifactError(f"{data.size} packed bytes, but {tuple(shape)} of {bits} bits needs {wanted}")
    out: NDArray[np.integer] = np.empty(count, np.int8 if bits <= _INT8_BITS else np.int16)
    weights = (1 << np.arange(bits)).astype(np.int32)
    weights[-1] = -weights[-1]
    flat = np.ascontiguousarray(data, np.uint8).reshape(-1)
    for start in range(0, count, _CHUNK):
        size = min(_CHUNK, count - start)
        offset = start * bits // 8
        digits = np.unpackbits(
            flat[offset : offset + packed_size(size, bits)], count=size * bits, bitorder="little"
        )
        out[start : start + size] = digits.reshape(size, bits) @ weights
    return out.reshape(tuple(shape))


def _check(bits: int) -> None:
    if not 1 <= bits <= _MAX_BITS:
        raise ValueError(f"{bits} bits are out of range; choose 1 to {_MAX_BITS}")
