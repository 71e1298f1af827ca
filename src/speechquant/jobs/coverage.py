"""What an engine made of the operators, and which of them were left in float on purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechquant import report

if TYPE_CHECKING:
    from speechquant.engines import Coverage
    from speechquant.models import SpeechModel
    from speechquant.numerics import ScaleTable

__all__ = ["shown_coverage"]


def shown_coverage(model: SpeechModel, table: ScaleTable, found: Coverage) -> report.Coverage:
    """What was read back from the engine, for the report page.

    An operator of which `table` has no tensor was left in float on purpose: the user excluded its layer, or the
    search found that no cut-off saves it.
    """
    wanted = {entry.site.module for entry in table}
    layers = {site.module: site.layer for site in model.sites()}
    return report.Coverage(
        found.int8,
        found.total,
        found.fallbacks,
        found.weights_4bit,
        found.expanded,
        {name: layers[name] for name in found.fallbacks if name in layers and name not in wanted},
    )
