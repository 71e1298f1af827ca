"""Signed integers of 1 to 16 bits in bytes, without gaps. Shape and bits are recorded by the caller."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from speechquant.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["from_bytes", "pack", "packed_size", "to_bytes", "unpack"]

_MAX_BITS = 16
_INT8_BITS = 8
_BYTE = 8
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
    if _BYTE % bits == 0:
        return to_bytes(flat, bits)
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
    flat = np.ascontiguousarray(data, np.uint8).reshape(-1)
    if _BYTE % bits == 0:
        return from_bytes(flat, bits, count).reshape(tuple(shape))
    out: NDArray[np.integer] = np.empty(count, np.int8 if bits <= _INT8_BITS else np.int16)
    weights = (1 << np.arange(bits)).astype(np.int32)
    weights[-1] = -weights[-1]
    for start in range(0, count, _CHUNK):
        size = min(_CHUNK, count - start)
        offset = start * bits // 8
        digits = np.unpackbits(
            flat[offset : offset + packed_size(size, bits)], count=size * bits, bitorder="little"
        )
        out[start : start + size] = digits.reshape(size, bits) @ weights
    return out.reshape(tuple(shape))


def to_bytes(values: NDArray[np.integer], bits: int) -> NDArray[np.uint8]:
    """The values in C order, as many in a byte as fit whole: 8, 4, 2, 2, 1 ... for 1, 2, 3, 4, 5 ... bits.

    The first lies in the lowest bits; what is left of a byte is 0. Where `bits` divides 8, this is `pack`.
    Values must fit `bits`, which are 1 to 8.
    """
    per = _BYTE // bits
    codes = np.ascontiguousarray(values).reshape(-1).astype(np.int8).view(np.uint8) & np.uint8(
        (1 << bits) - 1
    )
    codes = np.concatenate((codes, np.zeros(-codes.size % per, np.uint8))).reshape(-1, per)
    out: NDArray[np.uint8] = codes[:, 0].copy()
    for place in range(1, per):
        out |= codes[:, place] << (place * bits)
    return out


def from_bytes(data: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.int8]:
    """The first `count` values that `to_bytes` wrote."""
    per = _BYTE // bits
    codes = np.arange(1 << _BYTE)[:, None] >> (bits * np.arange(per)) & ((1 << bits) - 1)
    half = 1 << (bits - 1)
    # All values of a byte are one machine word, so that they are copied at once.
    words = ((codes ^ half) - half).astype(np.int8).view(f"u{per}")[:, 0]
    values: NDArray[np.int8] = words[data].view(np.int8)[:count]
    return values


def _check(bits: int) -> None:
    if not 1 <= bits <= _MAX_BITS:
        raise ValueError(f"{bits} bits are out of range; choose 1 to {_MAX_BITS}")
