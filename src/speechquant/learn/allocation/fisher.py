"""Sensitivity by gradients: the diagonal of the Fisher information, times the squared error of every weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from speechquant.learn.allocation.base import Criterion, register

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from speechquant.learn.allocation.candidates import Matrix
    from speechquant.learn.allocation.progress import Advance
    from speechquant.learn.allocation.speech import Speech

__all__ = ["Fisher"]


@register("fisher")
@dataclass(frozen=True, slots=True)
class Fisher(Criterion):
    """Sum over the weights of g^2 e^2 / 2, with gradients g and rounding errors e.

    g is the gradient of log p(y) for outputs y that are drawn from the float model at every position, so the
    mean of g^2 is the diagonal of the Fisher information, which is that of the Hessian of the divergence
    (Martens 2020, section 5). No transcripts are needed. Gradients at different positions have mean 0 and do not
    depend on each other, so those of all positions of an utterance may be taken at once.

    Attributes:
        draws: outputs that are drawn for each utterance.
    """

    draws: int = 4

    def costs(
        self, speech: Speech, matrices: Sequence[Matrix], seed: int, on_step: Advance
    ) -> Iterator[tuple[str, Mapping[float, float]]]:
        """All gradients first, then the errors."""
        squares = self._squares(speech, [m.site.module for m in matrices], seed, on_step)
        for matrix in matrices:
            yield (
                matrix.site.module,
                {bits: _weighted(squares[matrix.site.module], matrix, bits) / 2 for bits in matrix.entries},
            )

    def _squares(
        self, speech: Speech, modules: Sequence[str], seed: int, on_step: Advance
    ) -> dict[str, NDArray[np.float32]]:
        """The diagonal of the Fisher information per position, by module, in the shape of the weight."""
        with speech.gradients(modules) as weights:
            parameters = list(weights.values())
            totals = [torch.zeros_like(part) for part in parameters]
            for index in range(len(speech)):
                on_step(index, len(speech), "gradients")
                said = functional.log_softmax(speech.logits(index), dim=-1)
                for draw in range(self.draws):
                    number = int(np.random.SeedSequence((seed, index, draw)).generate_state(1)[0])
                    generator = torch.Generator().manual_seed(number)
                    drawn = torch.multinomial(said.detach().exp().cpu(), 1, generator=generator)
                    loss = said.gather(-1, drawn.to(said.device)).sum()
                    found = torch.autograd.grad(loss, parameters, retain_graph=True)
                    for total, gradient in zip(totals, found, strict=True):
                        total.add_(gradient.detach().square())
        factor = 1 / (self.draws * speech.positions)
        return {
            name: (factor * total).detach().cpu().numpy() for name, total in zip(modules, totals, strict=True)
        }


def _weighted(squares: NDArray[np.float32], matrix: Matrix, bits: float) -> float:
    wrong = matrix.quantized(bits).numpy() - matrix.weight
    return float((squares.astype(np.float64) * np.square(wrong, dtype=np.float64)).sum())
