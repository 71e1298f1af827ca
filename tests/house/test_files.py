"""No file grows past what one reader can hold, and none knows the machine it was written on."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_LINES = 400
# The folders in which people and build machines keep their checkouts, and a drive letter.
MACHINE_PATH = re.compile(r"""(?<![\w.~:/\\-])(?:/(?:home|Users|root|work|tmp/\w)[/\w]|[A-Z]:\\\w)""")
TEXT = {
    ".py",
    ".md",
    ".toml",
    ".txt",
    ".json",
    ".jsonl",
    ".yaml",
    ".yml",
    ".html",
    ".css",
    ".js",
    ".cfg",
    ".csv",
    "",
}


def too_long(path):
    return len(path.read_text(encoding="utf-8").splitlines()) > MOST_LINES


def machine_paths(text):
    return [line.strip() for line in text.splitlines() if MACHINE_PATH.search(line)]


def tracked():
    """Text files of the project: what git tracks, or without git all files of its usual folders."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
        )
        names = [ROOT / name for name in listed.stdout.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        tops = ("src", "tests", "packages", "docs", "benchmarks")
        names = [path for top in tops for path in (ROOT / top).rglob("*") if "__pycache__" not in path.parts]
    # A tokenizer's vocabulary is data, and large.
    return [p for p in names if p.is_file() and p.suffix in TEXT and p.name != "tokenizer.json"]


def test_no_source_file_is_too_long():
    long = [p.relative_to(ROOT).as_posix() for p in tracked() if p.suffix == ".py" and too_long(p)]
    assert long == [], f"more than {MOST_LINES} lines: split by subject"


def test_no_machine_paths():
    here = Path(__file__).name
    files = [path for path in tracked() if path.name != here]
    assert len(files) > 50
    found = {
        path.relative_to(ROOT).as_posix(): machine_paths(path.read_text(encoding="utf-8")) for path in files
    }
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_a_long_file_is_found(tmp_path):
    path = tmp_path / "a.py"
    path.write_text("x = 1\n" * MOST_LINES)
    assert not too_long(path)
    path.write_text("x = 1\n" * (MOST_LINES + 1))
    assert too_long(path)


@pytest.mark.parametrize("text", ["x = '/home/ann/a.wav'", "/Users/ann", r"C:\data", "(/root/x)"])
def test_a_machine_path_is_found(text):
    assert machine_paths(text)


@pytest.mark.parametrize(
    "text", ["https://a.org/home/x", "docs/work/x", "tests/root/x", "/tmp", "~/work/x", "n:\\"]
)
def test_other_paths_are_fine(text):
    assert not machine_paths(text)
