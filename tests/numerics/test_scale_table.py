"""Words for quantized tensors: specs, sites, and the signature that evaluations are stored under."""

from __future__ import annotations

import numpy as np
import pytest

from speechquant.errors import RecipeError
from speechquant.numerics import Entry, QuantSpec, ScaleTable, Site


def entry(name="encoder.0.q", scale=0.1, bits=8, role="input"):
    return Entry(Site(name, role, "encoder.0"), QuantSpec(bits), np.asarray(scale, np.float32))


def table(*entries):
    return ScaleTable({e.site.name: e for e in entries})


def test_the_signature_of_a_table_is_fixed_for_good():
    """Stored evaluations are found by it: a change here throws away the results of every interrupted run."""
    signature = table(entry(), entry("encoder.0.q", [0.5, 0.25], 4, "weight")).signature
    assert signature == "10b4e65ab8c6729e68e646e815aa81577818a805f28d04c6cba6a712d864440f"


def test_order_memory_layout_and_precision_do_not_matter():
    first, second = entry("a"), entry("b", [1, 2, 3])
    strided = Entry(second.site, second.spec, np.arange(1, 7, 0.5, dtype=np.float64)[::2][[0, 2, 4]])
    assert table(first, second).signature == table(second, first).signature
    strided_same = Entry(second.site, second.spec, np.array([1, 9, 2, 9, 3, 9], ">f8")[::2])
    assert table(first, second).signature == table(first, strided_same).signature
    assert np.array_equal(strided.scale, [1, 3, 5])


@pytest.mark.parametrize(
    "other",
    [
        entry(scale=np.nextafter(np.float32(0.1), np.float32(1))),
        entry(scale=[0.1]),
        entry(bits=7),
        entry(name="encoder.1.q"),
        entry(role="weight"),
    ],
)
def test_every_difference_changes_the_signature(other):
    assert table(entry()).signature != table(other).signature


def test_empty_tables_and_specs_differ_too():
    narrow = Entry(entry().site, QuantSpec(8, narrow=True), entry().scale)
    assert len({table().signature, table(entry()).signature, table(narrow).signature}) == 3


def test_lookup_merge_and_iteration():
    base, more = table(entry("a"), entry("b")), table(entry("b", 0.2), entry("c"))
    merged = base.merged(more)
    assert [e.site.module for e in merged] == ["a", "b", "c"]
    assert len(merged) == 3
    assert merged.get("b:input").scale == np.float32(0.2)
    assert merged.get("d:input") is None
    assert base.get("b:input").scale == np.float32(0.1)


@pytest.mark.parametrize("bits", [-1, 0, 1, 17, 32])
def test_bits_out_of_range(bits):
    with pytest.raises(RecipeError, match=f"{bits} bits are out of range; choose 2 to 16"):
        QuantSpec(bits)


@pytest.mark.parametrize(
    ("bits", "narrow", "low", "high"), [(2, True, -1, 1), (8, False, -128, 127), (16, True, -32767, 32767)]
)
def test_ranges(bits, narrow, low, high):
    spec = QuantSpec(bits, narrow=narrow)
    assert (spec.qmin, spec.qmax) == (low, high)


def test_site_names():
    assert (
        Site("encoder.layers.3.attention.q_proj", "input", "encoder.3").name
        == "encoder.layers.3.attention.q_proj:input"
    )
