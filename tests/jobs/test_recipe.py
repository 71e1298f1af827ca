"""What the user asks for: values in closed form, and one clear line for everything that cannot be."""

from __future__ import annotations

import random
import shlex
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from speechquant.errors import RecipeError
from speechquant.jobs import Recipe, load_recipe

ROLES = {"calibration": "c", "dev": "d", "test": "t"}
MINIMAL = {"model": "m", "output": "o", **ROLES}


def write(folder, text):
    path = folder / "recipe.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_the_papers_51_candidates():
    grid = load_recipe(**MINIMAL).cutoff_grid
    assert grid == tuple(k / 100 for k in range(51))
    from speechquant.search import CUTOFFS

    assert grid == CUTOFFS


@pytest.mark.parametrize(
    ("text", "grid"),
    [
        ("0:0:1", (0.0,)),
        ("0:0.5:0.5", (0.0, 0.5)),
        ("0.1:0.3:0.1", (0.1, 0.2, 0.3)),
        ("0:1:0.3", (0.0, 0.3, 0.6, 0.9)),
        ("0:0.5:0.3", (0.0, 0.3)),
        ("2:2:5", (2.0,)),
    ],
)
def test_a_grid_never_leaves_its_range(text, grid):
    assert load_recipe(**MINIMAL, cutoffs=text).cutoff_grid == pytest.approx(grid)


@pytest.mark.parametrize("bits", range(2, 17))
def test_bits(bits):
    assert load_recipe(**MINIMAL, bits=f"w{bits}a{18 - bits}").bit_widths == (bits, 18 - bits)
    assert load_recipe(**MINIMAL, bits=f"W{bits}A8").bit_widths == (bits, 8)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"bits": "8"}, "w8a8"),
        ({"bits": "w1a8"}, "from 2 to 16"),
        ({"bits": "w8a17"}, "from 2 to 16"),
        ({"bits": "w8a8 "}, "bits"),
        ({"bits": 8}, "bits"),
        ({"cutoffs": "0.1"}, "start:stop:step"),
        ({"cutoffs": "a:b:c"}, "start:stop:step"),
        ({"cutoffs": "0:0.5:0"}, "start:stop:step"),
        ({"cutoffs": "0:0.5:-0.1"}, "start:stop:step"),
        ({"cutoffs": "0.5:0:0.1"}, "start:stop:step"),
        ({"cutoffs": "-1:0.5:0.1"}, "start:stop:step"),
        ({"cutoffs": "0:100:1"}, "start:stop:step"),
        ({"cutoffs": "0:nan:1"}, "start:stop:step"),
        ({"cutoffs": "0:inf:1"}, "start:stop:step"),
        ({"cutoffs": "0:0.5:1e-12"}, "larger step"),
        ({"gamma": 0}, "gamma"),
        ({"gamma": "much"}, "gamma"),
        ({"select_bits": 1}, "--select-bits"),
        ({"percentile": 101}, "percentile"),
        ({"start_bin": 0}, "--start-bin"),
        ({"method": "magic"}, "method"),
        ({"weights": "entropy"}, "weights"),
        ({"weight_group": 48}, "--weight-group: choose 16, 32, 64, 128 or 256, not 48"),
        ({"weight_granularity": "row"}, "--weight-granularity"),
        ({"threads": 0}, "threads"),
        ({"seed": -1}, "--seed: Input should be greater than or equal to 0"),
        ({"seed": 2**32}, "--seed"),
        ({"dev_minutes": 0}, "--dev-minutes"),
        ({"colour": "red"}, "colour: no such setting"),
        ({"audio_only": "calls"}, "exclude each other"),
        ({"calibration": None}, "--calibration"),
        ({"output": None}, "output: is missing"),
        ({"model": None}, "model: is missing"),
    ],
)
def test_what_cannot_be_is_one_line(settings, words):
    with pytest.raises(RecipeError) as caught:
        load_recipe(**{**MINIMAL, **settings})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "YAML mapping"),
        ("- a\n- b\n", "YAML mapping"),
        ("just text", "YAML mapping"),
        ("bits: [w8a8\n", "cannot be read"),
        ("1: 2\n", "1"),
        ("bits: w8a8\nbit: 3\n", "bit: no such setting"),
        ("!!python/object/apply:os.system ['true']\n", "cannot be read"),
        ("model: caf\u00e9\n".encode("latin-1"), "cannot be read"),
        ("model: m\n".encode("utf-16"), "cannot be read"),
        (b"model: \x00\n", "cannot be read"),
    ],
)
def test_a_bad_file_is_one_line_with_its_name(tmp_path, text, words):
    path = write(tmp_path, text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, **MINIMAL)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("in_file", "given", "says"),
    [
        ({}, {"output": None}, "--output: is missing"),
        ({}, {"gamma": -1}, "--gamma: "),
        ({"gamma": 0.5}, {"gamma": -1}, "--gamma: "),
        ({"gamma": -1}, {}, "{path}: gamma: "),
        (
            {},
            {"method": "magic"},
            "--method: choose entropy, max, mse, percentile or stablequant, not 'magic'",
        ),
        ({}, {"select_with": "magic"}, "--select-with: choose entropy, max"),
        ({}, {"weights": "magic"}, "--weights: choose max, mse or percentile, not 'magic'"),
        ({}, {"bits": "w99a1"}, "--bits: 'w99a1' is not possible"),
        ({"cutoffs": "x"}, {}, "{path}: cutoffs: 'x' is not possible"),
        ({"audio_only": "calls", **ROLES}, {"output": "o"}, "{path}: --audio-only and"),
    ],
)
def test_the_place_that_is_named_is_where_the_value_stands(tmp_path, in_file, given, says):
    path = write(tmp_path, yaml.safe_dump({"model": "m", **ROLES, **in_file}))
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, **{"output": "o", **given})
    assert str(caught.value).startswith(says.format(path=path))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(tmp_path / "no.yaml")
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(tmp_path)


