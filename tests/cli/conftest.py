from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

# The fake artifact belongs to the artifact room's tests.
sys.path.insert(0, str(Path(__file__).parents[1] / "artifact"))


@pytest.fixture(scope="session")
def artifact(tmp_path_factory):
    """An artifact that reads letters from amplitudes; tests that change it make their own copy."""
    import artifact_fakes as fakes

    from speechquant.artifact import save_artifact

    folder = tmp_path_factory.mktemp("artifact")
    return save_artifact(fakes.contents(folder / "model"), folder / "out").folder


@pytest.fixture
def cli():
    """Runs the program in this process; modules with one command of their own have their own."""
    from typer.testing import CliRunner

    from speechquant.cli import app

    def run(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


@pytest.fixture
def speech(tmp_path):
    import artifact_fakes as fakes

    return fakes.write_speech(tmp_path / "a.wav", "BAD CAB")


@pytest.fixture
def copy(artifact, tmp_path):
    shutil.copytree(artifact, tmp_path / "copy")
    return tmp_path / "copy"
