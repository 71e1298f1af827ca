"""Sensitivity by curvature: the trace of the Hessian, times the squared error of rounding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from speechquant.learn.allocation.base import Criterion, register
from speechquant.learn.allocation.progress import silent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from speechquant.learn.allocation.candidates import Matrix
    from speechquant.learn.allocation.progress import Advance
    from speechquant.learn.allocation.speech import Speech

__all__ = ["Hessian", "traces"]


@register("hessian")
@dataclass(frozen=True, slots=True)
class Hessian(Criterion):
    """tr(H) / n * |e|^2 / 2 for a matrix of n weights with the rounding errors e (HAWQ-V2, Dong et al. 2020, eq. 2).

    H is the Hessian of KL(float || model) per position with respect to the matrix. At the float weights the
    divergence has its minimum, so no gradient disturbs, and no transcripts are needed; the paper takes the
    Hessian of the training loss, and leaves out the factor 1/2.

    Attributes:
        probes: random vectors for each utterance.
    """

    probes: int = 4

    def costs(
        self, speech: Speech, matrices: Sequence[Matrix], seed: int, on_step: Advance
    ) -> Iterator[tuple[str, Mapping[float, float]]]:
        """All traces at once, then the errors."""
        found = traces(
            speech, [m.site.module for m in matrices], probes=self.probes, seed=seed, on_step=on_step
        )
        for matrix in matrices:
            share = max(found[matrix.site.module], 0.0) / matrix.weight.size
            yield matrix.site.module, {bits: share * error / 2 for bits, error in _errors(matrix).items()}


def traces(
    speech: Speech,
    modules: Sequence[str],
    *,
    probes: int,
    seed: int = 0,
    on_step: Advance = silent,
) -> dict[str, float]:
    """Hutchinson's estimate of the trace of the Hessian of the divergence per position, by module.

    For vectors v of random signs the mean of v' H v is the trace; H v is the gradient of the product of
    gradient and v. All matrices share a vector: the terms between two matrices vanish on average.
    """
    totals = dict.fromkeys(modules, 0.0)
    with speech.gradients(modules) as weights:
        parameters = list(weights.values())
        for index in range(len(speech)):
            on_step(index, len(speech), "curvature")
            divergence = speech.divergence(index, speech.logits(index))
            gradients = torch.autograd.grad(divergence, parameters, create_graph=True)
            for probe in range(probes):
                generator = torch.Generator().manual_seed(_number(seed, index, probe))
                signs = [
                    torch.randint(0, 2, part.shape, generator=generator).mul_(2).sub_(1).to(part)
                    for part in parameters
                ]
                products = torch.autograd.grad(gradients, parameters, signs, retain_graph=True)
                for name, sign, product in zip(modules, signs, products, strict=True):
                    totals[name] += float((sign * product).sum())
    return {name: total / (probes * speech.positions) for name, total in totals.items()}


def _errors(matrix: Matrix) -> dict[float, float]:
    """The squared error of rounding by bits, summed over the weights."""
    found = {}
    for bits in matrix.entries:
        wrong = matrix.quantized(bits).numpy() - matrix.weight
        found[bits] = float(np.square(wrong, dtype=np.float64).sum())
    return found


def _number(*parts: int) -> int:
    """A seed from several numbers."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
