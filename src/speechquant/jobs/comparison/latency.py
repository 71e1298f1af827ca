"""How long the systems of a comparison take, all of them in turns, or what an earlier run measured."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from speechquant.artifact import is_artifact
from speechquant.engines import find_exports
from speechquant.errors import SpeechquantError
from speechquant.jobs.bench.audio import joined_speech
from speechquant.jobs.bench.candidates import ALL, choose_engines
from speechquant.jobs.bench.measure import LENGTHS, REPEATS, WARMUP, measure_systems
from speechquant.jobs.bench.provenance import provenance
from speechquant.jobs.bench.result import BenchResult
from speechquant.jobs.comparison.faults import FAULTS, reason
from speechquant.jobs.comparison.speed_store import recall, remember
from speechquant.jobs.comparison.speed_systems import speed_systems
from speechquant.jobs.comparison.speeds import Speeds
from speechquant.jobs.engines import engines as installed_engines
from speechquant.jobs.scratch import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from speechquant.jobs.bench.provenance import Provenance
    from speechquant.jobs.bench.result import Cell
    from speechquant.jobs.compare_recipe import CompareRecipe
    from speechquant.jobs.comparison.bench import RowBench
    from speechquant.numerics import Histogram

__all__ = ["measure_speeds"]

_VERSION = 2
"""Raise it with every change of the exported graphs after which latencies kept before are worth nothing."""


def measure_speeds(
    recipe: CompareRecipe,
    bench: RowBench,
    histograms: Mapping[str, Histogram],
    *,
    title: str,
    tell: Callable[[Speeds], object],
) -> None:
    """Measure the lengths that no earlier run of the same did; each is kept when it is finished.

    What cannot be exported, opened or measured is noted in the result.

    Args:
        recipe: which widths and artifacts; how many threads, one per core by default.
        bench: the model, its speech, and where results are kept.
        histograms: of the calibration, for scales.
        title: what is measured, for people.
        tell: hears of what there is, at the beginning and after every length, so that an interruption loses none.
    """
    listener = bench.progress
    threads = recipe.threads or installed_engines().cores
    engines, missing = choose_engines([ALL])
    speech = bench.corpora.test
    where = provenance(threads=threads, repeats=REPEATS, warmup=WARMUP, audio=f"speech of {speech.name}")
    key = _key(recipe, bench, where)
    found, failed = recall(bench.store, key) or (BenchResult(title, where, {}, ()), True)
    tell(Speeds(replace(found, interrupted=bool(_left(found)))))
    if not (failed or _left(found)):
        return

    def keep(cell: Cell) -> None:
        nonlocal found
        cells = sorted((*found.cells, cell), key=lambda one: one.latency.seconds)
        found = replace(found, cells=tuple(cells))
        remember(bench.store, key, found, failed=failed)
        tell(Speeds(replace(found, interrupted=bool(_left(found)))))

    try:
        with _torch_threads(), scratch_folder(bench.work) as scratch:
            made, failed = speed_systems(
                recipe, bench, histograms, engines=engines, threads=threads, scratch=scratch
            )
            if list(found.systems) != list(made.systems):
                # Systems that did not run in the same turns are not to be compared.
                found = BenchResult(title, where, made.systems, (), notes=(*missing, *made.notes))
            if not _left(found):
                return
            measure_systems(
                made.systems,
                title=title,
                threads=threads,
                seconds=_left(found),
                repeats=REPEATS,
                audio=joined_speech(speech, max(LENGTHS)),
                footprints=False,
                keep=keep,
                progress=listener,
            )
    except FAULTS as error:
        line = f"latency was not measured to the end: {reason(error)}"
        listener.note(line)
        tell(Speeds(replace(found, notes=(*found.notes, line))))


def _left(found: BenchResult) -> list[float]:
    """The lengths that are still to be measured."""
    done = {cell.latency.seconds for cell in found.cells}
    return [seconds for seconds in LENGTHS if seconds not in done]


def _key(recipe: CompareRecipe, bench: RowBench, where: Provenance) -> str:
    """Of everything that decides a latency: systems, speech, machine, versions, how it was measured.

    The commit of a checkout is not among it, as rows do not ask for it either.
    """
    versions = {name: version.partition(" (")[0] for name, version in where.versions.items()}
    machine = [where.machine, versions, where.threads, where.repeats, where.warmup]
    widths = [[plan.bits, plan.layers] for plan in recipe.widths]
    artifacts = [[name, _graphs(home)] for name, home in recipe.artifacts]
    corpora = bench.corpora
    names = [bench.model.results_signature, corpora.calibration.signature, corpora.test.signature]
    text = json.dumps([_VERSION, machine, widths, artifacts, names], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _graphs(home: Path) -> list[str]:
    """What is known of the graphs of an artifact; nothing where they are damaged, which opening them will tell."""
    try:
        return [manifest.signature for manifest in find_exports(home).values()] if is_artifact(home) else []
    except SpeechquantError:
        return []


@contextmanager
def _torch_threads() -> Iterator[None]:
    """PyTorch has its number of threads back afterwards."""
    import torch

    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
