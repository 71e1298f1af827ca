"""Entropy coding: round trips, nearness to the entropy, refusal of anything that is not the coded tensor."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechquant.errors import ArtifactError
from speechquant.numerics import decode, encode, packed_size, smallest, unpack


def drawn(bits, count=40_000, seed=0, spread=0.2):
    """Values of a bell curve, as weights are."""
    high = (1 << (bits - 1)) - 1
    values = np.random.default_rng(seed).normal(size=count) * max(high, 1) * spread
    return np.clip(np.rint(values), -high - 1, high).astype(np.int8)


def entropy(values):
    """Bytes that an ideal code of independent values needs."""
    _, counts = np.unique(values, return_counts=True)
    share = counts / counts.sum()
    return -float((share * np.log2(share)).sum()) * values.size / 8


@given(st.data(), st.integers(1, 8))
def test_round_trip(data, bits):
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    values = np.array(data.draw(st.lists(st.integers(low, high), max_size=50)), np.int64)
    back = decode(encode(values, bits), bits, values.shape)
    assert back.dtype == np.int8
    assert back.tolist() == values.tolist()


@pytest.mark.parametrize("bits", range(1, 9))
def test_any_shape_and_stride(bits):
    values = drawn(bits, 3 * 7001).reshape(3, 7001)
    assert np.array_equal(decode(encode(values.T, bits), bits, (7001, 3)), values.T)


@pytest.mark.parametrize("bits", range(2, 9))
def test_within_two_percent_of_the_entropy(bits):
    # Of the ternary values as many are zero as the scale of least squared error leaves.
    values = drawn(bits, spread=0.8 if bits == 2 else 0.25)
    coded, is_coded = smallest(values, bits)
    assert is_coded
    assert entropy(values) * 0.99 < coded.size < entropy(values) * 1.02 + 100
    assert coded.size < packed_size(values.size, bits)


def test_what_has_no_redundancy_stays_packed():
    values = np.random.default_rng(0).integers(-8, 7, 5000, endpoint=True).astype(np.int8)
    data, is_coded = smallest(values, 4)
    assert not is_coded
    assert data.size == 2500
    assert np.array_equal(unpack(data, 4, values.shape), values)
    wide = np.zeros(100, np.int16)
    assert not smallest(wide, 12)[1]


def test_the_code_is_deflate_of_whole_values():
    values = drawn(3, 999)
    raw = np.frombuffer(zlib.decompress(encode(values, 3), -15), np.uint8)
    first, second = raw & 7, raw >> 3
    both = np.stack([first, second], axis=1).reshape(-1)[:999].astype(np.int16)
    assert np.array_equal(np.where(both > 3, both - 8, both), values)


@given(st.data())
def test_damage_never_does_more_than_refuse(data):
    values = drawn(4, 400)
    stream = encode(values, 4).copy()
    place = data.draw(st.integers(0, stream.size - 1))
    stream[place] ^= data.draw(st.integers(1, 255))
    try:
        found = decode(stream, 4, values.shape)
    except ArtifactError:
        return
    assert found.shape == values.shape


@given(st.binary(max_size=60), st.integers(1, 8), st.integers(0, 10**12))
def test_arbitrary_bytes(data, bits, count):
    try:
        found = decode(np.frombuffer(data, np.uint8), bits, (count,))
    except ArtifactError:
        return
    assert found.size == count


def test_cut_off_extended_or_of_another_shape():
    stream = encode(drawn(4, 1000), 4)
    for wrong in (stream[:-1], stream[:0], np.append(stream, np.uint8(0))):
        with pytest.raises(ArtifactError, match="coded bytes"):
            decode(wrong, 4, (1000,))
    for count in (998, 1002, 10**15):
        with pytest.raises(ArtifactError, match="coded bytes"):
            decode(stream, 4, (count,))


def test_a_bomb_is_not_unfolded():
    bomb = zlib.compress(bytes(1 << 24), 9, -15)
    with pytest.raises(ArtifactError, match="do not make"):
        decode(np.frombuffer(bomb, np.uint8), 8, (1000,))
