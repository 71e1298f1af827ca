"""Drawing bits: Gumbel noise, and how it and the temperature fade."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from speechquant.learn.training.seeding import derived_seed

__all__ = ["Annealing", "gumbel", "relaxed"]


@dataclass(frozen=True, slots=True)
class Annealing:
    """Temperature and noise by update.

    The temperature falls exponentially (Jang et al. 2017, section 2.2) and the noise linearly to zero: at a low
    temperature alone every draw is one candidate, but each draw another one. Both are gone after `updates`,
    when the bits are settled.

    Attributes:
        updates: in which bits are learned.
        hot: temperature at the start.
        cold: temperature at the end.
    """

    updates: int
    hot: float = 1.0
    cold: float = 0.3

    def temperature(self, step: int) -> float:
        """In the update after `step` finished ones."""
        return self.hot * math.exp(self._progress(step) * math.log(self.cold / self.hot))

    def noise(self, step: int) -> float:
        """The factor of the noise in this update."""
        return 1.0 - self._progress(step)

    def _progress(self, step: int) -> float:
        return min(step / self.updates, 1.0) if self.updates else 1.0


def gumbel(shape: tuple[int, ...], *parts: int | str) -> torch.Tensor:
    """Standard Gumbel noise that follows from `parts` alone: the same in every process and after a resumption."""
    generator = torch.Generator().manual_seed(derived_seed("gumbel", *parts))
    return -torch.empty(shape).exponential_(generator=generator).log()


def relaxed(
    scores: torch.Tensor, noise: torch.Tensor, temperature: float, *, paths: int, threshold: float
) -> tuple[tuple[int, ...], torch.Tensor]:
    """A relaxed draw (Jang et al. 2017, eq. 2) in which only candidates that matter take part.

    Candidates beyond the `paths` largest shares, and those with a share below `threshold`, are left out of the
    draw as if they did not exist (as ProxylessNAS does with two paths, Cai et al. 2019, section 3.2). The noise
    gives every candidate its turn, with the probability that its score says.

    Args:
        scores: logits, (candidates,).
        noise: added to them, (candidates,), on the CPU.
        temperature: of the softmax.
        paths: candidates of a draw at most.
        threshold: the smallest share.

    Returns:
        Places of the candidates, ascending, and their shares with gradients.
    """
    perturbed = scores.detach().cpu() + noise
    whole = torch.softmax(perturbed / temperature, dim=0)
    best = torch.topk(whole, min(paths, len(whole))).indices.tolist()
    places = tuple(sorted(place for place in best if place == best[0] or whole[place] >= threshold))
    index = list(places)
    shares = torch.softmax((scores[index] + noise[index].to(scores.device)) / temperature, dim=0)
    return places, shares
