"""The integer programme against all assignments."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechquant.errors import RecipeError
from speechquant.learn.allocation import Budget, solve

WIDTHS = (2, 3, 4, 6, 8)


@st.composite
def problems(draw):
    """Up to four matrices, costs over many orders of magnitude, and a limit that may or may not suffice."""
    count = draw(st.integers(1, 4))
    widths = sorted(draw(st.sets(st.sampled_from(WIDTHS), min_size=1)))
    cost = st.floats(1e-6, 100.0) | st.just(0.0)
    costs = [{width: draw(cost) for width in widths} for _ in range(count)]
    sizes = [{width: draw(st.integers(1, 10**7)) for width in widths} for _ in range(count)]
    most = sum(max(size.values()) for size in sizes)
    limit = draw(st.integers(0, most + 1))
    return costs, sizes, limit, draw(st.just(0) | st.integers(0, limit))


@settings(max_examples=60, deadline=None)
@given(problems())
def test_equals_brute_force(problem):
    costs, sizes, limit, floor = problem
    every = list(product(*(cost.keys() for cost in costs)))
    fitting = [
        sum(cost[width] for cost, width in zip(costs, choice, strict=True))
        for choice in every
        if floor <= sum(size[width] for size, width in zip(sizes, choice, strict=True)) <= limit
    ]
    found = solve(costs, sizes, limit, floor=floor)
    if not fitting:
        assert found is None
        return
    assert sum(size[width] for size, width in zip(sizes, found, strict=True)) <= limit
    total = sum(cost[width] for cost, width in zip(costs, found, strict=True))
    assert total == pytest.approx(min(fitting), rel=1e-6, abs=1e-6)


def test_a_limit_is_met_to_the_last_unit():
    costs = [{2: 1.0, 4: 0.0}] * 2
    sizes = [{2: 10**8, 4: 2 * 10**8}] * 2
    assert sorted(solve(costs, sizes, 3 * 10**8)) == [2, 4]
    assert solve(costs, sizes, 3 * 10**8 - 1) == [2, 2]
    assert solve(costs, sizes, 2 * 10**8 - 1) is None


@pytest.mark.parametrize(
    "values", [{}, {"average_bits": 3.0, "ratio": 8.0}, {"megabytes": 0.0}, {"ratio": float("nan")}]
)
def test_budgets_that_are_none(values):
    with pytest.raises(RecipeError):
        Budget(**values)


def test_budgets_in_bytes():
    assert Budget(average_bits=3.5).file_bytes(1000) is None
    assert Budget(megabytes=1.5).file_bytes(10**9) == 1_500_000
    assert Budget(ratio=8.0).file_bytes(1_000_001) == 125_000
    assert str(Budget(ratio=8.0)) == "ratio 8"
