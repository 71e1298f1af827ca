"""Every field of the recipe is an option, and what the shell gives is what the recipe gets."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from typer.testing import CliRunner

from speechquant.cli import app
from speechquant.jobs.recipe import Recipe


@pytest.fixture
def asked(monkeypatch):
    """Replaces the job by one that notes the recipe."""
    recipes = []
    job, summary = ModuleType("job"), ModuleType("summary")
    job.quantize = lambda recipe, **_: recipes.append(recipe)
    summary.print_outcome = lambda _: None
    monkeypatch.setitem(sys.modules, "speechquant.jobs.quantization", job)
    monkeypatch.setitem(sys.modules, "speechquant.cli.summary", summary)

    def run(*arguments):
        result = CliRunner().invoke(app, ["quantize", *map(str, arguments)])
        assert result.exit_code == 0, result.output
        return recipes.pop()

    return run


ROLES = ("--calibration", "c", "--dev", "d", "--test", "t", "-o", "out")


def test_every_field_is_an_option():
    text = CliRunner().invoke(app, ["quantize", "--help"], env={"COLUMNS": "200"}).output
    for name, field in Recipe.model_fields.items():
        if name != "model":
            assert "--" + name.replace("_", "-") in text
            assert field.description.split(",")[0].split("'")[0][:40].strip() in " ".join(text.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--method", "nope", "-o", "out"), "--method: choose entropy, max, mse, percentile or stablequant"),
        (("--weights", "nope", "-o", "out"), "--weights: choose max, mse or percentile, not 'nope'"),
        (("--gamma", "-1", "-o", "out"), "--gamma: "),
        ((), "--output: is missing"),
    ],
)
def test_a_bad_value_is_one_line_that_names_its_option(arguments, says):
    result = CliRunner().invoke(app, ["quantize", "demo", *arguments])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {says}")
    assert len(result.stderr.splitlines()) == 1


def test_choices_are_listed():
    text = CliRunner().invoke(app, ["quantize", "--help"], env={"COLUMNS": "200"}).output
    for choices in ("entropy|max|mse|percentile|stablequant", "max|mse|percentile", "tensor|channel|group"):
        assert choices in text


def test_defaults_are_those_of_the_recipe(asked):
    given = asked("some/model", *ROLES)
    assert given == Recipe(model="some/model", calibration="c", dev="d", test="t", output="out")


def test_options_reach_the_recipe(asked):
    given = asked(
        *(
            "m",
            *ROLES,
            "--bits",
            "w4a8",
            "--gamma",
            "0.5",
            "--per-layer",
            "--include",
            "a",
            "--include",
            "b.*",
        ),
        *("--method", "mse", "--threads", "3", "--no-strict", "--max-drop", "inf"),
    )
    assert (given.bits, given.gamma, given.per_layer, given.include) == ("w4a8", 0.5, True, ("a", "b.*"))
    assert (given.method, given.threads, given.strict, given.max_drop) == ("mse", 3, False, float("inf"))


def test_a_recipe_file_and_options_over_it(asked, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("model: m\ncalibration: c\ndev: d\ntest: t\noutput: here\nbits: w6a6\nper_layer: true\n")
    given = asked("--recipe", path)
    assert (given.bits, given.per_layer, str(given.output)) == ("w6a6", True, "here")
    given = asked("--recipe", path, "--bits", "w8a8", "--no-per-layer", "-o", "there")
    assert (given.bits, given.per_layer, str(given.output)) == ("w8a8", False, "there")


def test_the_demo_brings_its_recipe(asked):
    given = asked("demo", "-o", "out")
    assert (given.model, given.dev, given.naive) == ("demo", "demo:dev", True)
