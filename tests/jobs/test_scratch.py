"""Whole exports lie in the scratch folder: none may outlive its run for long."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from speechquant.errors import StorageError
from speechquant.jobs.scratch import scratch_folder

KILLED = """
import sys, time
from pathlib import Path
from speechquant.jobs.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "model.onnx").write_bytes(bytes(1000))
    print("ready", flush=True)
    time.sleep(600)
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def start(work):
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(work)], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    return child


def test_it_is_gone_afterwards_also_after_a_failure(tmp_path):
    with scratch_folder(tmp_path) as folder:
        (folder / "deep").mkdir()
        assert names(tmp_path) == [f"scratch-{os.getpid()}"]
    assert names(tmp_path) == []
    with pytest.raises(KeyboardInterrupt), scratch_folder(tmp_path):
        raise KeyboardInterrupt
    assert names(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_killed_run_is_cleaned_up_and_a_living_one_is_not(tmp_path):
    kept = ["evaluations.sqlite", "scratch-notes", "tmp-mine"]
    for name in kept:
        (tmp_path / name).mkdir()
    dead, living = start(tmp_path), start(tmp_path)
    try:
        dead.send_signal(signal.SIGKILL)
        dead.wait()
        assert f"scratch-{dead.pid}" in names(tmp_path)
        with scratch_folder(tmp_path) as folder:
            assert names(tmp_path) == sorted([*kept, f"scratch-{living.pid}", folder.name])
    finally:
        living.kill()
        living.wait()


def test_a_place_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="file"), scratch_folder(tmp_path / "file"):
        pass