def test_settings_override_the_file(tmp_path):
    path = write(tmp_path, yaml.safe_dump({**MINIMAL, "bits": "w4a4", "gamma": 0.5, "naive": True}))
    recipe = load_recipe(path, bits="w6a6", dev=None, naive=False)
    assert (recipe.bits, recipe.gamma, recipe.dev, recipe.naive) == ("w6a6", 0.5, "d", False)


def test_settings_override_what_they_exclude(tmp_path):
    path = write(tmp_path, yaml.safe_dump(MINIMAL))
    recipe = load_recipe(path, audio_only="calls")
    assert (recipe.audio_only, recipe.calibration, recipe.dev, recipe.test) == ("calls", None, None, None)
    path = write(tmp_path, yaml.safe_dump({"model": "m", "output": "o", "audio_only": "calls"}))
    recipe = load_recipe(path, **ROLES)
    assert (recipe.audio_only, recipe.dev) == (None, "d")
    with pytest.raises(RecipeError, match="exclude each other"):
        load_recipe(path, audio_only="calls", **ROLES)


def test_yaml_repeats_every_setting(tmp_path):
    recipe = load_recipe(
        **MINIMAL, include=("conv.*", "head"), normalizer="lower", seed=3, threads=2, cutoffs="0:1:0.1"
    )
    text = recipe.to_yaml("speechquant quantize x")
    assert text.startswith("# speechquant quantize x\n")
    assert load_recipe(write(tmp_path, text)) == recipe
    assert yaml.safe_load(text).keys() == Recipe.model_fields.keys()


def test_the_largest_seed_is_one_for_every_generator():
    seed = load_recipe(**MINIMAL, seed=2**32 - 1).seed
    random.seed(seed)
    np.random.RandomState(seed)  # as np.random.seed, which training calls
    torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("limit", [0.0, 1.5, float("inf")])
def test_a_limit_comes_back_from_yaml(tmp_path, limit):
    recipe = load_recipe(**MINIMAL, max_drop=limit)
    assert load_recipe(write(tmp_path, recipe.to_yaml("speechquant quantize x"))).max_drop == limit
    assert load_recipe(**MINIMAL).max_drop == 0.5


@pytest.mark.parametrize("limit", [-1, float("nan"), "much"])
def test_a_limit_that_is_none(limit):
    with pytest.raises(RecipeError, match="--max-drop: "):
        load_recipe(**MINIMAL, max_drop=limit)


SHIPPED = sorted(Path(str(files("speechquant.jobs") / "recipes")).glob("*.yaml"))


def test_there_are_shipped_recipes():
    assert len(SHIPPED) >= 2


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_recipe_opens_with_the_command_that_runs_it(path):
    from speechquant.jobs.sources import resolve_corpus, resolve_model, shipped_recipe

    head = path.read_text(encoding="utf-8").splitlines()[0]
    program, verb, model, flag, output = shlex.split(head.removeprefix("# "))
    assert (program, verb, flag) == ("speechquant", "quantize", "-o")
    assert shipped_recipe(model) == path
    recipe = load_recipe(path, output=output)
    assert recipe.model == model
    assert (Path(resolve_model(recipe.model)) / "config.json").is_file()
    for role in (recipe.calibration, recipe.dev, recipe.test):
        assert len(resolve_corpus(role)) > 0


@pytest.mark.parametrize(
    ("settings", "form", "method", "scales_by"),
    [
        ({}, ("channel", None), "max", "stablequant"),
        ({"bits": "w4a16"}, ("group", 64), "mse", "weight-only"),
        ({"bits": "w3a16", "weight_group": 32, "weights": "max"}, ("group", 32), "max", "weight-only"),
        ({"bits": "w8a16"}, ("channel", None), "max", "weight-only"),
        ({"bits": "w4a8"}, ("channel", None), "max", "stablequant"),
        ({"bits": "w16a16"}, ("channel", None), "max", "stablequant"),
        ({"bits": "w4a16", "weight_granularity": "channel"}, ("channel", None), "max", "weight-only"),
        ({"bits": "w4a8", "weight_granularity": "group"}, ("group", 64), "mse", "stablequant"),
    ],
)
def test_how_weights_are_quantized_by_default(settings, form, method, scales_by):
    recipe = load_recipe(**MINIMAL, **settings)
    assert (recipe.weight_form, recipe.weight_method, recipe.scales_by) == (form, method, scales_by)


@pytest.mark.parametrize(
    ("settings", "rounding"),
    [
        ({}, "nearest"),
        ({"bits": "w4a16"}, "gptq"),
        ({"bits": "w3a16", "weight_granularity": "channel"}, "gptq"),
        ({"bits": "w8a16"}, "nearest"),
        ({"bits": "w4a8"}, "nearest"),
        ({"bits": "w4a16", "rounding": "nearest"}, "nearest"),
        ({"bits": "w8a8", "rounding": "adaround"}, "adaround"),
    ],
)
def test_how_weights_are_rounded_by_default(settings, rounding):
    assert load_recipe(**MINIMAL, **settings).rounding_method == rounding
