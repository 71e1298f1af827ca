"""Cut-offs as an artifact records them, and as people read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Cutoffs", "cutoffs_text", "shared_or_by_layer"]

Cutoffs = float | dict[str, float] | None
"""In percent: one for all clipped layers, or by layer where they differ; None where none was searched."""


def shared_or_by_layer(by_layer: Mapping[str, float] | None) -> Cutoffs:
    """The cut-off that all layers share, or each layer's own."""
    different = set((by_layer or {}).values())
    return dict(by_layer or {}) if len(different) > 1 else next(iter(different), None)


def cutoffs_text(cutoffs: Cutoffs) -> str:
    """`0.05 %`, or `conv.1 0.05 %, conv.2 0.1 %`; empty where none was searched."""
    if cutoffs is None:
        return ""
    if isinstance(cutoffs, dict):
        return ", ".join(f"{layer} {cutoff:g} %" for layer, cutoff in cutoffs.items())
    return f"{cutoffs:g} %"
