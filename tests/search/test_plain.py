"""Clipping all layers alike, on a model whose errors are a known function of its scales."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from speechquant.numerics import Entry, QuantSpec, ScaleTable, Site
from speechquant.search import Tables, plain_stablequant

LAYERS = ("input", "conv.0", "head")
ERRORS = {0.0: 90, 0.1: 40, 0.2: 70, 0.3: 40, 0.4: 95}


def activations(layers, calibrator, bits, *, cutoff):
    assert calibrator == "stablequant"
    scale = np.float32(1 + cutoff)
    return ScaleTable({f"{n}:input": Entry(Site(n, "input", n), QuantSpec(bits), scale) for n in layers})


def weights(layers, bits):
    spec = QuantSpec(bits, "channel", narrow=True)
    return ScaleTable(
        {f"{n}:weight": Entry(Site(n, "weight", n), spec, np.ones(3, np.float32)) for n in layers}
    )


def run(cutoffs):
    asked = []

    def evaluate(table):
        scales = {float(entry.scale) for entry in table if entry.site.role == "input"}
        (scale,) = scales
        asked.append(round(scale - 1, 3))
        errors = ERRORS[asked[-1]]
        return SimpleNamespace(errors=errors, words=10_000, wer=errors / 100)

    return plain_stablequant(
        LAYERS, Tables(activations, weights), evaluate, bits=(4, 6), cutoffs=cutoffs
    ), asked


def test_the_smallest_of_the_best_cutoffs_clips_every_layer():
    found, asked = run(tuple(ERRORS))
    assert sorted(asked) == sorted(ERRORS)
    assert found.p_opt == dict.fromkeys(LAYERS, 0.1)
    assert found.selected_layers == LAYERS
    assert {entry.site.layer for entry in found.table} == set(LAYERS)
    assert {entry.spec.bits for entry in found.table if entry.site.role == "input"} == {6}
    assert {entry.spec.bits for entry in found.table if entry.site.role == "weight"} == {4}
    assert found.dev_wer == pytest.approx(0.4)
    assert found.dev_passes == len(ERRORS)
    assert [(score.p, score.errors) for score in found.cutoffs] == list(ERRORS.items())


def test_one_cutoff_is_no_choice():
    found, asked = run((0.2,))
    assert (asked, found.p_opt) == ([0.2], dict.fromkeys(LAYERS, 0.2))
