"""How large a quantized model is, by arithmetic, so that every width has a size whether an engine packs it or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speechquant.models import SpeechModel
    from speechquant.numerics import ScaleTable

__all__ = ["packed_bytes"]

_FLOAT_BYTES = 4


def packed_bytes(model: SpeechModel, table: ScaleTable) -> int:
    """Bytes of all parameters: weights in `table` packed at their bits, every scale and all else in float32.

    A tensor that two operators share counts once. The empty table gives the float model.
    """
    # Without repetitions, so that an embedding that is the head's weight as well counts once.
    total = sum(parameter.numel() for parameter in model.module.parameters()) * _FLOAT_BYTES
    packed: set[int] = set()
    for entry in table:
        total += entry.scale.size * _FLOAT_BYTES
        if entry.site.role == "weight":
            weight = model.operator(entry.site.module).get_parameter("weight")
            if id(weight) not in packed:
                packed.add(id(weight))
                total += -(-weight.numel() * entry.spec.bits // 8) - weight.numel() * _FLOAT_BYTES
    return total
