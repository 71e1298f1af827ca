"""The command `compare`, from a model and three sets of speech to tables and figures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from speechquant.errors import RecipeError, StorageError
from speechquant.evaluation import EvaluationStore
from speechquant.jobs.comparison.amplitudes import amplitudes
from speechquant.jobs.comparison.bench import RowBench
from speechquant.jobs.comparison.board import Board
from speechquant.jobs.comparison.conditions import conditions
from speechquant.jobs.comparison.faults import FAULTS, reason
from speechquant.jobs.comparison.latency import measure_speeds
from speechquant.jobs.comparison.progress import RowProgress
from speechquant.jobs.comparison.result import FLOAT_BITS, CompareInterrupted, CompareResult, Row
from speechquant.jobs.comparison.rows import float_row, given_row, planned_row
from speechquant.jobs.comparison.write import write
from speechquant.jobs.outputs import check_folder
from speechquant.jobs.progress import Silent
from speechquant.jobs.sources import open_corpora, resolve_model
from speechquant.jobs.surroundings import set_threads, work_folder
from speechquant.models import load_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from speechquant.data import Corpus
    from speechquant.jobs.compare_recipe import CompareRecipe, RowPlan
    from speechquant.jobs.progress import Progress
    from speechquant.jobs.recipe import Recipe
    from speechquant.numerics import Histogram

__all__ = ["compare"]


@dataclass(frozen=True, slots=True)
class _Task:
    """A row to be made: its names, the utterances it is expected to take, its settings, and how."""

    row: Row
    cost: int
    settings: Recipe
    make: Callable[[RowBench], Row]


def compare(recipe: CompareRecipe, *, progress: Progress | None = None) -> CompareResult:
    """Calibrate once, make all rows, write the tables after each of them; measure speeds at the end, if asked for.

    Everything that took long is kept in `<output>.work`: started again after an interruption, the job goes on
    where it stopped. A row that fails is recorded with its reason and does not lose the others.

    Raises:
        CompareInterrupted: Ctrl-C, after the finished rows were written; it has them too.
        SpeechquantError: the model, the speech or the place for the output is unusable.
    """
    listener = progress or Silent()
    check_folder(recipe.output)
    for name, folder in recipe.artifacts:
        if not folder.is_dir():
            raise RecipeError(f"--row {name}: {folder} is no folder; give an artifact or a model")
    set_threads(recipe.threads)
    settings = recipe.settings()
    corpora = open_corpora(settings)
    model = load_model(resolve_model(recipe.model))
    work = work_folder(recipe.output)
    with EvaluationStore(work / "evaluations.sqlite") as store:
        bench = RowBench(model, corpora, settings, store, work, listener)
        histograms = bench.calibrate() if recipe.makes_rows else {}
        minutes = recipe.search_minutes
        choices = (
            corpora.dev if minutes is None else corpora.dev.subset(seconds=60 * minutes, seed=recipe.seed)
        )
        tasks = list(_tasks(recipe, settings, bench, histograms, choices))
        board = Board(conditions(recipe, bench, choices), planned=len(tasks))
        for warning in board.conditions.warnings:
            listener.note(warning)
        figures = amplitudes(model, histograms) if recipe.figures else ()
        publish = partial(write, folder=recipe.output, figures=figures)
        # Rows and latencies of an earlier run stay in their files until there are others.
        fresh = not (recipe.output / "compare.json").exists()
        if fresh:
            publish(board.result())
        try:
            _run(tasks, bench, board, publish)
            if recipe.latency:
                title = board.conditions.model
                measure_speeds(recipe, bench, histograms, title=title, tell=board.hear)
            publish(board.result())
        except KeyboardInterrupt:
            result = replace(board.result(), interrupted=True)
            if fresh or result.rows or (result.speeds and result.speeds.headline):
                publish(result)
            raise CompareInterrupted(result) from None
    return board.result()


def _tasks(
    recipe: CompareRecipe,
    settings: Recipe,
    bench: RowBench,
    histograms: Mapping[str, Histogram],
    choices: Corpus,
) -> Iterator[_Task]:
    """The float model, the rows that are quantized here, the rows that were brought along."""
    final = len(bench.corpora.dev) + len(bench.corpora.test)
    if not (recipe.plans or recipe.artifacts):
        return
    yield _Task(Row("float", "float", "float", FLOAT_BITS, "none"), final, settings, float_row)
    selected: set[str] = set()
    for plan in recipe.plans:
        cost = final + len(choices) * _choice_passes(plan, settings, bench, first=plan.layers not in selected)
        selected |= {plan.layers} if plan.selects else set()
        make = partial(planned_row, plan=plan, histograms=histograms, choices=choices)
        row = Row(plan.name, plan.method.text, plan.method.form, plan.bits, plan.layers)
        yield _Task(row, cost, recipe.settings(plan), make)
    for name, folder in recipe.artifacts:
        row = Row(name, "", "given", "", "")
        yield _Task(row, final, settings, partial(given_row, name=name, folder=folder))


def _choice_passes(plan: RowPlan, settings: Recipe, bench: RowBench, *, first: bool) -> int:
    """How many passes a row is expected to need that no row before it made."""
    passes = 1 + len(bench.model.layers()) if plan.selects and first else 0
    return passes + (len(settings.cutoff_grid) if plan.tries_cutoffs else 0)


def _run(
    tasks: Sequence[_Task], bench: RowBench, board: Board, publish: Callable[[CompareResult], object]
) -> None:
    listener = bench.progress
    with listener.stage("compare") as advance:
        rows = RowProgress(listener, advance, [task.cost for task in tasks])
        for index, task in enumerate(tasks):
            rows.start(index, task.row.name)
            own = replace(bench, recipe=task.settings, progress=rows, rows=rows, costs={})
            try:
                board.add(task.make(own))
            except FAULTS as error:
                # Without the float model there is nothing to compare with, without a disk nothing at all.
                if not index or isinstance(error, StorageError):
                    raise
                line = reason(error)
                listener.note(f"{task.row.name}: {line}")
                board.add(replace(task.row, error=line))
            publish(board.result())
