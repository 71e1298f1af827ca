"""Which bits: draws as torch makes them, budgets as enumeration finds them, the multiplier by hand."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.nn import functional

from speechquant.learn.mixed import Annealing, BitChoice, Group, SearchPlan, gumbel, relaxed
from speechquant.learn.training.seeding import derived_seed

WIDTHS = (2, 3, 4, 8)


def groups(*weights, widths=WIDTHS):
    return [Group((f"m{i}",), n, {bits: bits * n for bits in widths}) for i, n in enumerate(weights)]


def choice_of(*weights, average=4.0, updates=10, **settings):
    made = groups(*weights)
    plan = SearchPlan(Annealing(updates), limit=int(average * sum(weights)), **settings)
    return BitChoice(made, plan)


@pytest.mark.parametrize("temperature", [2.0, 1.0, 0.3])
def test_a_draw_is_that_of_torch(temperature):
    logits = torch.tensor([0.5, -0.3, 1.2, 0.0], requires_grad=True)
    torch.manual_seed(derived_seed("gumbel", 7, 3))
    expected = functional.gumbel_softmax(logits, tau=temperature)
    weight = torch.tensor([1.0, 2.0, -1.0, 0.5])
    (wanted,) = torch.autograd.grad((expected * weight).sum(), logits)
    places, shares = relaxed(logits, gumbel((4,), 7, 3), temperature, paths=4, threshold=0.0)
    assert places == (0, 1, 2, 3)
    torch.testing.assert_close(shares, expected)
    (got,) = torch.autograd.grad((shares * weight).sum(), logits)
    torch.testing.assert_close(got, wanted)


def test_noise_follows_from_its_parts_and_is_gumbel():
    assert torch.equal(gumbel((3,), 1, 2), gumbel((3,), 1, 2))
    assert not torch.equal(gumbel((3,), 1, 2), gumbel((3,), 1, 3))
    sample = gumbel((200_000,), 5)
    assert float(sample.mean()) == pytest.approx(0.5772, abs=0.01)
    assert float(sample.var()) == pytest.approx(math.pi**2 / 6, abs=0.03)


def test_only_the_largest_shares_take_part():
    scores, none = torch.tensor([0.0, 3.0, 2.0, 1.0]), torch.zeros(4)
    places, shares = relaxed(scores, none, 1.0, paths=2, threshold=0.0)
    assert places == (1, 2)
    torch.testing.assert_close(shares, torch.softmax(torch.tensor([3.0, 2.0]), dim=0))
    assert relaxed(scores, none, 0.1, paths=2, threshold=0.01)[0] == (1,)
    # How often a candidate leads is the softmax of the scores (the Gumbel-max trick).
    draws = [relaxed(scores, gumbel((4,), i), 1.0, paths=1, threshold=0.0)[0][0] for i in range(4000)]
    shares = torch.bincount(torch.tensor(draws), minlength=4) / 4000
    torch.testing.assert_close(shares, torch.softmax(scores, dim=0), atol=0.025, rtol=0)


def test_temperature_and_noise_fade():
    plan = Annealing(8, hot=2.0, cold=0.5)
    assert [plan.temperature(step) for step in (0, 4, 8, 20)] == pytest.approx([2.0, 1.0, 0.5, 0.5])
    assert [plan.noise(step) for step in (0, 4, 8, 20)] == pytest.approx([1.0, 0.5, 0.0, 0.0])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("average", [2.0, 2.7, 3.4, 5.0, 8.0])
def test_settled_bits_are_the_best_within_the_budget(seed, average):
    weights = (7, 20, 5, 11)
    choice = choice_of(*weights, average=average, updates=1)
    torch.manual_seed(seed)
    with torch.no_grad():
        choice.logits.copy_(torch.randn_like(choice.logits))
    choice.begin(1)
    limit = int(average * sum(weights))

    def worth(combination):
        total = 0.0
        for logits, place in zip(choice.logits.tolist(), combination, strict=True):
            best = logits.index(max(logits))
            way = range(min(place, best), max(place, best) + 1)
            total -= sum(max(logits) - logits[passed] for passed in way)
        return total

    def size(combination):
        return sum(weights[row] * WIDTHS[place] for row, place in enumerate(combination))

    fitting = [c for c in itertools.product(range(4), repeat=4) if size(c) <= limit]
    fitting = [c for c in fitting if size(c) >= 0.98 * limit] or fitting
    found = tuple(WIDTHS.index(bits) for bits in choice.bits().values())
    assert size(found) <= limit
    assert worth(found) == pytest.approx(max(map(worth, fitting)))
    largest = tuple(choice.logits.argmax(dim=1).tolist())
    assert (found == largest) == (largest in fitting)
    assert len(choice.repaired()) == sum(a != b for a, b in zip(found, largest, strict=True))
    assert choice.shares("m2") == ((found[2],), torch.ones(1))


def test_the_penalty_is_the_augmented_lagrangian_of_the_expected_size():
    weights = (10, 30)
    choice = choice_of(*weights, average=3.0, updates=4, curvature=2.0, gain=8.0)
    with torch.no_grad():
        choice.logits.copy_(torch.tensor([[0.1, 0.2, 0.3, 0.9], [0.0, 1.0, 0.0, -1.0]]))
    choice.begin(2)
    chances = torch.softmax(choice.logits.detach().double() / Annealing(4).temperature(2), dim=1)
    expected = sum(
        n * bits * float(chances[row, place])
        for row, n in enumerate(weights)
        for place, bits in enumerate(WIDTHS)
    )
    excess = expected / (3.0 * 40) - 1
    assert excess > 0
    assert float(choice.penalty().detach()) == pytest.approx(2 * 2.0 / 2 * excess**2)
    choice.end()
    held = 8.0 / 4 * excess
    assert float(choice.multiplier) == pytest.approx(held)
    assert float(choice.penalty().detach()) == pytest.approx(2 * (held * excess + 2.0 / 2 * excess**2))
    assert choice.figures()["average_bits"] == pytest.approx(expected / 40)
    # Below the budget it pulls upwards.
    spare = choice_of(*weights, average=8.0)
    spare.begin(0)
    (gradient,) = torch.autograd.grad(spare.penalty(), spare.logits)
    assert (gradient[:, -1] < 0).all()
    spare.end()
    assert float(spare.multiplier) < 0


@pytest.mark.parametrize("average", [2.2, 3.0, 5.5])
def test_a_search_begins_at_its_budget_and_treats_all_alike(average):
    weights = (10, 30, 7)
    choice = choice_of(*weights, average=average)
    assert choice.figures()["average_bits"] == pytest.approx(average, abs=0.02)
    rows = choice.logits.detach()
    assert torch.equal(rows[0], rows[1])
    # Exponential in bits: of all distributions with this mean the one with the largest entropy.
    slopes = rows[0].diff() / torch.tensor(WIDTHS, dtype=torch.float32).diff()
    torch.testing.assert_close(slopes, slopes[:1].expand(3))


@pytest.mark.parametrize("average", [2.0, 8.0])
def test_a_budget_at_the_end_of_the_range_begins_close_to_it(average):
    choice = choice_of(10, 30, average=average)
    assert choice.figures()["average_bits"] == pytest.approx(average, abs=0.25)
    assert torch.isfinite(choice.logits).all()
    assert torch.softmax(choice.logits, dim=1).max() < 1


def test_with_known_costs_a_search_begins_near_the_best_assignment():
    weights = (10, 10, 20)
    # The second matrix is 100 times as sensitive as the others.
    costs = {f"m{i}": {b: factor * 4.0**-b for b in WIDTHS} for i, factor in enumerate((1.0, 100.0, 1.0))}
    limit = 4 * sum(weights)

    def total(places):
        return sum(costs[f"m{i}"][WIDTHS[place]] for i, place in enumerate(places))

    def size(places):
        return sum(n * WIDTHS[place] for n, place in zip(weights, places, strict=True))

    every = itertools.product(range(4), repeat=3)
    best = min((places for places in every if 0.98 * limit <= size(places) <= limit), key=total)
    assert best[1] == 3
    choice = BitChoice(groups(*weights), SearchPlan(Annealing(5), limit=limit), costs)
    assert tuple(choice.bits().values()) == tuple(WIDTHS[place] for place in best)
    assert choice.figures()["average_bits"] == pytest.approx(4.0, abs=0.02)
    # The tilt to the budget is linear in bits; without it, logits fall by one with each step away.
    for row, place in zip(choice.logits.detach().tolist(), best, strict=True):
        plain = [-abs(n - place) for n in range(4)]
        tilt = [(value - before) for value, before in zip(row, plain, strict=True)]
        slopes = [(b - a) / (w - v) for a, b, v, w in zip(tilt, tilt[1:], WIDTHS, WIDTHS[1:], strict=False)]
        assert slopes == pytest.approx([slopes[0]] * 3, abs=1e-5)


def test_a_plain_penalty_takes_the_largest_logits():
    choice = BitChoice(groups(10, 30), SearchPlan(Annealing(2), penalty=0.5))
    choice.begin(0)
    assert float(choice.penalty().detach()) == pytest.approx(0.5 * sum(WIDTHS) / 4)
    with torch.no_grad():
        choice.logits[0, 3] = choice.logits[1, 1] = 1
    choice.end()
    choice.begin(2)
    assert choice.bits() == {"m0": 8, "m1": 3}
    assert not choice.repaired()
    assert float(choice.penalty()) == 0


def test_matrices_of_a_group_share_their_bits():
    made = [
        Group(("a", "b"), 20, {2: 40, 8: 160}),
        Group(("c",), 5, {2: 10, 8: 40}),
    ]
    choice = BitChoice(made, SearchPlan(Annealing(3), limit=90))
    with torch.no_grad():
        choice.logits.copy_(torch.tensor([[0.0, 2.0], [0.0, 1.0]]))
    assert choice.bits() == {"a": 2, "b": 2, "c": 8}
    assert choice.repaired() == ("a", "b")
    assert choice.preferences()["b"] == {2: 2.0, 8: 0.0}
    choice.begin(0)
    assert choice.shares("a")[0] == choice.shares("b")[0]
    assert choice.expected()["a"] == pytest.approx(2 + 6 / (1 + math.exp(-2)), abs=1e-3)


def test_noise_is_the_same_for_an_update_and_another_for_the_next():
    choice = choice_of(3, 4, updates=100, paths=4, threshold=0.0)
    choice.begin(5)
    first = choice.shares("m1")[1]
    choice.begin(6)
    second = choice.shares("m1")[1]
    choice.begin(5)
    assert torch.equal(choice.shares("m1")[1], first)
    assert not torch.equal(first, second)
