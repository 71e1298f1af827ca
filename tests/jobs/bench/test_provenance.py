import subprocess
import sys

import pytest

from speechquant.jobs.bench.provenance import _commit, provenance


@pytest.mark.parametrize(
    ("program", "words"),
    [("/usr/bin/speechquant", "speechquant"), ("/lib/speechquant/__main__.py", "python -m speechquant")],
)
def test_the_command_can_be_given_again(monkeypatch, program, words):
    monkeypatch.setattr(sys, "argv", [program, "compare", "my model"])
    found = provenance(threads=1, repeats=0, warmup=0, audio="")
    assert found.command == f"{words} compare 'my model'"


def test_a_checkout_names_its_commit_and_an_installed_package_none(tmp_path):
    assert _commit(tmp_path) is None
    author = ("-c", "user.name=n", "-c", "user.email=e@x")
    for words in (("init", "-q"), (*author, "commit", "-q", "--allow-empty", "-m", "first")):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    log = tmp_path / ".git" / "logs" / "HEAD"
    made = log.read_text(encoding="utf-8").split()[1]
    found = _commit(tmp_path)
    assert found is not None
    assert len(found) == 12
    assert made.startswith(found)


def test_a_broken_checkout_has_no_commit(tmp_path):
    (tmp_path / ".git").mkdir()
    assert _commit(tmp_path) is None
