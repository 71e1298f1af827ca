"""Two processes that share each update end where one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from speechquant.jobs.learn_recipe import load_learn_recipe
from speechquant.jobs.learning import learn

SETTINGS = {
    "steps": 3,
    "batch": 4,
    "evaluate_every": 3,
    "learning_rate": 1e-3,
    "threads": 1,
}
JOB = """
import json, sys
from speechquant.jobs.learn_recipe import load_learn_recipe
from speechquant.jobs.learning import job, learn
if len(sys.argv) > 2:
    job.prove_quantized = lambda *_: sys.exit()
learn(load_learn_recipe(**json.loads(sys.argv[1])))
"""
QAT = {"method": "qat", "bits": "w4a8", "scale_learning_rate": 0.01}
# Two updates with bits that are learned, and one with those that were found.
ONE_STAGE = {"method": "one-stage", "average_bits": 3.5, "search_share": 0.67}


def trained(work, name):
    """What a file of the only training in a folder has of weights and of scales, one vector each."""
    (path,) = work.glob(f"train-*/{name}.safetensors")
    kinds = {"network": [], "extra": []}
    for key, values in sorted(load_file(path).items()):
        kinds.get(key.partition(".")[0], []).append(values.ravel())
    return {kind: np.concatenate(values) for kind, values in kinds.items() if values}


def losses(work):
    """Those of the only training in a folder."""
    (path,) = work.glob("train-*/history.jsonl")
    rows = map(json.loads, path.read_text().splitlines())
    return [row["loss"] for row in rows if "loss" in row]


@pytest.mark.parametrize(
    "settings",
    [{"method": "float"}, {"method": "float", "gradient_checkpointing": True}, QAT, ONE_STAGE],
    ids=["float", "less memory", "qat", "one stage"],
)
def test_two_processes_train_as_one(calm, corpora, tmp_path, settings):
    roles = {"train": corpora["train"], "dev": corpora["dev"]}
    # Dropout and masks draw other random numbers in every process.
    settings = {"model": str(calm()), **roles, **SETTINGS, **settings}
    learn(load_learn_recipe(**settings, output=tmp_path / "one"))
    (tmp_path / "job.py").write_text(JOB)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [str(tmp_path / "job.py"), json.dumps({**settings, "output": str(tmp_path / "two")})]
    # Of those that end with an artifact, the proof of one is enough.
    whole = settings["method"] != "qat"
    command += [] if whole else ["up to the proof"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    if whole:
        metrics = json.loads((tmp_path / "two" / "metrics.json").read_text())
        assert metrics["training"]["processes"] == 2
    one, two = (losses(tmp_path / f"{name}.work") for name in ("one", "two"))
    # The last bits of a sum decide where a weight is rounded that lies half-way between two integers.
    assert one == pytest.approx(two, rel=1e-5 if settings["method"] == "float" else 1e-3)
    assert one[2] != one[0]
    one, two = (trained(tmp_path / f"{name}.work", "checkpoint") for name in ("one", "two"))
    assert set(one) == ({"network"} if settings["method"] == "float" else {"network", "extra"})
    for kind, end in one.items():
        # Each of three updates of AdamW moves a number by about the learning rate. Where a gradient is nearly zero, it
        # makes a step of the last bits of its sum.
        moved = settings["learning_rate"] if kind == "network" else settings.get("scale_learning_rate", 1e-3)
        assert np.linalg.norm(end - two[kind]) < 0.05 * 3 * moved * np.sqrt(end.size)
