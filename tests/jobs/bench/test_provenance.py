import sys

import pytest

from speechquant.jobs.bench.provenance import provenance


@pytest.mark.parametrize(
    ("program", "words"),
    [("/usr/bin/speechquant", "speechquant"), ("/lib/speechquant/__main__.py", "python -m speechquant")],
)
def test_the_command_can_be_given_again(monkeypatch, program, words):
    monkeypatch.setattr(sys, "argv", [program, "compare", "my model"])
    found = provenance(threads=1, repeats=0, warmup=0, audio="")
    assert found.command == f"{words} compare 'my model'"
