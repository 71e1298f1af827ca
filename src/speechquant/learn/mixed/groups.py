"""Which matrices get the same bits, and what these take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from speechquant.learn.allocation import bits_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from speechquant.learn.allocation import Candidates

__all__ = ["Group", "Unit", "groups_of"]

Unit = Literal["matrix", "block"]


@dataclass(frozen=True, slots=True)
class Group:
    """Matrices that get the same bits: their modules, how many weights they have, their sizes by bits."""

    modules: tuple[str, ...]
    weights: int
    sizes: Mapping[float, int]


def groups_of(candidates: Candidates, unit: Unit, *, in_bytes: bool) -> tuple[Group, ...]:
    """The searched matrices one by one, or all of a block together; sizes in bytes of the file, or in bits."""
    together: dict[str, list[Any]] = {}
    for matrix in candidates.matrices:
        together.setdefault(matrix.site.module if unit == "matrix" else matrix.site.layer, []).append(matrix)
    return tuple(
        Group(
            tuple(m.site.module for m in members),
            sum(m.weight.size for m in members),
            {
                bits: sum(m.bytes[bits] if in_bytes else bits_of(bits, m.weight.size) for m in members)
                for bits in members[0].entries
            },
        )
        for members in together.values()
    )
