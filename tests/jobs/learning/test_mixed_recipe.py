"""What the settings of mixed precision can be, found out before anything is trained."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest

from speechquant.errors import RecipeError
from speechquant.jobs.learn_recipe import LearnRecipe, load_learn_recipe
from speechquant.jobs.mixed_recipe import CRITERIA
from speechquant.learn.allocation import Criterion, base, criterion_names, register


def recipe(**settings):
    place = {"model": "m", "output": "o", "train": "t", "dev": "d"}
    return load_learn_recipe(**{**place, "method": "one-stage", "average_bits": 3, **settings})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"weight_group": 48}, "--weight-group: choose 16, 32, 64, 128 or 256, not 48"),
        ({"criterion": "x"}, "--criterion: choose kl, hessian or fisher, not 'x'"),
        ({"bit_start": "x"}, "--bit-start: choose even, kl, hessian or fisher, not 'x'"),
        ({"criterion": "even"}, "--criterion: choose kl, hessian or fisher, not 'even'"),
        ({"seed": -1}, "--seed"),
        ({"seed": 2**32}, "--seed"),
        ({"candidates": (1.5, 4)}, "fractions are for --code entropy"),
    ],
)
def test_what_is_impossible_is_refused(settings, words):
    with pytest.raises(RecipeError) as caught:
        recipe(**settings)
    assert words in str(caught.value)


def test_groups_that_engines_have():
    assert [recipe(weight_group=size).weight_group for size in (16, 32, 64, 128, 256)] == [
        16,
        32,
        64,
        128,
        256,
    ]


def test_the_ternary_code_has_two_names():
    assert recipe(candidates=("1.58", "4")).candidates == (2, 4)
    assert recipe(candidates=(2, 1.58, 4)).candidates == (2, 4)
    # As entropy, 1.58 bits are a candidate like any other.
    assert recipe(candidates=(1.58, 2), code="entropy").candidates == (1.58, 2)


def test_all_shipped_criteria_are_named():
    assert sorted(CRITERIA) == list(criterion_names())
    properties = LearnRecipe.model_json_schema()["properties"]
    assert properties["criterion"]["enum"] == list(CRITERIA)
    assert properties["bit_start"]["enum"] == ["even", *CRITERIA]


def test_a_new_criterion_is_accepted_at_once(monkeypatch):
    monkeypatch.setattr(base, "_REGISTER", dict(base._REGISTER))

    @register("mine")
    @dataclass(frozen=True)
    class Mine(Criterion):
        def costs(self, speech, matrices, seed, on_step):
            yield from ()

    made = recipe(criterion="mine", bit_start="mine")
    assert (made.criterion, made.bit_start) == ("mine", "mine")
    with pytest.raises(RecipeError, match="choose kl, hessian, fisher or mine, not 'x'"):
        recipe(criterion="x")


def test_criteria_where_torch_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "speechquant.learn.allocation", None)
    assert recipe(criterion="hessian").criterion == "hessian"
    with pytest.raises(RecipeError, match="choose kl, hessian or fisher"):
        recipe(criterion="x")
