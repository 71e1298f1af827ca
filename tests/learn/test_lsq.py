"""Learned step sizes against the paper's closed form, against autograd, and at what they are for."""

from __future__ import annotations

import math

import pytest
import torch

from speechquant.learn.lsq import StepSize, gradient_scale, lsq
from speechquant.numerics import QuantSpec
from speechquant.simulation import fake_quantize

THREE = QuantSpec(3)


def surrogate(x, scale, spec):
    """The same function for autograd: rounding is a constant offset, the rest is differentiated as it stands."""
    steps = (x / scale).clamp(spec.qmin, spec.qmax)
    return (steps + (steps.round() - steps).detach()) * scale


def test_the_closed_form_of_the_paper():
    # Steps of 0.5 and levels -4 ... 3: eq. 3 gives -4 and 3 outside, round(v) - v inside.
    x = torch.tensor([-9.0, -2.2, -0.6, 0.1, 0.9, 1.3, 5.0], requires_grad=True)
    scale = torch.tensor(0.5, requires_grad=True)
    weights = torch.arange(1.0, 8.0)
    (lsq(x, scale, THREE) * weights).sum().backward()
    slopes = torch.tensor([-4.0, -4.0, -1 + 1.2, 0 - 0.2, 2 - 1.8, 3 - 2.6, 3.0])
    torch.testing.assert_close(scale.grad, (slopes * weights).sum())
    torch.testing.assert_close(x.grad, weights * torch.tensor([0.0, 0, 1, 1, 1, 1, 0]))


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("narrow", [True, False])
def test_gradients_are_those_of_autograd(bits, narrow):
    generator = torch.Generator().manual_seed(bits)
    spec = QuantSpec(bits, "channel", narrow=narrow)
    x = torch.randn(5, 40, generator=generator, dtype=torch.float64)
    scale = torch.rand(5, 1, generator=generator, dtype=torch.float64) * 2 / spec.qmax + 0.01
    found = []
    for function in (lsq, surrogate):
        one, two = x.clone().requires_grad_(), scale.clone().requires_grad_()
        (function(one, two, spec) ** 3).sum().backward()
        found.append((one.grad, two.grad))
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize(
    ("weight", "spec"), [(False, QuantSpec(8)), (True, QuantSpec(4, "channel", narrow=True))]
)
def test_values_are_those_of_the_simulation(weight, spec):
    x = torch.randn(6, 3, 7)
    scale = torch.rand(6) / spec.qmax if weight else torch.tensor(0.01)
    step = StepSize(scale, spec, learned=True, weight=weight)
    expected = fake_quantize(x, scale, spec, axis=0 if weight else None)
    assert torch.equal(step(x), expected)
    assert torch.equal(StepSize(scale, spec, learned=False, weight=weight)(x), expected)


def test_gradient_scale_counts_what_shares_a_step():
    x = torch.randn(4, 3, 10)
    for weight, shape, values in ((False, (), 30), (True, (), 120), (True, (4,), 30)):
        spec = QuantSpec(4, "channel" if shape else "tensor")
        step = StepSize(torch.full(shape, 0.2), spec, learned=True, weight=weight)
        step(x).sum().backward()
        scale = torch.full(shape, 0.2, requires_grad=True)
        wide = scale.view(-1, 1, 1) if shape else scale
        lsq(x, wide, spec).sum().backward()
        # The optimizer sees the logarithm, whose gradient is that of the scale times the scale.
        expected = scale.grad * 0.2 / math.sqrt(values * 7)
        torch.testing.assert_close(step.shift.grad, expected)
        assert gradient_scale(values, spec) == pytest.approx(1 / math.sqrt(values * 7))


def test_a_fixed_step_leaves_only_the_straight_through_estimator():
    step = StepSize(torch.tensor(0.5), THREE, learned=False, weight=False)
    x = torch.tensor([[-9.0, -0.6, 0.1, 1.3, 5.0]], requires_grad=True)
    (step(x) * 2).sum().backward()
    assert x.grad.tolist() == [[0, 2, 2, 2, 0]]
    assert step.shift.grad is None


def test_rows_are_rows_of_the_whole():
    step = StepSize(torch.rand(9) / 7, QuantSpec(4, "channel", narrow=True), learned=True, weight=True)
    table, ids = torch.randn(9, 5, requires_grad=True), torch.tensor([[3, 3], [8, 0]])
    weights = torch.randn(2, 2, 5)
    (step.rows(table, ids) * weights).sum().backward()
    found = table.grad.clone(), step.shift.grad.clone()
    assert torch.equal(step.rows(table, ids), step(table)[ids])
    table.grad, step.shift.grad = None, None
    (step(table)[ids] * weights).sum().backward()
    torch.testing.assert_close(found, (table.grad, step.shift.grad))


@pytest.mark.parametrize("factor", [0.2, 5.0])
def test_learning_a_step_finds_the_least_squared_error(factor):
    x = torch.randn(1, 4096, generator=torch.Generator().manual_seed(1))
    spec = QuantSpec(4)
    grid = torch.linspace(0.05, 1.5, 291)
    errors = [float(((fake_quantize(x, scale, spec) - x) ** 2).mean()) for scale in grid]
    step = StepSize(grid[errors.index(min(errors))] * factor, spec, learned=True, weight=False)
    optimizer = torch.optim.Adam(step.parameters(), lr=0.05)
    before = float(((step(x) - x) ** 2).mean().detach())
    for _ in range(150):
        optimizer.zero_grad()
        error = ((step(x) - x) ** 2).mean()
        error.backward()
        optimizer.step()
    assert float(error.detach()) < before / 4
    assert float(error.detach()) < 1.1 * min(errors)
