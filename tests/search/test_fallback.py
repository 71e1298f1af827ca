"""Which layers are left in float, against brute force on models whose WER is a known function of their layers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from speechquant.numerics import Entry, QuantSpec, ScaleTable, Site
from speechquant.search import Jury, Tables, stablequant

LAYERS = ("input", "conv.0", "conv.1", "encoder.0", "head")
GRID = (0.0, 0.1, 0.2, 0.3)
FLOAT, WORDS = 500, 10_000


@dataclass(frozen=True)
class Score:
    errors: int
    words: int = WORDS

    @property
    def wer(self) -> float:
        return 100 * self.errors / self.words


class World:
    """Errors add up over the layers in a table: `alone` under max, `kept` at the best cut-off, more beside it.

    A negative `kept` is of a layer whose errors others make good.
    """

    def __init__(self, alone, kept, best):
        self.alone, self.kept, self.best, self.log = alone, kept, best, []

    def activations(self, layers, calibrator, bits, *, cutoff=-1.0, **options):
        sites = [Site(layer, "input", layer) for layer in layers]
        return ScaleTable({s.name: Entry(s, QuantSpec(bits), np.float32(cutoff)) for s in sites})

    def weights(self, layers, bits):
        spec, sites = QuantSpec(bits, "channel", narrow=True), [Site(x, "weight", x) for x in layers]
        return ScaleTable({s.name: Entry(s, spec, np.ones(2, np.float32)) for s in sites})

    def errors(self, cutoffs):
        """Of the model with these layers and cut-offs; None is max."""
        found = FLOAT
        for layer, p in cutoffs.items():
            off = 0 if p is None else round(1000 * abs(p - self.best.get(layer, p)))
            found += self.alone.get(layer, 0) if p is None else self.kept.get(layer, 0) + off
        return found

    def evaluate(self, table):
        inputs = [entry for entry in table if entry.site.role == "input"]
        # What is scored after stage 1 has the weights of the same layers, of no others.
        weights = {entry.site.layer for entry in table if entry.site.role == "weight"}
        assert weights in (set(), {entry.site.layer for entry in inputs})
        self.log.append(table.signature)
        scales = {entry.site.layer: round(float(entry.scale), 4) for entry in inputs}
        return Score(self.errors({layer: None if p < 0 else p for layer, p in scales.items()}))

    def search(self, evaluate=None, **settings):
        tables = Tables(self.activations, self.weights)
        return stablequant(LAYERS, tables, evaluate or self.evaluate, cutoffs=GRID, **settings)


def brute_force(world, max_drop, gamma=0.25):
    """Layers left in float, the cut-off and the errors: everything evaluated, nothing shared with the search."""
    costs = {layer: world.errors({layer: None}) - FLOAT for layer in LAYERS}
    ranked = sorted((x for x in LAYERS if costs[x] > gamma * WORDS / 100), key=costs.get, reverse=True)

    def tuned(gone):
        trials = []
        for p in GRID:
            here = {x: p if x in ranked else 0.0 for x in LAYERS if x not in gone}
            trials.append((world.errors(here), p))
        return min(trials)

    stages = [tuned(ranked[:count]) for count in range(len(ranked) + 1)]
    left = 0
    while (
        left < min(len(ranked), len(LAYERS) - 1)
        and stages[left][0] - FLOAT > max_drop * WORDS / 100
        and stages[left + 1][0] < stages[left][0]
    ):
        left += 1
    return tuple(ranked[:left]), stages[left][1], stages[left][0]


def random_case(seed):
    rng = np.random.default_rng(seed)
    world = World(
        {layer: int(rng.choice([0, 25, 26, 400, 8000])) for layer in LAYERS},
        {layer: int(rng.choice([-30, 0, 20, 60, 300])) for layer in LAYERS},
        {layer: float(rng.choice(GRID)) for layer in LAYERS},
    )
    max_drop = float(rng.choice([0.0, 0.5, 2.0, 5.0]))
    return world, max_drop


@pytest.mark.parametrize("seed", range(40))
def test_agrees_with_brute_force(seed):
    world, max_drop = random_case(seed)
    left, p, errors = brute_force(world, max_drop)
    found = world.search(max_drop=max_drop)
    assert found.float_layers == left
    assert found.dev_wer == pytest.approx(100 * errors / WORDS)
    assert set(found.p_opt.values()) <= {p}
    assert set(found.p_opt) == set(found.selected_layers)
    chosen = {entry.layer for entry in found.sensitivity if entry.selected}
    assert set(found.selected_layers) == chosen - set(left)
    assert {entry.site.layer for entry in found.table} == set(LAYERS) - set(left)


def test_the_cases_are_not_all_alike():
    """Brute force over the worlds above meets several ends."""
    assert {0, 1, 2} <= {len(brute_force(*random_case(seed))[0]) for seed in range(40)}


BAD = {"conv.0": 300, "conv.1": 8000, "head": 2000}


def test_the_most_sensitive_leave_first_and_no_more_than_needed():
    world = World(BAD, {"conv.0": 10, "conv.1": 200, "head": 100}, {})
    assert world.search(max_drop=1.1).float_layers == ("conv.1",)
    assert world.search(max_drop=1.09).float_layers == ("conv.1", "head")
    assert world.search(max_drop=3.1).float_layers == ()
    assert world.search(max_drop=0.0).float_layers == ("conv.1", "head", "conv.0")


def test_a_step_that_does_not_help_is_undone_and_the_last():
    # Without head as many errors as with it: conv.0, which would help, is not tried.
    world = World(BAD, {"conv.0": 100, "conv.1": 200, "head": 0}, {})
    found = world.search(max_drop=0.0)
    assert found.float_layers == ("conv.1",)
    assert found.selected_layers == ("conv.0", "head")
    assert found.dev_wer == pytest.approx(6.0)
    assert {entry.site.layer for entry in found.table} == set(LAYERS) - {"conv.1"}


def test_trials_are_those_of_the_search_that_counts():
    world = World(BAD, {"conv.1": 200}, {"conv.0": 0.1, "conv.1": 0.3, "head": 0.1})
    before, after = world.search(), world.search(max_drop=0.5)
    assert set(before.p_opt.values()) == {0.1}
    assert after.float_layers == ("conv.1",)
    assert [one.p for one in after.cutoffs] == list(GRID)
    assert [one.errors for one in after.cutoffs] == [
        world.errors({x: p if x in ("conv.0", "head") else 0.0 for x in LAYERS if x != "conv.1"})
        for p in GRID
    ]


def test_each_layer_gets_a_cutoff_of_its_own_again():
    best = {"conv.0": 0.1, "conv.1": 0.2, "head": 0.3}
    found = World(BAD, {"conv.1": 200}, best).search(max_drop=0.5, per_layer=True)
    assert found.float_layers == ("conv.1",)
    assert found.p_opt == {"conv.0": 0.1, "head": 0.3}


@pytest.mark.parametrize("max_drop", [None, math.inf])
def test_without_a_limit_it_is_the_algorithm_of_the_paper(max_drop):
    bad, paper = World(BAD, {"conv.1": 5000}, {"head": 0.1}), World(BAD, {"conv.1": 5000}, {"head": 0.1})
    found, expected = bad.search(max_drop=max_drop), paper.search()
    assert bad.log == paper.log
    assert (found.float_layers, found.selected_layers) == ((), ("conv.0", "conv.1", "head"))
    assert found.table.signature == expected.table.signature
    for name in ("p_opt", "cutoffs", "sensitivity", "dev_wer", "dev_passes", "dev_requests"):
        assert getattr(found, name) == getattr(expected, name)


def test_a_layer_stays_quantized():
    world = World(dict.fromkeys(LAYERS, 8000), dict.fromkeys(LAYERS, 200), {})
    found = world.search(max_drop=0.0)
    assert found.float_layers == LAYERS[:-1]
    assert found.selected_layers == LAYERS[-1:]
    assert len(found.table) == 2


def test_steps_say_what_they_are_without():
    steps = []
    World(BAD, {"conv.1": 200, "head": 60}, {}).search(max_drop=0.0, on_step=steps.append)
    assert len(steps) == len(LAYERS) + 3 * len(GRID)
    assert steps[len(LAYERS)] == "cut-off 0 %"
    assert "cut-off 0.2 % without conv.1" in steps
    assert "cut-off 0.2 % without conv.1, head" in steps


@pytest.mark.parametrize("max_drop", [0.5, 3.0])
def test_candidates_that_are_stopped_early_change_nothing(max_drop):
    world = World(BAD, {"conv.1": 400, "head": 200}, {"conv.0": 0.1, "head": 0.2})
    words = np.random.default_rng(0).integers(5, 40, 150)

    def each(table):
        rate = min(1.0, world.evaluate(table).errors / WORDS)
        return stats.binom.ppf(np.random.default_rng(1).random(len(words)), words, rate).astype(int)

    full = world.search(lambda table: Score(int(each(table).sum()), int(words.sum())), max_drop=max_drop)
    found = world.search(Jury(words, lambda table, part: each(table)[part]), max_drop=max_drop)
    assert full.float_layers
    assert found.float_layers == full.float_layers
    assert (found.p_opt, found.dev_wer) == (full.p_opt, full.dev_wer)
    assert found.table.signature == full.table.signature
    assert found.dev_passes < full.dev_passes


def test_a_model_that_rounding_repairs_keeps_its_layers():
    world = World(BAD, {"conv.0": 10, "conv.1": 200, "head": 100}, {"conv.0": 0.1})
    assert world.search(max_drop=0.5).float_layers
    heard = []

    def repaired(table):
        heard.append(table.signature)
        return Score(FLOAT + 40)

    found, whole = world.search(max_drop=0.5, shipped=repaired), world.search()
    assert (found.float_layers, found.table.signature) == ((), whole.table.signature)
    assert heard == [found.table.signature]
    assert found.dev_wer == pytest.approx(5.4)
    assert found.dev_passes == whole.dev_passes + 1


def test_each_choice_is_judged_as_it_is_shipped():
    world = World(BAD, {"conv.0": 10, "conv.1": 200, "head": 100}, {})
    judged = world.search(max_drop=0.0, shipped=world.evaluate)
    assert judged.float_layers == world.search(max_drop=0.0).float_layers == ("conv.1", "head", "conv.0")

    # Rounding repairs what conv.0 loses: it may stay.
    def repaired(table):
        quantized = {entry.site.layer for entry in table}
        return Score(world.evaluate(table).errors - 10 * ("conv.0" in quantized))

    assert world.search(max_drop=0.0, shipped=repaired).float_layers == ("conv.1", "head")


def test_without_a_limit_nothing_is_rounded_during_the_search():
    def never(table):
        raise AssertionError

    world = World(BAD, {"conv.1": 200}, {})
    assert world.search(max_drop=math.inf, shipped=never).table.signature == world.search().table.signature
