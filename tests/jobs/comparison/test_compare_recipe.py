"""The settings: what methods are called, the shipped recipes, one line for everything that cannot be."""

from __future__ import annotations

import json
import shlex

import pytest

import speechquant as sq
from speechquant.errors import RecipeError
from speechquant.jobs.compare_recipe import CompareRecipe, Method, compare_recipes, load_compare_recipe

MINIMAL = {"model": "m", "output": "o", "calibration": "c", "dev": "d", "test": "t", "methods": "max"}


@pytest.mark.parametrize(
    ("text", "calibrator", "form", "percentile", "rounding"),
    [
        ("max", "max", "plain", None, "nearest"),
        ("percentile:99.99", "percentile", "plain", 99.99, "nearest"),
        ("adaptive-percentile:99+gptq", "percentile", "layer-adaptive", 99.0, "gptq"),
        ("adaptive-entropy", "entropy", "layer-adaptive", None, "nearest"),
        ("stablequant+adaround", "stablequant", "stablequant", None, "adaround"),
        ("plain-stablequant", "stablequant", "plain", None, "nearest"),
    ],
)
def test_methods(text, calibrator, form, percentile, rounding):
    found = Method.parse(text)
    assert (found.calibrator, found.form, found.percentile, found.rounding) == (
        calibrator, form, percentile, rounding,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"methods": "magic"}, "--methods: choose entropy, max"),
        ({"methods": "max mse"}, "--methods: 'max mse' is no method; write max"),
        ({"methods": "adaptive-max"}, "adaptive- goes with entropy, mse, percentile"),
        ({"methods": "adaptive-stablequant"}, "adaptive- goes with"),
        ({"methods": "plain-mse"}, "plain- goes with stablequant"),
        ({"methods": "max+nearest"}, "after + stands adaround or gptq"),
        ({"methods": "mse:99"}, "percentile alone takes a number"),
        ({"methods": "percentile:0"}, "percentile alone takes a number"),
        ({"methods": "percentile:101"}, "percentile alone takes a number"),
        ({"methods": "percentile:9.9.9"}, "percentile alone takes a number"),
        ({"methods": "percentile:."}, "percentile alone takes a number"),
        ({"methods": 3}, "methods"),
        ({"bits": "w8a8,w1a8"}, "--bits: 'w1a8' is not possible"),
        ({"bits": ","}, "--bits"),
        ({"layers": "conv"}, "--layers: choose all or transformer, not 'conv'"),
        ({"row": ("qat",)}, "--row: 'qat' is not possible; write NAME=FOLDER"),
        ({"row": ("=x",)}, "--row: '=x' is not possible"),
        ({"row": ("a=x", "a=y")}, "--row: two rows have one name"),
        ({"cutoffs": "1"}, "--cutoffs: '1' is not possible"),
        ({"methods": None}, "nothing to compare; give --methods"),
        ({"test": None}, "give --test too"),
        ({"dev": None, "calibration": None}, "give --calibration, --dev too"),
        ({"methods": None, "row": ("a=x",), "test": None}, "give --test too"),
        ({"methods": None, "figures": True, "calibration": None}, "give --calibration too"),
        ({"normalizer": "loud"}, "--normalizer: unknown text normaliser 'loud': choose one of none"),
        (
            {"methods": None, "row": ("a=x",), "bits": "w4a8"},
            "--bits is for rows that are made here; give --methods too",
        ),
        (
            {"methods": None, "row": ("a=x",), "full_search": True},
            "--full-search is for rows that are made here",
        ),
        ({"search_minutes": 0}, "--search-minutes"),
        ({"colour": "red"}, "colour: no such setting"),
        ({"recipe": "table9"}, "table9: no such recipe; give a YAML file or one of figures, table1"),
    ],
)
def test_what_cannot_be_is_one_line(settings, words):
    with pytest.raises(RecipeError) as caught:
        load_compare_recipe(**{**MINIMAL, **settings})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_are_all_combinations_in_the_order_given():
    found = load_compare_recipe(
        **{**MINIMAL, "methods": "mse, max,mse", "bits": ("W8A8", "w4a8")}, layers="transformer,all"
    )
    names = [plan.name for plan in found.plans]
    assert names == [
        f"{method} {bits}{layers}"
        for layers in (" transformer", "")
        for bits in ("w8a8", "w4a8")
        for method in ("mse", "max")
    ]


