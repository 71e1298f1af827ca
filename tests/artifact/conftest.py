from __future__ import annotations

import sys
from pathlib import Path

import pytest

# The fake artifact is shared with the tests of jobs and commands.
sys.path.insert(0, str(Path(__file__).parent))

import artifact_fakes as fakes

from speechquant.artifact import save_artifact


@pytest.fixture
def saved(tmp_path):
    return save_artifact(fakes.contents(tmp_path / "model"), tmp_path / "out")
