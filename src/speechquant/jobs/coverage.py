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
    search found that no cut-off saves it. One with scales of its weight alone is as it was meant to be: small in the
    file, and a product of floats.
    """
    inputs = {entry.site.module for entry in table if entry.site.role == "input"}
    weights = {entry.site.module for entry in table if entry.site.role == "weight"} - inputs
    layers = {site.module: site.layer for site in model.sites()}
    small = tuple(name for name in found.fallbacks if name in weights)
    floats = tuple(name for name in found.fallbacks if name not in weights)
    return report.Coverage(
        found.int8,
        found.total,
        floats,
        found.weights_4bit,
        (*found.expanded, *small),
        {name: layers[name] for name in floats if name in layers and name not in inputs},
    )
