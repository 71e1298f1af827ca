"""AdaRound against rounding to nearest on its own objective, and against all roundings there are."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from rounding_problems import direct_error, made

from speechquant.errors import RecipeError
from speechquant.learn.rounding import GPTQ, AdaRound, Problem


def brute_force(problem):
    """Least error of each output over all 2^inputs choices of floor or ceiling."""
    low = (problem.weight / problem.scale).floor()
    choices = torch.tensor(list(itertools.product((0.0, 1.0), repeat=low.shape[-1])))
    best = []
    for row in range(low.shape[1]):
        q = (low[0, row] + choices).clamp(problem.qmin, problem.qmax)
        d = (q * problem.scale[0, row] - problem.weight[0, row]).double()
        e = ((d @ problem.gram[0].double()) * d).sum(-1) + 2 * (d @ problem.drift[0, row].double())
        best.append(float(e.min() + problem.offset[0, row]))
    return np.array(best)


@pytest.mark.parametrize("drift", [0.0, 0.3])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_close_to_the_best_of_all_roundings(bits, drift):
    problem, *_ = made(inputs=11, outputs=24, rows=300, rank=4, noise=1.0, bits=bits, drift=drift)
    best = brute_force(problem).sum()
    nearest = float(problem.error(problem.nearest()).sum())
    found = float(problem.error(AdaRound().solve(problem)).sum())
    assert nearest > 1.01 * best
    # A relaxation ends in a local minimum; it must win most of what there is to win.
    assert best * (1 - 1e-4) <= found <= best + 0.2 * (nearest - best)
    assert found <= 1.11 * best


@pytest.mark.parametrize("groups", [1, 3])
def test_follows_the_gradient_of_the_published_loss(groups):
    """Eq. 21 to 25 through autograd and a plain Adam; some weights lie beyond the range."""
    problem, *_ = made(inputs=20, outputs=12, rank=5, bits=3, drift=0.2, groups=groups)
    problem = dataclasses.replace(problem, scale=0.6 * problem.scale)
    ratio = problem.weight / problem.scale
    share = ratio - ratio.floor()
    # The inverse of the rectified sigmoid, which stretches by 1.2 and shifts by -0.1.
    v = torch.special.logit((share + 0.1) / 1.2).requires_grad_()
    unit = (problem.scale**2 * problem.gram.diagonal(dim1=1, dim2=2)[:, None]).mean((1, 2), keepdim=True)
    adam, steps = torch.optim.Adam([v], lr=0.05), 60
    for step in range(steps):
        h = (torch.sigmoid(v) * 1.2 - 0.1).clamp(0, 1)
        soft = (ratio.floor() + h).clamp(-3, 3) * problem.scale - problem.weight
        loss = ((soft @ problem.gram) * soft + 2 * soft * problem.drift).div(unit).sum()
        progress = (step / steps - 0.2) / 0.8
        if progress >= 0:
            beta = 2 + 9 * (1 + math.cos(math.pi * progress))
            loss = loss + (1 - (2 * h - 1).abs() ** beta).sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
    best = torch.where(torch.sigmoid(v) >= 0.5, ratio.ceil(), ratio.floor()).clamp(-3, 3)
    better = problem.error(best) < problem.error(problem.nearest())
    expected = torch.where(better[..., None], best, problem.nearest())
    assert torch.equal(AdaRound(iterations=steps).solve(problem), expected)
    assert (ratio.abs() > 3).any()
    assert not torch.equal(expected, problem.nearest())


def test_beats_nearest_where_inputs_are_correlated():
    problem, x, seen = made(inputs=48, outputs=40, rank=8, drift=0.1)
    found = AdaRound().solve(problem)
    ours, theirs = (direct_error(problem, x, seen, q) for q in (found, problem.nearest()))
    assert ours.sum() < 0.5 * theirs.sum()
    # Every output channel is a problem of its own and never gets worse.
    assert (ours <= theirs * (1 + 1e-4)).all()


def test_each_weight_moves_less_than_a_step_and_stays_on_the_grid():
    problem, *_ = made(inputs=48, outputs=40, bits=3, drift=0.2)
    found = AdaRound(iterations=300).solve(problem)
    assert bool(((found - problem.weight / problem.scale).abs() < 1).all())
    assert found.abs().max() <= 3
    assert not torch.equal(found, problem.nearest())


def test_weights_beyond_the_range_stay_at_its_end():
    problem, *_ = made(inputs=16, outputs=8)
    narrow = Problem(
        problem.weight, problem.scale / 3, -7, 7, problem.gram, problem.drift, problem.offset, problem.energy
    )
    found = AdaRound(iterations=200).solve(narrow)
    outside = (narrow.weight / narrow.scale).abs() > 8
    assert outside.any()
    assert bool((found[outside].abs() == 7).all())


def test_the_drift_of_the_inputs_is_repaired():
    """Asymmetric reconstruction: what the layers before broke is part of the error."""
    problem, x, seen = made(inputs=48, outputs=40, rank=40, drift=0.5, bits=3)
    blind = Problem(
        problem.weight,
        problem.scale,
        problem.qmin,
        problem.qmax,
        problem.gram,
        torch.zeros_like(problem.drift),
        torch.zeros_like(problem.offset),
        problem.energy,
    )
    sighted, blinded = (direct_error(problem, x, seen, AdaRound().solve(p)).sum() for p in (problem, blind))
    assert sighted < 0.97 * blinded


def test_activations_of_any_size_give_the_same_integers():
    problem, *_ = made(drift=0.1)
    large = Problem(
        problem.weight,
        problem.scale,
        problem.qmin,
        problem.qmax,
        *(2.0**20 * part for part in (problem.gram, problem.drift, problem.offset, problem.energy)),
    )
    method = AdaRound(iterations=200)
    assert torch.equal(method.solve(problem), method.solve(large))


def test_inputs_that_are_never_heard_are_rounded_to_nearest():
    problem, *_ = made()
    silent = Problem(
        problem.weight,
        problem.scale,
        -7,
        7,
        *(0 * part for part in (problem.gram, problem.drift, problem.offset, problem.energy)),
    )
    assert torch.equal(AdaRound(iterations=20).solve(silent), problem.nearest())


@pytest.mark.parametrize(
    "options", [{"iterations": 0}, {"rate": 0.0}, {"regularization": -1.0}, {"warm_start": 1.0}]
)
def test_impossible_options(options):
    with pytest.raises(RecipeError, match=next(iter(options))):
        AdaRound(**options)


@pytest.mark.parametrize("method", [AdaRound(iterations=100), GPTQ(), GPTQ(asymmetric=True)])
def test_a_grouped_convolution_is_one_linear_per_group(method):
    problem, *_ = made(groups=3, drift=0.2)
    loud = torch.tensor([1.0, 100.0, 0.01])[:, None, None]
    tensors = (problem.gram * loud, problem.drift * loud, problem.offset * loud[..., 0], problem.energy)
    whole = Problem(problem.weight, problem.scale, -7, 7, *tensors)
    alone = [
        Problem(
            problem.weight[g : g + 1], problem.scale[g : g + 1], -7, 7, *(part[g : g + 1] for part in tensors)
        )
        for g in range(3)
    ]
    assert torch.equal(method.solve(whole), torch.cat([method.solve(one) for one in alone]))
