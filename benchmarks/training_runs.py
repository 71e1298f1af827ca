"""What benchmarks that train have in common: options, rows that are known already, and one run of `learn`."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from speechquant.jobs import Silent
from speechquant.jobs.learn_recipe import LearnRecipe
from speechquant.jobs.learning import learn
from speechquant.jobs.mixed_recipe import MIXED_ALONE

__all__ = ["known_rows", "listed", "parsed", "roles_parser", "trained"]

GRID = ("rounding", "start", "calibrator", *MIXED_ALONE)


class Told(Silent):
    """Prints notes."""

    def note(self, message: str) -> None:
        """Print it."""
        print(message, flush=True)


def roles_parser(about: str | None) -> argparse.ArgumentParser:
    """A parser that knows the speech of each role, and where results go."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True)
    parser.add_argument("--dev", default="demo:dev")
    parser.add_argument("--test", default="demo:test")
    parser.add_argument("--out", type=Path, required=True)
    return parser


def parsed(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, dict[str, str]]:
    """The options of the benchmark, and all others as settings of `learn`."""
    own, rest = parser.parse_known_args()
    names = (name.removeprefix("--").replace("-", "_") for name in rest[::2])
    return own, dict(zip(names, rest[1::2], strict=True))


def known_rows(out: Path) -> dict[str, Any]:
    """What an earlier run wrote."""
    path = out.with_suffix(".json")
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"rows": [], "runs": {}}


def listed(settings: dict[str, Any]) -> str:
    """`steps 100, batch 4`."""
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def trained(own: argparse.Namespace, place: Path, control: Path, **settings: Any) -> Any:
    """One run of `learn` into `place`, or what an earlier one left of it.

    It begins with what `control` wrote down, if that is there: what the float model makes of the same speech.
    """
    shutil.rmtree(place, ignore_errors=True)
    work, other = (folder.with_name(f"{folder.name}.work") for folder in (place, control))
    store = "evaluations.sqlite"
    work.mkdir(parents=True, exist_ok=True)
    if (other / store).is_file() and not (work / store).exists():
        shutil.copy2(other / store, work / store)
    roles = {role: getattr(own, role) for role in ("train", "dev", "test")}
    settings |= {name: settings[name].split(",") for name in ("include", "exclude") if name in settings}
    if settings["method"] == "float":
        # The control has no grid.
        settings = {name: value for name, value in settings.items() if name not in GRID}
    found = learn(LearnRecipe.model_validate({"output": place, **roles, **settings}), progress=Told())
    assert found is not None
    return found
