"""GPTQ against the textbook: invert the Hessian of what is left, again for every weight."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rounding_problems import direct_error, made

from speechquant.errors import RecipeError
from speechquant.learn.rounding import GPTQ, Problem


def textbook(problem, *, damping, order):
    """Optimal brain quantization row by row in a fixed order (Frantar et al. 2022, eq. 2), in float64."""
    found = np.empty(problem.weight.shape)
    for group, gram in enumerate(problem.gram.double().numpy()):
        hessian = 2 * gram + damping * np.mean(np.diag(2 * gram)) * np.eye(len(gram))
        indices = np.argsort(-np.diag(gram), kind="stable") if order else np.arange(len(gram))
        for row in range(found.shape[1]):
            rest = problem.weight[group, row].double().numpy().copy()
            scale = problem.scale[group, row].double().numpy()
            left = list(indices)
            while left:
                inverse = np.linalg.inv(hessian[np.ix_(left, left)])
                first = left[0]
                q = np.clip(np.rint(rest[first] / scale[first]), problem.qmin, problem.qmax)
                found[group, row, first] = q
                rest[left] -= (rest[first] - q * scale[first]) / inverse[0, 0] * inverse[:, 0]
                left = left[1:]
    return found


@pytest.mark.parametrize("order", [True, False])
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_equals_the_textbook(bits, order):
    problem, *_ = made(inputs=20, outputs=12, bits=bits, groups=2)
    found = GPTQ(order=order).solve(problem).numpy()
    assert np.mean(found != textbook(problem, damping=0.01, order=order)) <= 0.005
    assert not np.array_equal(found, problem.nearest().numpy())


def test_blocks_do_not_change_the_result():
    problem, *_ = made(inputs=150, outputs=4, rank=40, rows=400)
    found = GPTQ(order=False).solve(problem).numpy()
    assert np.mean(found != textbook(problem, damping=0.01, order=False)) <= 0.02


def test_independent_inputs_are_rounded_to_nearest():
    problem, *_ = made(inputs=32)
    diagonal = torch.diag_embed(torch.linspace(0.01, 100, 32))[None]
    alone = Problem(
        problem.weight, problem.scale, -7, 7, diagonal, problem.drift, problem.offset, problem.energy
    )
    for order in (True, False):
        assert torch.equal(GPTQ(order=order).solve(alone), problem.nearest())


@pytest.mark.parametrize("groups", [1, 3])
def test_beats_nearest_where_inputs_are_correlated(groups):
    problem, x, seen = made(inputs=48, outputs=40, rank=8, groups=groups)
    ours, theirs = (
        direct_error(problem, x, seen, q).sum() for q in (GPTQ().solve(problem), problem.nearest())
    )
    assert ours < 0.3 * theirs


def test_asymmetric_aims_at_the_float_outputs():
    problem, x, seen = made(inputs=48, outputs=40, rank=20, drift=0.5, groups=2)
    blind, sighted = (
        direct_error(problem, x, seen, GPTQ(asymmetric=aim).solve(problem)).sum() for aim in (False, True)
    )
    assert sighted < 0.9 * blind
    still, *_ = made(inputs=48, outputs=40)
    assert torch.equal(GPTQ(asymmetric=True).solve(still), GPTQ().solve(still))


def test_silent_inputs_and_singular_hessians():
    problem, *_ = made(inputs=24, rank=2)
    gram = problem.gram.clone()
    gram[:, 5] = gram[:, :, 5] = 0
    gram[:, 7], gram[:, :, 7] = gram[:, 6], gram[:, :, 6]
    gram[:, 7, 7] = gram[:, 6, 6]
    partly = Problem(
        problem.weight, problem.scale, -7, 7, gram, problem.drift, problem.offset, problem.energy
    )
    found = GPTQ(damping=1e-12).solve(partly)
    assert torch.equal(found[..., 5], problem.nearest()[..., 5])
    silent = Problem(
        problem.weight, problem.scale, -7, 7, 0 * gram, problem.drift, problem.offset, problem.energy
    )
    assert torch.equal(GPTQ().solve(silent), problem.nearest())


def test_a_weight_may_go_further_than_one_step():
    problem, *_ = made(inputs=48, outputs=40, rank=3)
    assert bool(((GPTQ().solve(problem) - problem.weight / problem.scale).abs() > 1).any())


@pytest.mark.parametrize("damping", [0.0, 1.5])
def test_impossible_damping(damping):
    with pytest.raises(RecipeError, match="damping"):
        GPTQ(damping=damping)
