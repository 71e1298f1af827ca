"""Under which conditions the figures of a comparison hold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from speechquant.jobs.bench.provenance import provenance
from speechquant.jobs.comparison.result import Conditions
from speechquant.jobs.sources import DEMO_MODELS
from speechquant.metrics import warn_if_too_small

if TYPE_CHECKING:
    from speechquant.data import Corpus
    from speechquant.jobs.compare_recipe import CompareRecipe
    from speechquant.jobs.comparison.bench import RowBench

__all__ = ["conditions"]


def conditions(recipe: CompareRecipe, bench: RowBench, choices: Corpus) -> Conditions:
    """What can be said before the first row is made."""
    corpora = bench.corpora
    where = provenance(threads=recipe.threads or 0, repeats=0, warmup=0, audio="")
    selecting = any(plan.selects for plan in recipe.plans)
    small = warn_if_too_small(choices.words, recipe.gamma) if selecting else None
    roles = {"calibration": corpora.calibration, "choices": choices, "dev": corpora.dev, "test": corpora.test}
    if not recipe.makes_rows:
        del roles["calibration"], roles["choices"]
    name = recipe.model if recipe.model in DEMO_MODELS else Path(recipe.model).resolve().name
    return Conditions(
        title=f"Methods compared on {name}",
        model=name,
        normalizer=bench.normalizer,
        gamma=recipe.gamma,
        cutoffs=bench.recipe.cutoff_grid,
        percentile=recipe.percentile,
        speech={role: (len(corpus), corpus.words) for role, corpus in roles.items() if corpus},
        command=where.command,
        machine=where.machine,
        versions=dict(where.versions),
        warnings=(*corpora.warnings, *([f"choices: {small}"] if small else [])),
    )
