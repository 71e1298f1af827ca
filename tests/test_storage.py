from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from speechquant.errors import StorageError
from speechquant.storage import replacing, write_whole


def test_a_file_is_there_whole_or_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    write_whole(path, "ü\r\n")

    def full(partial, data):
        with partial.open("wb") as file:
            file.write(data[:1])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(StorageError, match=r"a.csv: cannot be written: No space left.*; free some space"):
            write_whole(path, "other")
    assert path.read_bytes() == "ü\r\n".encode()
    assert list(tmp_path.iterdir()) == [path]
    write_whole(path, "other")
    assert path.read_text() == "other"


def test_what_a_killed_process_left_goes_and_nothing_else(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".[a].csv.partial-{dead.pid}").touch()
    others = [f".b.csv.partial-{dead.pid}", f".[a].csv.partial-{os.getppid()}", ".[a].csv.partial-x"]
    for name in others:
        (tmp_path / name).touch()
    write_whole(tmp_path / "[a].csv", "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, "[a].csv"])


def test_an_interruption_leaves_what_was_there(tmp_path):
    path = tmp_path / "a"
    write_whole(path, "before")

    def stopped():
        with replacing(path) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert [(found.name, found.read_text()) for found in tmp_path.iterdir()] == [("a", "before")]
