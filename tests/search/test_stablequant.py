"""The search against the paper's listing, step by step, on models whose WER is a known function."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from speechquant.numerics import Entry, QuantSpec, ScaleTable, Site
from speechquant.search import (
    CUTOFFS,
    CountingEvaluator,
    Jury,
    Tables,
    plain,
    search_cutoffs,
    select_layers,
    stablequant,
)

LAYERS = ("input", "conv.0", "conv.1", "encoder.0", "head")


@dataclass(frozen=True)
class Score:
    errors: int
    words: int = 10_000

    @property
    def wer(self) -> float:
        return 100 * self.errors / self.words


class World:
    """Fake tables remember their recipe in the scale, so that a fake WER can be read off them."""

    def __init__(self, best: dict[str, float], cost: dict[str, int]) -> None:
        self.best, self.cost, self.log = best, cost, []

    def activations(self, layers, calibrator, bits, *, cutoff=0.0, **options):
        code = {"max": 1000.0, "percentile": 2000.0, "stablequant": cutoff}[calibrator]
        return ScaleTable(
            {
                f"{layer}:input": Entry(Site(layer, "input", layer), QuantSpec(bits), np.float32(code))
                for layer in layers
            }
        )

    def weights(self, layers, bits):
        spec = QuantSpec(bits, "channel", narrow=True)
        return ScaleTable(
            {
                f"{layer}:weight": Entry(Site(layer, "weight", layer), spec, np.ones(3, np.float32))
                for layer in layers
            }
        )

    def evaluate(self, table: ScaleTable) -> Score:
        self.log.append(table.signature)
        errors = 500
        for entry in table:
            if entry.site.role == "input":
                code, layer = float(entry.scale), entry.site.layer
                if code >= 1000:
                    errors += self.cost.get(layer, 0)
                else:
                    errors += round(1000 * abs(code - self.best.get(layer, code)))
        return Score(errors)

    def tables(self) -> Tables:
        return Tables(self.activations, self.weights)


def literal_algorithm_1(world: World, gamma: float) -> tuple[set[str], float]:
    """Lines 1-24 as printed, with brute force and no cache."""
    float_wer = world.evaluate(ScaleTable({})).wer
    chosen = set()
    for layer in LAYERS:
        if world.evaluate(world.activations([layer], "max", 8)).wer - float_wer > gamma:
            chosen.add(layer)
    scores = []
    for p in CUTOFFS:
        entries = {}
        for layer in LAYERS:
            table = world.activations([layer], "stablequant", 8, cutoff=p if layer in chosen else 0.0)
            entries.update(table.entries)
        scores.append(world.evaluate(ScaleTable(entries)).errors)
    return chosen, CUTOFFS[int(np.argmin(scores))]


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_the_listing(seed):
    rng = np.random.default_rng(seed)
    best = {layer: float(rng.choice(CUTOFFS)) for layer in LAYERS}
    cost = {layer: int(rng.choice([0, 25, 26, 900])) for layer in LAYERS}
    chosen, p_opt = literal_algorithm_1(World(best, cost), 0.25)
    found = stablequant(LAYERS, World(best, cost).tables(), World(best, cost).evaluate)
    assert set(found.selected_layers) == chosen
    assert all(p == p_opt for p in found.p_opt.values())


def test_a_layer_is_selected_only_above_gamma():
    world = World({}, {"input": 25, "conv.0": 26})
    found = select_layers(LAYERS, world.tables(), world.evaluate, gamma=0.25)
    assert [entry.layer for entry in found if entry.selected] == ["conv.0"]
    assert found[0].delta == pytest.approx(0.25)


def test_without_selected_layers_one_candidate_is_enough():
    world = World({}, {})
    found = stablequant(LAYERS, world.tables(), world.evaluate)
    assert found.selected_layers == ()
    assert len(found.cutoffs) == 1
    assert found.dev_passes == len(set(world.log)) == 1 + len(LAYERS) + 1


def test_identical_tables_are_evaluated_once():
    world = World({}, {"conv.0": 900})
    counted = CountingEvaluator(world.evaluate)
    table = world.activations(["conv.0"], "max", 8)
    assert counted(table) is counted(world.activations(["conv.0"], "max", 8))
    assert counted.passes == 1
    assert counted.requests == 2
    assert len(world.log) == 1


def test_per_layer_search_finds_a_separate_cutoff_for_each():
    best = {"conv.0": 0.1, "conv.1": 0.4}
    world = World(best, {"conv.0": 900, "conv.1": 900})
    shared = stablequant(LAYERS, world.tables(), world.evaluate)
    own = stablequant(LAYERS, world.tables(), world.evaluate, per_layer=True)
    assert len(set(shared.p_opt.values())) == 1
    assert own.p_opt == best
    assert own.dev_wer < shared.dev_wer


def test_unselected_layers_keep_cutoff_zero_and_ties_take_the_smallest():
    world = World({}, {"conv.1": 900})
    table, p_opt, scores = search_cutoffs(
        LAYERS, {"conv.1": 0.0}, ["conv.1"], world.tables(), world.evaluate, bits=(8, 8), cutoffs=(0.3, 0.1)
    )
    assert p_opt == {"conv.1": 0.3}  # the first of equals
    assert [score.p for score in scores] == [0.3, 0.1]
    assert float(table.get("conv.0:input").scale) == 0.0
    assert table.get("conv.1:input").scale == np.float32(0.3)
    assert table.get("head:weight") is not None


def test_plain_quantizes_every_layer_with_one_calibrator():
    world = World({}, dict.fromkeys(LAYERS, 10))
    found = plain(LAYERS, world.tables(), world.evaluate, calibrator="max")
    assert len(found.table) == 2 * len(LAYERS)
    assert found.dev_wer == pytest.approx(5.5)


class Panel:
    """The same worlds, but errors by utterance: noise around the error rate of the world."""

    def __init__(self, world: World, utterances: int = 120) -> None:
        self.world, self.heard = world, 0
        self.words = np.random.default_rng(0).integers(5, 40, utterances)

    def all_errors(self, table: ScaleTable) -> np.ndarray:
        rate = min(1.0, self.world.evaluate(table).errors / 10_000)
        # Common random numbers: the utterances that are hard for one table are hard for all.
        return stats.binom.ppf(np.random.default_rng(1).random(len(self.words)), self.words, rate).astype(int)

    def errors(self, table: ScaleTable, part: np.ndarray) -> np.ndarray:
        self.heard += len(part)
        return self.all_errors(table)[part]

    def whole(self, table: ScaleTable) -> Score:
        return Score(int(self.all_errors(table).sum()), int(self.words.sum()))


@pytest.mark.parametrize(("seed", "per_layer"), [(0, False), (1, False), (2, True)])
def test_a_jury_chooses_what_a_full_search_chooses_and_hears_less(seed, per_layer):
    rng = np.random.default_rng(seed)
    best = {layer: float(rng.choice(CUTOFFS)) for layer in LAYERS}
    cost = {layer: int(rng.choice([0, 5, 300, 6000])) for layer in LAYERS} | {"conv.1": 6000}
    panel = Panel(World(best, cost))
    full = stablequant(LAYERS, panel.world.tables(), panel.whole, per_layer=per_layer)
    jury = Jury(panel.words, panel.errors, seed)
    found = stablequant(LAYERS, panel.world.tables(), jury, per_layer=per_layer)
    assert found.selected_layers == full.selected_layers
    assert found.p_opt == full.p_opt
    assert found.dev_wer == full.dev_wer
    assert found.table.signature == full.table.signature
    assert [one.p for one in found.cutoffs[:51]] == list(CUTOFFS)
    assert found.dev_passes < 0.8 * full.dev_passes
    chosen = min(found.cutoffs[:51], key=lambda one: (one.errors, one.p))
    same = next(one for one in full.cutoffs if one.p == chosen.p)
    assert (chosen.share, chosen.wer, chosen.errors) == (1.0, same.wer, same.errors)


def test_equals_have_the_smallest_cutoff_although_the_middle_is_tried_first():
    panel = Panel(World({}, {"conv.1": 6000}))
    found = stablequant(
        LAYERS, panel.world.tables(), Jury(panel.words, panel.errors), cutoffs=(0.1, 0.2, 0.3, 0.4)
    )
    assert found.p_opt == {"conv.1": 0.1}


def test_a_table_that_was_scored_is_not_raced_again():
    panel = Panel(World({}, {"conv.0": 900}))
    counted = CountingEvaluator(Jury(panel.words, panel.errors))
    table = panel.world.activations(["conv.0"], "max", 8)
    score = counted(table)
    before = panel.heard
    heat = counted.compete(table, table, margin=-0.5)
    assert (heat.errors, heat.lost, panel.heard) == (score.errors, False, before)
    assert (counted.requests, counted.passes) == (2, 1)
