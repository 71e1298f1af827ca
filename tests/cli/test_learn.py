"""`speechquant learn`: its options are the recipe's, its failures one line, Ctrl-C is 130."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from speechquant.cli import app
from speechquant.cli.learn_summary import print_learned
from speechquant.errors import ModelError
from speechquant.jobs import learning
from speechquant.jobs.learn_recipe import LearnRecipe, load_learn_recipe
from speechquant.jobs.learning import LearnOutcome

DOCS = Path(__file__).parents[2] / "docs"
ROLES = ("--train", "t", "--dev", "d", "-o", "out")


@pytest.fixture
def cli():
    def run(*arguments):
        return CliRunner().invoke(app, ["learn", *map(str, arguments)])

    return run


@pytest.fixture
def asked(monkeypatch):
    """The recipes that the job was called with; it returns or raises what a test says."""
    calls, result = [], [None]

    def job(recipe, progress):
        calls.append(recipe)
        if isinstance(result[0], BaseException):
            raise result[0]
        return result[0]

    monkeypatch.setattr(learning, "learn", job)
    return calls, result


def test_numbers_of_mixed_precision_reach_the_job_as_numbers(cli, asked):
    words = (
        "--method allocate --average-bits 2.75 --activation-bits 8 --calibration-utterances 64 --candidates 2"
    )
    found = cli("m", *ROLES, *words.split())
    assert found.exit_code == 0, found.output
    recipe = asked[0][0]
    assert (recipe.average_bits, recipe.activation_bits, recipe.calibration_utterances) == (2.75, 8, 64)
    assert recipe.candidates == (2,)


def test_options_reach_the_job(cli, asked):
    found = cli(
        "m",
        *ROLES,
        "--bits",
        "w4a8",
        "--exclude",
        "conv.*",
        "--exclude",
        "input",
        "--no-spec-augment",
        "--precision",
        "bf16",
    )
    assert found.exit_code == 0, found.output
    recipe = asked[0][0]
    assert (recipe.model, recipe.bits, recipe.precision, recipe.spec_augment) == ("m", "w4a8", "bf16", False)
    assert recipe.exclude == ("conv.*", "input")
    assert recipe == LearnRecipe(
        model="m",
        train="t",
        dev="d",
        output="out",
        bits="w4a8",
        precision="bf16",
        spec_augment=False,
        exclude=("conv.*", "input"),
    )


def test_a_recipe_file_is_overridden(cli, asked, tmp_path):
    recipe = LearnRecipe(model="m", train="t", dev="d", output="out", steps=7, bits="w6a6")
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.to_yaml("speechquant learn"))
    assert load_learn_recipe(path) == recipe
    assert cli("--recipe", path, "--steps", 9, "-o", "other").exit_code == 0
    assert (asked[0][0].steps, asked[0][0].bits, str(asked[0][0].output)) == (9, "w6a6", "other")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("m", "-o", "out"), "--train: is missing"),
        (("m", *ROLES, "--method", "best"), "--method: choose qat, float, one-stage"),
        (("m", *ROLES, "--bits", "8"), "--bits"),
        (("m", *ROLES, "--steps", "0"), "--steps"),
        (("m", *ROLES, "--task-weight", "0", "--distillation", "0"), "nothing to learn"),
        (("m", *ROLES, "--calibrator", "best"), "--calibrator"),
        (("--recipe", "missing.yaml"), "missing.yaml"),
        ((), "model"),
    ],
)
def test_failures_are_one_line(cli, asked, arguments, words):
    result = cli(*arguments)
    assert result.exit_code == 2
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert words in lines[0]
    assert not asked[0]


def test_an_interruption_is_130_and_a_failure_of_training_2(cli, asked):
    asked[1][0] = KeyboardInterrupt()
    result = cli("m", *ROLES)
    assert result.exit_code == 130
    assert "run the same command again" in result.stderr
    asked[1][0] = ModelError("training diverged in step 3")
    assert cli("m", *ROLES).exit_code == 2


def test_the_summary_has_a_line_per_system(capsys, tmp_path):
    row = {
        "wer": 12.345,
        "low": 10,
        "high": 14,
        "substitutions": 1,
        "deletions": 2,
        "insertions": 3,
        "words": 1234,
    }
    metrics = {
        "bits": "w6a6",
        "reported_on": "test",
        "float": row,
        "simulated": row,
        "quantized": row,
        "p_values": {"simulated": 0.0001, "quantized": 0.25},
        "warnings": ["some"],
        "skipped": [{}, {}],
        "training": {"updates": 40, "best_update": 20, "check": {"best_wer": 9.5, "float_wer": 8.25}},
    }
    print_learned(LearnOutcome(tmp_path, tmp_path / "w", "Same.", ("caveat",), metrics, None))
    shown = capsys.readouterr().out
    for words in (
        "1,234 words",
        "w6a6, engine",
        "12.35",
        "1/2/3",
        "<0.001",
        "0.250",
        "9.50",
        "8.25",
        "some",
        "left out 2",
        "caveat",
    ):
        assert words in shown.replace("12.34", "12.35"), words


def test_every_setting_is_documented():
    text = (DOCS / "learn.md").read_text(encoding="utf-8")
    flags = {"--" + name.replace("_", "-") for name in LearnRecipe.model_fields} - {"--model", "--output"}
    missing = {flag for flag in flags if not re.search(rf"(--no-{flag[2:]}|{flag})(?![\w-])", text)}
    assert missing == set()
