"""Two processes that share each update end where one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from speechquant.jobs.learn_recipe import load_learn_recipe
from speechquant.jobs.learning import learn

SETTINGS = {
    "method": "float",
    "steps": 3,
    "batch": 4,
    "evaluate_every": 3,
    "learning_rate": 1e-3,
    "threads": 1,
}
JOB = """
import json, sys
from speechquant.jobs.learn_recipe import load_learn_recipe
from speechquant.jobs.learning import learn
learn(load_learn_recipe(**json.loads(sys.argv[1])))
"""


@pytest.fixture
def calm(tiny, tmp_path):
    """A model without dropout, whose random numbers would differ by process."""
    source, folder = tiny("hubert-large"), tmp_path / "calm"
    folder.mkdir()
    for path in source.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((source / "config.json").read_text())
    config = {key: 0.0 if "dropout" in key or key == "layerdrop" else value for key, value in config.items()}
    (folder / "config.json").write_text(json.dumps({**config, "apply_spec_augment": False}))
    return folder


@pytest.mark.parametrize("less_memory", [False, True])
def test_two_processes_train_as_one(calm, corpora, tmp_path, history, less_memory):
    roles = {"train": corpora["train"], "dev": corpora["dev"]}
    settings = {"model": str(calm), **roles, **SETTINGS, "gradient_checkpointing": less_memory}
    learn(load_learn_recipe(**settings, output=tmp_path / "one"))
    (tmp_path / "job.py").write_text(JOB)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [str(tmp_path / "job.py"), json.dumps({**settings, "output": str(tmp_path / "two")})]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "two" / "metrics.json").read_text())
    assert metrics["training"]["processes"] == 2
    one, two = ([row["loss"] for row in history(tmp_path / name) if "loss" in row] for name in ("one", "two"))
    assert one == pytest.approx(two, rel=1e-5)
    assert one[2] != one[0]
