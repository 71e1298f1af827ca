"""Which operators in float were left there on purpose: those that the scale table says nothing of."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from speechquant.engines import Coverage
from speechquant.jobs.coverage import shown_coverage
from speechquant.numerics import Entry, QuantSpec, ScaleTable, Site

SITES = [
    Site(name, role, layer)
    for name, layer in (("conv2", "conv.0"), ("conv3", "conv.1"), ("fc1", "encoder.0"), ("fc2", "encoder.0"))
    for role in ("input", "weight")
]
MODEL = SimpleNamespace(sites=lambda: SITES)


def table(*layers, roles=("input", "weight")):
    entries = [Entry(site, QuantSpec(8), np.float32(1)) for site in SITES if site.layer in layers]
    return ScaleTable({e.site.name: e for e in entries if e.site.role in roles})


def test_operators_of_layers_without_scales():
    found = Coverage(1, 4, ("conv3", "fc1", "fc2"), ("fc2",))
    shown = shown_coverage(MODEL, table("conv.0", "encoder.0"), found)
    assert shown.on_purpose == {"conv3": "conv.1"}
    assert shown.fallen_back
    assert (shown.int8, shown.total, shown.fallbacks) == (1, 4, ("conv3", "fc1", "fc2"))
    assert shown_coverage(MODEL, table("conv.0"), found).on_purpose == {
        "conv3": "conv.1", "fc1": "encoder.0", "fc2": "encoder.0",
    }  # fmt: skip


def test_nothing_is_on_purpose_where_everything_was_to_be_quantized():
    everything = table("conv.0", "conv.1", "encoder.0")
    shown = shown_coverage(MODEL, everything, Coverage(0, 4, ("conv2", "conv3", "fc1", "fc2")))
    assert shown.on_purpose == {}
    assert shown.fallen_back


def test_weights_alone_are_small_and_multiply_floats():
    alone = table("conv.0", "encoder.0", roles=("weight",))
    shown = shown_coverage(MODEL, alone, Coverage(0, 4, ("conv2", "conv3", "fc2"), (), 1))
    assert (shown.expanded, shown.fallbacks) == (("conv2", "fc2"), ("conv3",))
    assert shown.on_purpose == {"conv3": "conv.1"}
    assert not shown.fallen_back


def test_small_operators_are_counted_whatever_makes_them_small():
    shown = shown_coverage(MODEL, table("conv.0", "encoder.0"), Coverage(1, 4, ("conv3",), (), 1, ("fc2",)))
    assert (shown.small, shown.fallen_back) == (3, False)


def test_an_operator_of_no_known_layer_was_not_left_on_purpose():
    shown = shown_coverage(MODEL, table("conv.0"), Coverage(0, 2, ("conv3", "lm_head")))
    assert shown.fallbacks == ("conv3", "lm_head")
    assert shown.on_purpose == {"conv3": "conv.1"}
    assert shown.fallen_back
