"""The layer-adaptive baselines on models whose WER is a known function of their tables."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

import numpy as np

from speechquant.numerics import Entry, QuantSpec, ScaleTable, Site
from speechquant.search import Tables, layer_adaptive

LAYERS = ("input", "conv.0", "conv.1", "head")
COSTS = {"conv.0": 26, "conv.1": 4000, "head": 25}
CODES = {"max": 1.0, "entropy": 2.0, "percentile": 3.0}


@dataclass(frozen=True)
class Score:
    errors: int
    words: int = 10_000

    @property
    def wer(self):
        return 100 * self.errors / self.words


def activations(layers, calibrator, bits, *, extra=0.0, **options):
    del options
    scale = np.float32(CODES[calibrator] + extra)
    return ScaleTable({f"{n}:input": Entry(Site(n, "input", n), QuantSpec(bits), scale) for n in layers})


def weights(layers, bits):
    spec = QuantSpec(bits, "channel", narrow=True)
    return ScaleTable(
        {f"{n}:weight": Entry(Site(n, "weight", n), spec, np.ones(3, np.float32)) for n in layers}
    )


def run(**options):
    asked = []

    def evaluate(table):
        asked.append(sorted(table.entries))
        return Score(
            500 + sum(COSTS.get(entry.site.layer, 0) for entry in table if entry.site.role == "input")
        )

    found = layer_adaptive(
        LAYERS, Tables(activations, weights), evaluate, calibrator="entropy", bits=(4, 6), **options
    )
    return found, asked


def test_selected_layers_get_the_calibrator_and_the_others_max():
    found, asked = run(extra=0.5)
    assert found.selected_layers == ("conv.0", "conv.1")
    scales = {entry.site.layer: float(entry.scale) for entry in found.table if entry.site.role == "input"}
    assert scales == {"input": 1.0, "conv.0": 2.5, "conv.1": 2.5, "head": 1.0}
    assert {e.spec.bits for e in found.table if e.site.role == "input"} == {6}
    assert {e.spec.bits for e in found.table if e.site.role == "weight"} == {4}
    assert len(found.table) == 2 * len(LAYERS)
    assert asked == [[], *([f"{layer}:input"] for layer in LAYERS)]
    assert (found.dev_passes, found.p_opt, isnan(found.dev_wer)) == (1 + len(LAYERS), None, True)


def test_gamma_and_the_calibrator_of_the_selection_are_used():
    assert run(gamma=30)[0].selected_layers == ("conv.1",)
    assert run(gamma=1e6)[0].selected_layers == ()
    found, asked = run(selection_weights=True, selection_calibrator="percentile")
    assert asked[1] == ["input:input", "input:weight"]
    assert [item.layer for item in found.sensitivity] == list(LAYERS)
