"""Races against what a full evaluation says, on made-up errors by utterance."""

import math

import numpy as np
import pytest
from scipy import stats

from speechquant.search.race import SURE, _normal, _parts, halving, race


def population(kind, count, rng):
    """Words, errors of a reference and of a candidate, by utterance."""
    words = rng.integers(4, 45, count)
    reference = rng.binomial(words, 0.7 if kind == "weak model" else rng.beta(1.2, 12, count))
    if kind == "loops":
        reference = reference + (rng.random(count) < 0.03) * rng.integers(20, 120, count)
    candidate = reference + rng.binomial(words, 0.02) - rng.binomial(reference, 0.15)
    if kind == "loops":
        candidate = np.where(rng.random(count) < 0.03, np.minimum(candidate, 2), candidate)
        candidate = candidate + (rng.random(count) < 0.01) * 60
    return words, reference, candidate


@pytest.mark.parametrize(("kind", "count"), [("weak model", 48), ("loops", 48), ("good model", 156)])
def test_a_candidate_at_the_border_is_stopped_as_rarely_as_promised(kind, count):
    """The margin is exactly what the candidate loses on the whole set: any stop is an error."""
    rng, trials, alpha = np.random.default_rng(1), 400, 0.1
    wrong = 0
    for seed in range(trials):
        words, reference, candidate = population(kind, count, rng)
        margin = float((candidate - reference).sum())
        heat = race(candidate.__getitem__, reference, words, margin=margin, alpha=alpha, seed=seed)
        wrong += heat.lost
    # A coin with this bias would be above that once in a thousand times.
    assert wrong <= stats.binom.ppf(0.999, trials, alpha)


def test_a_clear_loser_hears_a_fraction_and_its_errors_are_estimated():
    rng, shares, off = np.random.default_rng(2), [], []
    for seed in range(40):
        words, reference, _ = population("good model", 156, rng)
        candidate = reference + rng.binomial(words, 0.2)
        heat = race(candidate.__getitem__, reference, words, margin=0.0, seed=seed)
        assert heat.lost
        shares.append(heat.share)
        off.append(heat.errors / candidate.sum() - 1)
    assert np.mean(shares) < 0.25
    assert abs(np.mean(off)) < 0.1


def test_what_is_certain_needs_no_chance():
    """Without a level only the deterministic rule is left, which is never wrong and finds catastrophes."""
    rng, stopped = np.random.default_rng(3), 0
    for seed in range(300):
        words, reference, candidate = population("loops", 64, rng)
        candidate = candidate + rng.binomial(words, rng.choice([0, 0.02, 0.8]))
        margin = float(rng.integers(0, 40))
        heat = race(candidate.__getitem__, reference, words, margin=margin, alpha=0.0, seed=seed)
        lost = (candidate - reference).sum() > margin
        assert lost or not heat.lost
        assert heat.lost or heat.errors == candidate.sum()
        assert not heat.lost or heat.errors - reference.sum() > margin
        stopped += heat.lost
    assert stopped > 50


@pytest.mark.parametrize("count", [1, 2, 7, 30, 157])
def test_every_utterance_is_asked_for_once(count):
    asked = []

    def errors(part):
        asked.extend(part)
        return np.zeros(len(part), dtype=np.int64)

    reference = np.random.default_rng(4).integers(0, 9, count)
    heat = race(errors, reference, np.full(count, 10), margin=0.0)
    assert sorted(asked) == list(range(count))
    assert (heat.errors, heat.share, heat.lost) == (0, 1, False)


def test_utterances_that_went_wrong_in_the_reference_come_first():
    reference = np.zeros(160, dtype=np.int64)
    reference[[5, 77, 140]] = 90
    sure, *others = _parts(reference, seed=0)
    assert {5, 77, 140} <= set(sure.tolist())
    assert len(sure) == 160 * SURE
    assert [one.tolist() for one in others] != [one.tolist() for one in _parts(reference, seed=1)[1:]]


@pytest.mark.parametrize("freedom", [11, 20, 100])
@pytest.mark.parametrize("t", [-2.0, 0.0, 1.5, 3.0, 5.0])
def test_the_normal_deviate_has_the_tail_of_students_t(freedom, t):
    mine = math.erfc(_normal(t, freedom) / math.sqrt(2)) / 2
    assert mine == pytest.approx(stats.t.sf(t, freedom), rel=0.03)


@pytest.mark.parametrize("count", [1, 2, 3, 11, 51])
def test_halving_names_every_candidate_and_starts_inside(count):
    order = halving(count)
    assert sorted(order) == list(range(count))
    if count > 4:
        assert order[0] not in {0, count - 1}
        assert max(np.diff(sorted(order[: count // 2]))) <= 4
