"""`speechquant compare`: its options are the recipe's, its failures one line, Ctrl-C is 130."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from speechquant.cli import app
from speechquant.errors import ModelError
from speechquant.jobs import comparison
from speechquant.jobs.compare_recipe import CompareRecipe
from speechquant.jobs.comparison import CompareInterrupted, CompareResult, Row
from speechquant.jobs.comparison.result import Conditions, Found

DOCS = Path(__file__).parents[2] / "docs"
ROLES = ("--calibration", "c", "--dev", "d", "--test", "t", "-o", "out")


def finished():
    speech = dict.fromkeys(("calibration", "choices", "dev", "test"), (2, 1684))
    conditions = Conditions("Methods", "m", "upper", 0.25, (0.0, 0.5), 99.9, speech, "compare", "here", {})
    rows = (
        Row("max w8a8", "max", "plain", "w8a8", "all", Found("s", "torch", 27_800_000)),
        Row("mse w8a8", "mse", "plain", "w8a8", "all", error="it broke"),
    )
    return CompareResult(rows, 3, conditions)


@pytest.fixture
def cli():
    def run(*arguments):
        return CliRunner().invoke(app, ["compare", *map(str, arguments)])

    return run


@pytest.fixture
def asked(monkeypatch):
    """The recipes that the job was called with; it returns or raises what a test says."""
    calls, result = [], [finished()]

    def job(recipe, progress):
        calls.append(recipe)
        if isinstance(result[0], BaseException):
            raise result[0]
        return result[0]

    monkeypatch.setattr(comparison, "compare", job)
    return calls, result


def test_options_reach_the_job(cli, asked):
    options = (
        "--methods",
        "max,mse+gptq",
        "--bits",
        "w8a8,w6a6",
        "--row",
        "a=x",
        "--row",
        "b=y",
        "--figures",
    )
    found = cli("m", *ROLES, *options)
    assert found.exit_code == 0, found.output
    recipe = asked[0][0]
    assert (recipe.model, recipe.methods, recipe.bits) == ("m", ("max", "mse+gptq"), ("w8a8", "w6a6"))
    assert recipe.artifacts == (("a", Path("x")), ("b", Path("y")))
    assert recipe.figures


def test_a_shipped_recipe_is_named_and_overridden(cli, asked):
    assert cli("demo", "--recipe", "table2", "-o", "out", "--bits", "w4a4").exit_code == 0
    assert asked[0][0].bits == ("w4a4",)
    assert "adaptive-entropy" in asked[0][0].methods


def test_rows_alone_take_a_model_and_test_speech(cli, asked):
    found = cli("m", "--test", "t", "--row", "a=x", "--row", "b=y", "-o", "out")
    assert found.exit_code == 0, found.output
    assert (asked[0][0].methods, asked[0][0].test) == ((), "t")


def test_what_is_printed(cli, asked):
    output = cli("m", *ROLES, "--methods", "max").output
    assert re.search(r"max w8a8 +27\.8", output)
    assert "mse w8a8 failed: it broke" in output
    assert "tables and figures: out" in output


def test_an_interruption_prints_what_there_is_and_ends_with_130(cli, asked):
    asked[1][0] = CompareInterrupted(finished())
    found = cli("m", *ROLES, "--methods", "max")
    assert found.exit_code == 130
    assert "27.8" in found.output
    assert "run the same command again" in found.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("m", *ROLES), "nothing to compare"),
        (("m", *ROLES, "--methods", "magic"), "--methods: choose"),
        (("m", "-o", "out", "--methods", "max"), "give --calibration, --dev, --test too"),
        (("m", *ROLES, "--recipe", "table9"), "no such recipe"),
    ],
)
def test_failures_are_one_line(cli, asked, arguments, words):
    found = cli(*arguments)
    assert found.exit_code == 2
    assert words in " ".join(found.output.split())
    assert not asked[0]


def test_a_job_that_fails_is_one_line(cli, asked):
    asked[1][0] = ModelError("m: no such model; name another")
    found = cli("m", *ROLES, "--methods", "max")
    assert (found.exit_code, found.output.strip()) == (2, "error: m: no such model; name another")


def test_every_setting_is_documented():
    text = (DOCS / "compare.md").read_text(encoding="utf-8")
    elsewhere = (DOCS.parent / "README.md").read_text(encoding="utf-8") + (DOCS / "stablequant.md").read_text(
        "utf-8"
    )
    flags = {"--" + name.replace("_", "-") for name in CompareRecipe.model_fields} - {"--model", "--output"}
    assert sorted(flag for flag in flags if not re.search(rf"{flag}(?![\w-])", text + elsewhere)) == []
    own = {"--methods", "--row", "--figures", "--search-minutes", "--layers", "--recipe"}
    assert sorted(flag for flag in own if flag not in text) == []
