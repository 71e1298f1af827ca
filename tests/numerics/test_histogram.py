"""The streaming histogram against np.histogram, for any order and batches."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from speechquant.errors import ArtifactError, ModelError, StorageError
from speechquant.numerics import MIN_EXPONENT, Histogram, load_histograms, range_exponent, save_histograms

BINS = 64
FLOATS = st.floats(-(2.0**40), 2.0**40, width=32, allow_subnormal=True)
# Multiples of 1/8 lie on bin edges and on the edges of ranges all the time.
TIES = st.integers(-600, 600).map(lambda n: n / 8)
VALUES = hnp.arrays(np.float32, st.integers(1, 60), elements=st.one_of(FLOATS, TIES))


def numpy_counts(values: np.ndarray, bins: int, exponent: int) -> np.ndarray:
    """np.histogram closes bins below; on -|x| they are closed above, and the last one holds the zeros."""
    mirrored = -np.abs(values.astype(np.float64))
    return np.histogram(mirrored, bins, range=(-math.ldexp(1.0, exponent), 0.0))[0][::-1]


@given(VALUES)
def test_equals_numpy_at_the_final_range(values):
    histogram = Histogram.empty(BINS).add(values)
    assert histogram.maximum == float(np.abs(values).max())
    assert histogram.exponent == range_exponent(histogram.maximum)
    assert np.array_equal(histogram.counts, numpy_counts(values, BINS, histogram.exponent))


@settings(max_examples=200)
@given(VALUES, st.data())
def test_any_order_and_any_batches_give_the_identical_histogram(values, data):
    shuffled = np.array(data.draw(st.permutations(values.tolist())), np.float32)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=6)))
    parts = np.split(shuffled, cuts)
    streamed = Histogram.empty(BINS)
    for part in parts:
        streamed.add(part)
    merged = Histogram.empty(BINS)
    for part in reversed(parts):
        merged.merge(Histogram.empty(BINS).add(part))
    at_once = Histogram.empty(BINS).add(values)
    assert streamed == at_once
    assert merged == at_once


@given(st.floats(2.0**-100, 2.0**127, exclude_min=True))
def test_range_is_the_smallest_power_of_two_that_holds_the_maximum(maximum):
    exponent = range_exponent(maximum)
    assert 2.0 ** (exponent - 1) < maximum <= 2.0**exponent


def test_a_value_on_the_top_edge_is_in_the_last_bin_and_moves_down_when_the_range_grows():
    histogram = Histogram.empty(8).add(np.array([4.0, 3.9]))
    assert histogram.exponent == 2
    assert histogram.counts.tolist() == [0] * 7 + [2]
    histogram.add(np.array([4.1]))
    assert histogram.counts.tolist() == [0, 0, 0, 2, 1, 0, 0, 0]


def test_values_below_the_smallest_range_are_counted_in_bin_0():
    histogram = Histogram.empty(16).add(np.array([1e-45, 0.0], np.float32))
    assert histogram.counts[0] == 2
    assert histogram.maximum == float(np.float32(1e-45))
    assert np.float32(4096 * 2.0**-MIN_EXPONENT) < np.inf


def test_large_growth_keeps_every_count():
    histogram = Histogram.empty(16).add(np.full(1000, 1e-30)).add(np.array([1e30]))
    assert histogram.total == 1001
    assert histogram.counts[0] == 1000


def test_zeros_are_counted_and_zero_tensors_have_the_smallest_range():
    histogram = Histogram.empty(16).add(np.zeros((3, 4), np.float32))
    assert histogram.counts.tolist() == [12] + [0] * 15
    assert histogram.maximum == 0
    assert histogram.exponent == MIN_EXPONENT


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8])
def test_dtypes_and_shapes(dtype):
    values = np.array([[-100, 3], [7, 0]], dtype)
    histogram = Histogram.empty(8).add(values)
    assert histogram.maximum == 100
    assert np.array_equal(histogram.counts, numpy_counts(values, 8, 7))


def test_the_most_negative_integer():
    assert Histogram.empty(8).add(np.array([-128], np.int8)).maximum == 128


def test_more_values_than_one_chunk():
    values = np.random.default_rng(0).standard_normal(200_001).astype(np.float32)
    histogram = Histogram.empty().add(values)
    assert histogram.total == values.size
    assert np.array_equal(histogram.counts, numpy_counts(values, histogram.bins, histogram.exponent))


def test_geometry():
    histogram = Histogram.empty(8).add(np.array([3.0]))
    assert histogram.width == 0.5
    assert histogram.edges.tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4]
    assert histogram.centers.tolist() == [0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.25, 3.75]


def test_counts_cannot_be_changed_from_outside():
    histogram = Histogram.empty(8).add(np.array([3.0]))
    with pytest.raises(ValueError, match="read-only"):
        histogram.counts[0] = 5


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
def test_non_finite_values_are_refused_by_name_and_change_nothing(bad):
    histogram = Histogram.empty(8).add(np.array([1.0]))
    before = histogram.copy()
    with pytest.raises(ModelError, match=r"conv\.0:input"):
        histogram.add(np.array([0.5, bad]), "conv.0:input")
    assert histogram == before


@given(VALUES, VALUES)
def test_counts_found_elsewhere_in_float32(first, second):
    exponent = max(range_exponent(float(np.abs(second).max())), -60)
    scaled = np.abs(second) * np.float32(2.0 ** (6 - exponent))
    counts = np.bincount(np.maximum(np.ceil(scaled).astype(int) - 1, 0), minlength=BINS)
    handed = Histogram.empty(BINS).add(np.array([2.0**-60])).add(first)
    expected = handed.copy().add(second)
    assert handed.add_counts(counts, exponent, float(np.abs(second).max())) == expected


@pytest.mark.parametrize(
    ("counts", "exponent", "maximum"),
    [
        (np.ones(4, np.int64), 0, 1.0),
        (np.ones(8, np.float32), 0, 1.0),
        (-np.ones(8, np.int64), 0, 1.0),
        (np.ones(8, np.int64), 0, 1.5),
        (np.ones(8, np.int64), 2, 1.0),
    ],
)
def test_counts_that_contradict_their_range_are_refused(counts, exponent, maximum):
    with pytest.raises(ValueError, match=r"counts|maximum"):
        Histogram.empty(8).add_counts(counts, exponent, maximum)


def test_other_bins_cannot_be_merged():
    with pytest.raises(ValueError, match="8 integers"):
        Histogram.empty(8).merge(Histogram.empty(16))


@pytest.mark.parametrize("bins", [0, 1, 3, 100])
def test_bins_must_be_a_power_of_two(bins):
    with pytest.raises(ValueError, match="power of two"):
        Histogram.empty(bins)


def test_files_round_trip(tmp_path):
    rng = np.random.default_rng(1)
    histograms = {
        f"encoder.{i}:input": Histogram.empty(32).add(rng.normal(size=50) * 10**i) for i in range(3)
    }
    histograms["zero:input"] = Histogram.empty(32).add(np.zeros(3))
    path = tmp_path / "histograms.npz"
    save_histograms(path, histograms)
    assert load_histograms(path) == histograms


def test_an_empty_file_round_trips(tmp_path):
    save_histograms(tmp_path / "none.npz", {})
    assert load_histograms(tmp_path / "none.npz") == {}


def test_damaged_and_missing_files(tmp_path):
    path = tmp_path / "histograms.npz"
    with pytest.raises(ArtifactError, match="not a readable"):
        load_histograms(path)
    save_histograms(path, {"a": Histogram.empty(32).add(np.ones(3))})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ArtifactError, match="not a readable"):
        load_histograms(path)
    np.savez(path, names=np.array(["a"]), counts=-np.ones((1, 8), np.int64), exponents=[0], maxima=[1.0])
    with pytest.raises(ArtifactError, match="not a readable"):
        load_histograms(path)
    np.savez(path, names=np.array([{}], dtype=object))
    with pytest.raises(ArtifactError, match="not a readable"):
        load_histograms(path)


def test_any_damaged_byte_is_an_artifact_error_or_harmless(tmp_path):
    path = tmp_path / "histograms.npz"
    rng = np.random.default_rng(3)
    save_histograms(path, {"a": Histogram.empty(256).add(rng.normal(size=5000))})
    data = path.read_bytes()
    refused = 0
    for at in range(0, len(data), 3):
        damaged = bytearray(data)
        damaged[at] ^= 0xFF
        path.write_bytes(damaged)
        try:
            load_histograms(path)
        except ArtifactError:
            refused += 1
    assert refused > len(data) // 6


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "histograms.npz"
    old = {"a": Histogram.empty(32).add(np.ones(3))}
    save_histograms(path, old)

    def full(file, **_):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez_compressed", full)
        with pytest.raises(StorageError, match="No space left"):
            save_histograms(path, {"b": Histogram.empty(32).add(np.ones(3))})
    assert load_histograms(path) == old
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_a_folder_that_does_not_exist_cannot_be_written(tmp_path):
    with pytest.raises(StorageError, match="cannot be written"):
        save_histograms(tmp_path / "missing" / "h.npz", {})