def test_a_width_in_capitals_is_the_same_width():
    assert [plan.bits for plan in load_compare_recipe(**MINIMAL | {"bits": "w8a8,W8A8,W6a6"}).plans] == [
        "w8a8",
        "w6a6",
    ]


def test_a_row_has_the_settings_that_quantize_would_have():
    recipe = load_compare_recipe(
        **{**MINIMAL, "methods": "percentile:99+gptq,percentile", "layers": "transformer"}, gamma=0.5
    )
    one, two = (recipe.settings(plan) for plan in recipe.plans)
    assert (one.method, one.percentile, one.rounding, one.gamma) == ("percentile", 99, "gptq", 0.5)
    assert (two.percentile, two.rounding) == (99.9, "nearest")
    assert "transformer.*" in one.include
    # But for layers left in float, which the published methods do not know.
    assert one.max_drop == two.max_drop == float("inf")


def test_built_in_models_bring_their_speech_unless_the_user_does():
    found = load_compare_recipe(model="demo", output="o", methods="max")
    assert (found.calibration, found.dev, found.test) == ("demo:calibration", "demo:dev", "demo:test")
    with pytest.raises(RecipeError, match="give --calibration, --test too"):
        load_compare_recipe(model="demo", output="o", methods="max", dev="mine")
    with pytest.raises(RecipeError, match="give --calibration, --dev, --test too"):
        load_compare_recipe(model="m", output="o", methods="max")


def test_rows_alone_need_test_speech_and_no_other():
    found = load_compare_recipe(model="m", output="o", test="t", row=("a=x",))
    assert (found.calibration, found.dev, found.test) == (None, None, "t")
    settings = found.settings()
    assert (settings.calibration, settings.dev, settings.test) == (None, None, "t")
    built_in = load_compare_recipe(model="demo", output="o", row=("a=x",))
    assert (built_in.calibration, built_in.dev, built_in.test) == (None, None, "demo:test")
    both = load_compare_recipe(model="demo", output="o", row=("a=x",), methods="max")
    assert (both.calibration, both.dev, both.test) == ("demo:calibration", "demo:dev", "demo:test")
    # Nobody reads calibration speech that is given all the same.
    assert load_compare_recipe(**{**MINIMAL, "methods": "", "row": ("a=x",)}).settings().calibration is None


SHIPPED = compare_recipes()


def test_the_tables_and_the_figures_are_there():
    assert set(SHIPPED) == {"table1", "table2", "table3", "figures"}


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_a_shipped_recipe_opens_with_the_command_that_runs_it(name):
    head = SHIPPED[name].read_text(encoding="utf-8").splitlines()[0]
    program, verb, model, recipe, used, flag, output = shlex.split(head.removeprefix("# "))
    assert (program, verb, recipe, used, flag) == ("speechquant", "compare", "--recipe", name, "-o")
    assert load_compare_recipe(name, model=model, output=output).model == model


@pytest.mark.parametrize(
    ("name", "rows", "settings"),
    [
        ("table1", 24, {}),
        ("table2", 30, {}),
        ("table3", 5, {"methods": "stablequant,stablequant+gptq"}),
        ("figures", 0, {}),
    ],
)
def test_a_shipped_recipe_runs_on_a_tiny_model(tiny, tmp_path, name, rows, settings):
    assert len(load_compare_recipe(name, **{**tiny, "output": "o"}).plans) == rows
    lighter = {**tiny, **settings}
    if name == "table2":
        lighter |= {"bits": "w4a4", "methods": "stablequant,adaptive-mse"}
    found = sq.compare(output=tmp_path / "out", recipe=name, **lighter)
    assert not found.failed
    written = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert len(written["rows"]) == written["planned"]
    if name == "table1":
        assert {(r["bits"], r["layers"]) for r in written["rows"][1:]} == {
            (bits, layers) for bits in ("w16a16", "w8a8", "w6a6", "w4a4") for layers in ("all", "transformer")
        }


def test_every_field_is_described():
    assert all(field.description for field in CompareRecipe.model_fields.values())
