"""What the main job found out, for the artifact, the page and the terminal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from speechquant.evaluation import Evaluation
    from speechquant.jobs.quantization.measure import Measured
    from speechquant.learn import RoundedWeights
    from speechquant.numerics import Histogram
    from speechquant.search import SearchResult

__all__ = ["Findings"]


@dataclass(eq=False)
class Findings:
    """What the main job learned, step by step; `seconds` by step, `warnings` one line each.

    `weights` is None where they are rounded to nearest.
    """

    histograms: Mapping[str, Histogram]
    search: SearchResult
    dev: Mapping[str, Evaluation]
    test: Mapping[str, Evaluation]
    engines: Measured
    weights: RoundedWeights | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    peak_rss_mb: float = 0.0
