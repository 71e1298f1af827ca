"""Run as a program: a few updates of one kind of training, with their times and the most memory that they took.

The argument is a JSON object, the fields of `Task`; the last line of standard output is another one. The updates are
those of `speechquant learn`, made by its own session; only what comes before and after them is left out.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from speechquant.data import Corpus, Utterance
from speechquant.errors import SpeechquantError
from speechquant.evaluation import Evaluator
from speechquant.jobs import Silent
from speechquant.jobs.bench.audio import noise
from speechquant.jobs.bench.child import peak_bytes
from speechquant.jobs.learn_recipe import LearnRecipe
from speechquant.jobs.learning.roles import Roles
from speechquant.jobs.learning.session import HISTORY, Session, Stage
from speechquant.jobs.surroundings import set_threads
from speechquant.learn.allocation import candidates_of
from speechquant.learn.mixed import Annealing, BitChoice, MixedWeights, SearchPlan, groups_of
from speechquant.learn.training import processes, read_history
from speechquant.models import load_model

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray

    from speechquant.jobs import Advance

__all__ = ["BITS", "KINDS", "Task", "main", "measured", "session_of", "weights_of"]

KINDS = ("float", "uniform", "searching", "settled")
BITS = 4
STAGE = "train"
# Half of the 400 updates that are the default: the search is seen at its beginning, where most is mixed.
SEARCH = 200


@dataclass(frozen=True, slots=True)
class Task:
    """What is measured: a folder with a model, a kind of training, and how much of it."""

    folder: str
    kind: str
    checkpointing: bool
    seconds: float
    batch: int
    updates: int
    threads: int
    warmup: int = 1


class Noise:
    """Speech for a network whose speed does not depend on what it hears."""

    def __init__(self, seconds: float) -> None:
        self._samples = noise(seconds).samples

    def samples(self) -> NDArray[np.float32]:
        """16 kHz mono, (time,)."""
        return self._samples

    def fingerprint(self) -> str:
        """It is always the same."""
        return f"noise {self._samples.size}"


class EnoughError(Exception):
    """All updates that are measured are done."""


class Stops(Silent):
    """Ends the training after so many updates, before it writes a checkpoint, and looks at the memory then."""

    def __init__(self, after: int) -> None:
        self.after, self.peak = after, 0

    def stage(self, title: str) -> AbstractContextManager[Advance]:
        """Count the updates of the training alone."""
        return nullcontext(self._count) if title == STAGE else super().stage(title)

    def _count(self, done: float, total: int, what: str = "") -> None:
        del total, what
        if done == self.after:
            self.peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else peak_bytes() or 0
            raise EnoughError


def main() -> None:
    """Measure and report."""
    task = Task(**json.loads(sys.argv[1]))
    try:
        with tempfile.TemporaryDirectory() as work:
            found = measured(task, Path(work))
    except SpeechquantError as error:
        raise SystemExit(f"error: {error}") from error
    print(f"\n{json.dumps(found)}")


def measured(task: Task, work: Path) -> dict[str, Any]:
    """Seconds of every update after the warm-up, the peak of memory in bytes, and how many parameters there are."""
    set_threads(task.threads)
    stops = Stops(task.warmup + task.updates)
    session = session_of(task, work, stops)
    with suppress(EnoughError):
        session.train(
            work, weights_of(session, task.kind), Stage(STAGE, session.recipe.steps, judge_from=None)
        )
    (folder,) = work.glob(f"{STAGE}-*")
    times = [row["seconds"] for row in read_history(folder / HISTORY) if "loss" in row]
    return {
        "seconds": times[task.warmup :],
        "peak_bytes": stops.peak,
        "parameters": sum(parameter.numel() for parameter in session.model.module.parameters()),
    }


def session_of(task: Task, work: Path, stops: Stops) -> Session:
    """The session that `speechquant learn` would train in, on noise."""
    model = load_model(task.folder)
    if hasattr(model.config, "layerdrop"):
        # Every update is to do the same work.
        model.config.layerdrop = 0.0
    recipe = LearnRecipe(
        model=task.folder,
        output=work / "out",
        train="noise",
        dev="noise",
        steps=task.warmup + task.updates,
        batch=task.batch,
        batch_seconds=task.batch * task.seconds,
        gradient_checkpointing=task.checkpointing,
    )
    # About as many letters as people say in this time.
    text = ("NO WORD OF IT IS TRUE " * 1000)[: round(12 * task.seconds)]
    said = tuple(
        Utterance(str(i), Noise(task.seconds), text, seconds=task.seconds) for i in range(task.batch)
    )
    corpus = Corpus("noise", said)
    roles = Roles(corpus, corpus, corpus, None, ())
    return Session(model, roles, recipe, Evaluator("upper"), stops, processes())


def weights_of(session: Session, kind: str) -> MixedWeights | None:
    """The quantizers of a kind of training as its method makes them, but for scales that are quick to find."""
    if kind == "float":
        return None
    model, recipe = session.model, session.recipe
    widths = (BITS,) if kind == "uniform" else recipe.candidates
    candidates = candidates_of(model, rule=recipe.rule, bits=widths, method="max")
    if kind == "uniform":
        table = candidates.table({matrix.site.module: BITS for matrix in candidates.matrices})
        return MixedWeights.frozen(model, table)
    groups = groups_of(candidates, recipe.unit, in_bytes=False)
    limit = BITS * sum(group.weights for group in groups)
    updates = SEARCH if kind == "searching" else 0
    return MixedWeights.searching(
        model, candidates, BitChoice(groups, SearchPlan(Annealing(updates), limit=limit))
    )


if __name__ == "__main__":
    main()
