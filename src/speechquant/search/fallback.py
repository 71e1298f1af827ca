"""Beyond the paper: a clipped layer that no cut-off saves stays in float.

Algorithm 1 ends with the best cut-off, however bad its model is. Here the layer that cost most in stage 1 is then left
out, weights and activations, and stage 2 runs again over the others, as long as the model is more than `max_drop`
points worse than float on the development set and each step helps. Accuracy control in NNCF
(`quantize_with_accuracy_control`, `max_drop`) puts operators back into float likewise, by a ranking that it makes for
that; this takes the one of stage 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from speechquant.numerics import ScaleTable
    from speechquant.search.cache import DevScore
    from speechquant.search.result import CutoffScore, LayerSensitivity

__all__ = ["Choice", "fall_back"]


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What stage 2 chose for some layers: its table, the score on the whole development set, and all it tried."""

    table: ScaleTable
    score: DevScore
    p_opt: Mapping[str, float]
    cutoffs: tuple[CutoffScore, ...]


def fall_back(
    choice: Choice,
    choose: Callable[[Sequence[str]], Choice],
    reference: DevScore,
    sensitivity: Sequence[LayerSensitivity],
    *,
    max_drop: float,
) -> tuple[Choice, tuple[str, ...]]:
    """Leave selected layers in float, the most sensitive first, until the model is good enough.

    A step that makes no fewer errors than the choice before it is undone and is the last. One layer at least stays
    quantized.

    Args:
        choice: stage 2 over all layers.
        choose: stage 2 over some of them, in the model's order.
        reference: the float model's score.
        sensitivity: stage 1, in the model's order; of equals the first leaves first.
        max_drop: points of absolute WER by which the model may be worse than float.

    Returns:
        The last choice that stood, and the layers that it leaves in float in the order in which they left.
    """
    allowed = reference.errors + max_drop * reference.words / 100
    left: tuple[str, ...] = ()
    for entry in sorted((one for one in sensitivity if one.selected), key=lambda one: -one.delta):
        rest = [one.layer for one in sensitivity if one.layer not in (*left, entry.layer)]
        if choice.score.errors <= allowed or not rest:
            break
        found = choose(rest)
        if found.score.errors >= choice.score.errors:
            break
        choice, left = found, (*left, entry.layer)
    return choice, left
