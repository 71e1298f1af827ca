"""Progress never mixes with results."""

from __future__ import annotations

import sys

import pytest

from speechquant.cli import progress as module
from speechquant.cli.progress import StderrProgress


def test_plain_lines_now_and_then(capsys, monkeypatch):
    clock = iter([0.0, 1.0, 11.0, 11.0, 12.0, 13.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    with StderrProgress().stage("calibrate") as advance:
        advance(1, 9, "soon")
        advance(5.7, 9, "a [b] c")
        advance(6, 9)
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err == "calibrate: 5/9 a [b] c\ncalibrate: done in 13.0 s\n"


def test_the_bar_moves_within_a_step(capsys, monkeypatch):
    bars = []

    class Kept(module.Bars):
        def __init__(self, *columns, **options):
            super().__init__(*columns, **options)
            bars.append(self)

    monkeypatch.setattr(module, "Bars", Kept)
    shown = StderrProgress()
    shown._console._force_terminal = True
    with shown.stage("work") as advance:
        advance(0.5, 1, "long.wav")
        assert bars[0].tasks[0].percentage == 50
    assert "0/1" in capsys.readouterr().err


def test_notes_are_whole_lines(capsys):
    StderrProgress().note("x" * 300 + " [red]")
    assert capsys.readouterr().err == "x" * 300 + " [red]\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_results_stay_on_stdout_while_a_bar_is_shown(capsys, monkeypatch, terminal):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    shown = StderrProgress()
    shown._console._force_terminal = terminal
    with shown.stage("work") as advance:
        advance(1, 2, "[half]")
        print("result")  # noqa: T201
    found = capsys.readouterr()
    assert found.out == "result\n"
    assert "work" in found.err
