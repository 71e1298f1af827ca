"""Bit packing: round trips, sizes, the layout, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechquant.errors import ArtifactError
from speechquant.numerics import pack, packed_size, unpack


@given(st.data(), st.integers(1, 16))
def test_round_trip_and_layout(data, bits):
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    values = data.draw(st.lists(st.integers(low, high), max_size=40))
    packed = pack(np.array(values, np.int64), bits)
    assert packed.dtype == np.uint8
    assert packed.size == packed_size(len(values), bits)
    # The layout by Python's big integers: value i occupies bits i * bits upwards.
    number = sum((value & ((1 << bits) - 1)) << (i * bits) for i, value in enumerate(values))
    assert packed.tobytes() == number.to_bytes(packed.size, "little")
    restored = unpack(packed, bits, (len(values),))
    assert restored.tolist() == values
    assert restored.dtype == (np.int8 if bits <= 8 else np.int16)


@pytest.mark.parametrize("bits", range(1, 17))
def test_many_values_of_any_shape(bits):
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    values = np.random.default_rng(bits).integers(low, high, (3, 70_001), endpoint=True)
    packed = pack(values, bits)
    assert np.array_equal(unpack(packed, bits, values.shape), values)
    # Chunks are invisible: a strided view packs like its copy.
    assert np.array_equal(pack(values.T, bits), pack(values.T.copy(), bits))


@pytest.mark.parametrize(("value", "bits"), [(2, 2), (-3, 2), (128, 8), (-129, 8), (32768, 16), (1, 1)])
def test_values_that_do_not_fit(value, bits):
    with pytest.raises(ValueError, match="do not fit"):
        pack(np.array([0, value]), bits)


@pytest.mark.parametrize("bits", [0, 17, -1])
def test_bits_out_of_range(bits):
    with pytest.raises(ValueError, match="out of range"):
        pack(np.array([0]), bits)
    with pytest.raises(ValueError, match="out of range"):
        unpack(np.zeros(1, np.uint8), bits, (1,))


def test_floats_are_refused():
    with pytest.raises(ValueError, match="integers"):
        pack(np.array([0.0]), 4)


@pytest.mark.parametrize("size", [0, 5, 7])
def test_wrong_number_of_bytes(size):
    with pytest.raises(ArtifactError, match="packed bytes"):
        unpack(np.zeros(size, np.uint8), 4, (3, 4))


def test_scalars_and_empty_arrays():
    assert unpack(pack(np.array(-3), 4), 4, ()).item() == -3
    assert unpack(pack(np.zeros((0, 5), np.int8), 3), 3, (0, 5)).shape == (0, 5)
