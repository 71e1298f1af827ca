"""`python -m speechquant` against the command of the entry point."""

import subprocess
import sys

from typer.testing import CliRunner

from speechquant.cli import app


def run(*arguments):
    command = [sys.executable, "-m", "speechquant", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_the_module_is_the_command():
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, CliRunner().invoke(app, ["--version"]).stdout)
    assert done.stdout.strip()


def test_user_errors_end_with_code_2_and_one_line(tmp_path):
    done = run("inspect", str(tmp_path / "nothing"))
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.strip().splitlines()) == 1


def test_importing_the_module_runs_nothing():
    code = "import sys, speechquant.__main__; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
