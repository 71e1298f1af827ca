"""Measure any systems in one run: footprints one by one in new processes, then all of them in turns."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from math import isfinite
from typing import TYPE_CHECKING

from speechquant.audio import SAMPLING_RATE
from speechquant.engines import LatencyResult, take_turns
from speechquant.errors import EngineError, RecipeError
from speechquant.jobs.bench.audio import default_audio
from speechquant.jobs.bench.footprint import Footprint, measure_footprint
from speechquant.jobs.bench.provenance import provenance
from speechquant.jobs.bench.realtime import RealTime
from speechquant.jobs.bench.result import BenchInterrupted, BenchResult, Cell
from speechquant.jobs.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from speechquant.data import Corpus
    from speechquant.decoding import Recognizer
    from speechquant.jobs.bench.audio import Audio
    from speechquant.jobs.bench.system import System
    from speechquant.jobs.progress import Progress

__all__ = ["LENGTHS", "REPEATS", "WARMUP", "check_plan", "measure_systems"]

LENGTHS = (1.0, 5.0, 10.0, 20.0, 30.0)
"""Seconds of audio."""

REPEATS = 11
WARMUP = 2
"""Turns before them that do not count."""

_SHORTEST, _LONGEST = 0.1, 120.0


def measure_systems(
    systems: Mapping[str, System],
    *,
    title: str,
    threads: int,
    seconds: Sequence[float] = LENGTHS,
    batches: Sequence[int] = (1,),
    repeats: int = REPEATS,
    audio: Audio | None = None,
    corpus: Corpus | None = None,
    notes: Sequence[str] = (),
    footprints: bool = True,
    keep: Callable[[Cell], object] | None = None,
    progress: Progress | None = None,
) -> BenchResult:
    """Compare systems at every length and batch size.

    Args:
        systems: by the name that they are shown under; all are open at the same time.
        title: what is measured, for people.
        threads: what the systems were told to use; it is reported, not set.
        seconds: lengths of audio.
        batches: utterances per call.
        repeats: turns that count; in each every system runs once.
        audio: what they listen to; by default speech of the demo, or noise where that is not installed.
        corpus: a data set for the real-time factor.
        notes: what else the reader must know, one line each.
        footprints: measure load time and memory too, for which every system is opened in processes of its own.
        keep: hears of every cell that is finished.
        progress: hears of every step.

    Raises:
        BenchInterrupted: Ctrl-C; `result` has what was measured until then.
        RecipeError: nothing to measure, or a length, batch or number of turns that is not possible.
        SpeechquantError: a system cannot be opened, or the speech cannot be used.
    """
    check_plan(seconds, batches, repeats)
    if not systems:
        raise RecipeError("nothing to compare; give at least one system")
    heard = audio or default_audio(max(seconds))
    run = _Run(systems, heard, progress or Silent(), list(notes))
    where = provenance(threads=threads, repeats=repeats, warmup=WARMUP, audio=heard.name)

    def result(*, interrupted: bool = False) -> BenchResult:
        return BenchResult(
            title,
            where,
            systems,
            tuple(run.cells),
            tuple(run.footprints),
            run.realtime if run.realtime and run.realtime.utterances else None,
            tuple(run.notes),
            interrupted,
        )

    plan = [(length, batch) for batch in dict.fromkeys(batches) for length in sorted(set(seconds))]
    try:
        # Before this process holds all systems in memory itself.
        if footprints:
            run.measure_footprints(plan)
        recognizers = run.open()
        run.measure_latency(recognizers, plan, repeats, keep or (lambda _: None))
        if corpus is not None:
            run.measure_realtime(recognizers, corpus)
    except KeyboardInterrupt as stop:
        raise BenchInterrupted(result(interrupted=True)) from stop
    return result()


def check_plan(seconds: Sequence[float], batches: Sequence[int], repeats: int) -> None:
    """Refuse what cannot be measured.

    Raises:
        RecipeError: a length, batch or number of turns that is not possible.
    """
    for length in seconds:
        if not isfinite(length) or not _SHORTEST <= length <= _LONGEST:
            raise RecipeError(f"{length:g} s of audio is not possible; give {_SHORTEST:g} to {_LONGEST:g}")
    for batch in batches:
        if batch < 1:
            raise RecipeError(f"a batch of {batch} is not possible; give 1 or more")
    if repeats < 1:
        raise RecipeError(f"{repeats} repeats are not possible; give 1 or more")
    if not seconds or not batches:
        raise RecipeError("nothing to measure; give at least one length and one batch size")


@dataclass(slots=True)
class _Run:
    """What has been found so far, which an interruption leaves."""

    systems: Mapping[str, System]
    audio: Audio
    progress: Progress
    notes: list[str]
    cells: list[Cell] = field(default_factory=list)
    footprints: list[Footprint] = field(default_factory=list)
    realtime: RealTime | None = None

    def measure_footprints(self, plan: Sequence[tuple[float, int]]) -> None:
        """Load time, first call and memory; a system that has no process of its own is noted."""
        failed: set[str] = set()
        with self.progress.stage("load time and memory, a process each") as advance:
            steps = [(name, *cell) for name in self.systems for cell in plan]
            for done, (name, length, batch) in enumerate(steps):
                advance(done, len(steps), f"{name}, {length:g} s")
                if name in failed:
                    continue
                wave = self.audio.first(length)
                try:
                    found = measure_footprint(
                        name, self.systems[name].open, wave, rate=SAMPLING_RATE, batch=batch
                    )
                except EngineError as error:
                    failed.add(name)
                    self.notes.append(str(error))
                else:
                    self.footprints.append(found)
            advance(len(steps), len(steps))

    def open(self) -> dict[str, Recognizer]:
        """All systems in this process."""
        recognizers = {}
        with self.progress.stage("open") as advance:
            for done, (name, system) in enumerate(self.systems.items()):
                advance(done, len(self.systems), name)
                recognizers[name] = system.open()
            advance(len(self.systems), len(self.systems))
        return recognizers

    def measure_latency(
        self,
        recognizers: Mapping[str, Recognizer],
        plan: Sequence[tuple[float, int]],
        repeats: int,
        keep: Callable[[Cell], object],
    ) -> None:
        """A cell for every length and batch; one that is interrupted keeps its finished turns."""
        each = WARMUP + repeats
        with self.progress.stage("latency, in turns") as advance:
            for index, (length, batch) in enumerate(plan):
                waves = [self.audio.first(length)] * batch
                what = f"{length:g} s" + (f", batch {batch}" if batch > 1 else "")
                advance(index * each, len(plan) * each, what)
                # The first warm-up turn.
                tokens = _tokens(recognizers, waves)
                turns: list[dict[str, float]] = []
                try:
                    for turn, taken in enumerate(islice(take_turns(recognizers, waves), each - 1), 2):
                        if turn > WARMUP:
                            turns.append(taken)
                        advance(index * each + turn, len(plan) * each, what)
                finally:
                    if turns:
                        times = {name: tuple(turn[name] for turn in turns) for name in recognizers}
                        self.cells.append(Cell(LatencyResult(length, times, batch), tokens))
                keep(self.cells[-1])

    def measure_realtime(self, recognizers: Mapping[str, Recognizer], corpus: Corpus) -> None:
        """All utterances of a data set."""
        self.realtime = RealTime(corpus.name)
        with self.progress.stage(f"real-time factor on {corpus.name}") as advance:
            self.realtime.run(recognizers, corpus, advance)


def _tokens(recognizers: Mapping[str, Recognizer], waves: Sequence[NDArray[np.float32]]) -> dict[str, int]:
    """How many tokens each system writes; nothing for models whose work does not depend on it."""
    found = {}
    for name, recognizer in recognizers.items():
        transcripts = recognizer.recognize(waves)
        if not any(transcript.frames for transcript in transcripts):
            found[name] = sum(len(transcript.tokens) for transcript in transcripts)
    return found
