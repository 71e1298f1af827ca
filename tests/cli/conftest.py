from __future__ import annotations

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
