"""Sensitivity as it is: the divergence of the output when one matrix is quantized."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from speechquant.learn.allocation.base import Criterion, register

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from speechquant.learn.allocation.candidates import Matrix
    from speechquant.learn.allocation.progress import Advance
    from speechquant.learn.allocation.speech import Speech

__all__ = ["OutputDivergence"]


@register("kl")
@dataclass(frozen=True, slots=True)
class OutputDivergence(Criterion):
    """KL(float || one matrix quantized), measured for every matrix and every number of bits.

    The passes over the speech are as many as matrices times candidate bits; each begins at the block of its matrix.
    """

    separate: ClassVar[bool] = True

    def costs(
        self, speech: Speech, matrices: Sequence[Matrix], seed: int, on_step: Advance
    ) -> Iterator[tuple[str, Mapping[float, float]]]:
        """One pass over the speech for each matrix and each number of bits; nothing is drawn."""
        del seed
        for done, matrix in enumerate(matrices):
            module = matrix.site.module
            on_step(done, len(matrices), module)
            yield (
                module,
                {bits: speech.divergence_with(module, matrix.quantized(bits)) for bits in matrix.entries},
            )
