"""Entropy coding of integers: the Huffman code of DEFLATE, without loss, for files that are read once.

Quantized weights are far from uniform: most are small. DEFLATE (RFC 1951) gives every block of some ten thousand
bytes a Huffman code of its own, so that the code follows the spread of the output channels. It comes within one
percent of the entropy of each tensor, needs nothing but Python, and is decoded several times faster than the
arithmetic coders that would take the rest; docs/results/storage.md has the figures.
"""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING

import numpy as np

from speechquant.errors import ArtifactError
from speechquant.numerics.packing import from_bytes, pack, packed_size, to_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["MAX_CODED_BITS", "decode", "encode", "smallest"]

MAX_CODED_BITS = 8
_BITS_PER_BYTE = 8
_RAW_STREAM = -15
_MEMORY = 9
_LEVEL = 9
# With few values to a byte, runs of them are worth finding; else matches only cost.
_STRATEGIES = (zlib.Z_HUFFMAN_ONLY, zlib.Z_FILTERED)
# No DEFLATE stream grows by more.
_MOST_GROWTH = 1032


def encode(values: NDArray[np.integer], bits: int) -> NDArray[np.uint8]:
    """The values in C order as one raw DEFLATE stream, shape (bytes,).

    Values lie whole in bytes, see `to_bytes`; they must fit `bits`, which are 1 to 8.
    """
    data = to_bytes(values, bits).tobytes()
    found = []
    for strategy in _STRATEGIES:
        coder = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW_STREAM, _MEMORY, strategy)
        found.append(coder.compress(data) + coder.flush())
    return np.frombuffer(min(found, key=len), np.uint8)


def decode(data: NDArray[np.uint8], bits: int, shape: Sequence[int]) -> NDArray[np.int8]:
    """The array of `shape` that `encode` was given.

    No more memory is taken than the shape needs, and none if the stream cannot be that long.

    Raises:
        ArtifactError: the stream is damaged, cut off, or of another length.
    """
    count = math.prod(shape)
    size = -(-count // (_BITS_PER_BYTE // bits))
    if size > _MOST_GROWTH * data.size:
        raise ArtifactError(f"{data.size} coded bytes cannot be {tuple(shape)} of {bits} bits")
    reader = zlib.decompressobj(_RAW_STREAM)
    try:
        raw = reader.decompress(np.ascontiguousarray(data).data, size + 1)
    except zlib.error as error:
        raise ArtifactError(f"the coded bytes are damaged ({error})") from error
    if len(raw) != size or not reader.eof or reader.unused_data:
        raise ArtifactError(f"the coded bytes do not make {tuple(shape)} of {bits} bits")
    return from_bytes(np.frombuffer(raw, np.uint8), bits, count).reshape(tuple(shape))


def smallest(values: NDArray[np.integer], bits: int) -> tuple[NDArray[np.uint8], bool]:
    """The values coded where that makes them fewer bytes than side by side, else packed; and whether they are coded."""
    if bits <= MAX_CODED_BITS:
        coded = encode(values, bits)
        if coded.size < packed_size(values.size, bits):
            return coded, True
    return pack(values, bits), False
