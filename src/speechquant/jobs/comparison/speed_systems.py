"""The systems whose speed a comparison measures: float models, every width, artifacts, on every engine."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from speechquant.artifact import is_artifact, load_artifact
from speechquant.engines import find_exports
from speechquant.errors import EngineError
from speechquant.jobs.bench.candidates import Candidates, Maker
from speechquant.jobs.comparison.faults import FAULTS, reason
from speechquant.jobs.comparison.rows import plain_table
from speechquant.jobs.comparison.speeds import artifact_system, width_system
from speechquant.jobs.recipe_checks import parse_bits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from speechquant.decoding import Recognizer
    from speechquant.jobs.compare_recipe import CompareRecipe, RowPlan
    from speechquant.jobs.comparison.bench import RowBench
    from speechquant.models import SpeechModel
    from speechquant.numerics import Histogram, ScaleTable

    Step = tuple[str, Callable[[], None]]

__all__ = ["speed_systems"]

_INTEGER_BITS = 8
_STAND_IN = (
    "a width, such as w8a8, is an export of the float model with scales from calibration (percentile 99.9); it "
    "stands for all methods of that width, as the speed of integers does not depend on the values of scales"
)


def speed_systems(
    recipe: CompareRecipe,
    bench: RowBench,
    histograms: Mapping[str, Histogram],
    *,
    engines: Sequence[str],
    threads: int,
    scratch: Path,
) -> tuple[Candidates, bool]:
    """Export and open everything once; what cannot be is left out and noted.

    Args:
        recipe: which widths, layers and artifacts.
        bench: the model.
        histograms: of the calibration, for scales.
        engines: what runs the graphs.
        threads: of every system.
        scratch: where graphs go; they are needed until the end.

    Returns:
        The systems, and whether any of them failed.
    """
    work = _Work(bench, histograms, threads, scratch)
    steps = [*work.floats(engines), *work.widths(recipe, engines), *work.artifacts(recipe, engines)]
    failed = False
    with bench.progress.stage("export for the latency") as advance:
        for done, (what, make) in enumerate(steps):
            advance(done, len(steps), what)
            failed |= not work.attempt(what, make)
        advance(len(steps), len(steps))
    return work.made, failed


@dataclass(frozen=True, slots=True)
class _Work:
    bench: RowBench
    histograms: Mapping[str, Histogram]
    threads: int
    scratch: Path
    made: Candidates = field(default_factory=Candidates)

    def attempt(self, what: str, make: Callable[[], None]) -> bool:
        """Add systems that can be opened, or a note that says why there are none; whether there are."""
        known = dict(self.made.systems)
        try:
            make()
            for name, system in self.made.systems.items():
                if name not in known:
                    system.open()
        except FAULTS as error:
            for name in self.made.systems.keys() - known.keys():
                del self.made.systems[name]
            self._note(f"no latency of {what}: {reason(error)}")
            return False
        return True

    def floats(self, engines: Sequence[str]) -> Iterator[Step]:
        """The float model wherever it runs."""
        model = self.bench.model
        opener = partial(_in_torch, model, self.threads)
        maker = self._maker(model.folder)
        yield "torch f32", partial(maker.add_torch, model, opener)
        for engine in engines:
            yield f"{engine} f32", partial(self._float, maker, engine)

    def widths(self, recipe: CompareRecipe, engines: Sequence[str]) -> Iterator[Step]:
        """One export for each width that an engine has small numbers for."""
        if recipe.widths:
            self.made.notes.append(_STAND_IN)
        for plan in recipe.widths:
            settings = recipe.settings(plan)
            weights, activations = parse_bits(plan.bits)
            if weights > _INTEGER_BITS or not (activations <= _INTEGER_BITS or settings.weight_only):
                self._note(f"no latency of {plan.bits}: no engine multiplies integers of more than 8 bits")
                continue
            bench = replace(self.bench, recipe=settings)
            for engine in engines:
                name = width_system(engine, plan.bits, plan.layers)
                yield name, partial(self._width, bench, plan, engine, name)

    def artifacts(self, recipe: CompareRecipe, engines: Sequence[str]) -> Iterator[Step]:
        """What was brought along, in the engines that it was written for."""
        for name, home in recipe.artifacts:
            if is_artifact(home):
                yield name, partial(self._artifact, name, home, engines)
            else:
                self._note(f"no latency of {name}, which is a float model")

    def _float(self, maker: Maker, engine: str) -> None:
        maker.add_float(engine, maker.export(self.bench.model, None, engine))

    def _width(self, bench: RowBench, plan: RowPlan, engine: str, name: str) -> None:
        maker = self._maker(bench.model.folder)
        table: ScaleTable = plain_table(bench, self.histograms)
        graphs = maker.export(bench.model, table, engine, f"{engine}-{plan.bits}-{plan.layers}")
        maker.add_width(engine, graphs, plan.bits, name)

    def _artifact(self, name: str, home: Path, engines: Sequence[str]) -> None:
        own = {manifest.dialect: place for place, manifest in find_exports(home).items()}
        known = [engine for engine in engines if engine in own]
        if not known:
            raise EngineError(
                f"{home} has graphs for none of {', '.join(engines)}; export it for one of them"
            )
        bits = load_artifact(home).info.bits
        for engine in known:
            self._maker(home).add_width(engine, own[engine], bits, artifact_system(engine, name))

    def _maker(self, words: Path) -> Maker:
        return Maker(words, self.threads, self.scratch, self.made)

    def _note(self, line: str) -> None:
        if line not in self.made.notes:
            self.made.notes.append(line)
            self.bench.progress.note(line)


def _in_torch(model: SpeechModel, threads: int) -> Recognizer:
    """The model that is loaded already; PyTorch has one number of threads for the whole process."""
    import torch

    torch.set_num_threads(threads)
    return model.recognizer()
