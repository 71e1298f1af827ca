"""Transcribed speech in the order in which training sees it, cut into batches that change no output."""

from __future__ import annotations

from collections import deque
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from speechquant.data import Skipped, iter_loaded, length_batches
from speechquant.errors import DataError
from speechquant.learn.training.seeding import derived_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from speechquant.data import Utterance
    from speechquant.models import SpeechModel

__all__ = ["Batch", "Example", "Speech", "collate", "micro_batches"]

MAXIMUM_SECONDS = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One utterance as the network takes it: samples of shape (time,), and the ids of its transcript."""

    id: str
    wave: NDArray[np.float32]
    target: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Utterances that run together.

    Attributes:
        waves: (batch, samples), zeros after the end of the shorter ones.
        samples: how many of them are real, (batch,).
        targets: ids, (batch, length), padded with 0.
        lengths: how many ids are real, (batch,).
    """

    waves: torch.Tensor
    samples: torch.Tensor
    targets: torch.Tensor
    lengths: torch.Tensor

    def __len__(self) -> int:
        return len(self.waves)

    @property
    def padded(self) -> bool:
        """Whether some waves are shorter than others."""
        return bool((self.samples != self.waves.shape[1]).any())

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return Batch(*(getattr(self, name).to(device) for name in ("waves", "samples", "targets", "lengths")))


class Speech:
    """Utterances with their targets, drawn in a new random order in every epoch.

    The utterances of a step depend on the seed and the number of the step alone. A recording that cannot be
    used is left out of its step and told to `on_skip` once; one that is known to be too long is in none.

    Args:
        model: prepares the waves.
        utterances: the training set.
        targets: ids by utterance id; utterances without are left out.
        fits: whether a prepared wave of so many samples goes with a target; None for always.
        batch: utterances per step, over all processes.
        seed: of the order.
        maximum_seconds: longer recordings are left out.
        strict: refuse unusable audio.
        on_skip: hears what was left out.
        rank: which share of each step is for this process.
        world: the number of processes.
    """

    def __init__(
        self,
        model: SpeechModel,
        utterances: Sequence[Utterance],
        targets: Mapping[str, Sequence[int]],
        *,
        batch: int,
        fits: Callable[[int, tuple[int, ...]], bool] | None = None,
        seed: int = 0,
        maximum_seconds: float = MAXIMUM_SECONDS,
        strict: bool = False,
        on_skip: Callable[[Skipped], None] = lambda _: None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._model = model
        self._utterances = [
            item
            for item in utterances
            if targets.get(item.id) and (item.seconds is None or item.seconds <= maximum_seconds)
        ]
        self._targets = targets
        self._batch = batch
        self._fits = fits
        self._seed = seed
        self._maximum = maximum_seconds
        self._strict = strict
        self._on_skip = on_skip
        self._share = slice(rank, None, world)
        self._told: set[str] = set()
        self._orders: dict[int, NDArray[np.int64]] = {}

    def __len__(self) -> int:
        return len(self._utterances)

    def drawn(self, step: int) -> list[Utterance]:
        """The utterances of a step, of all processes."""
        first = step * self._batch
        return [self._at(index) for index in range(first, first + self._batch)]

    def steps(self, start: int, stop: int) -> Generator[list[Example], None, None]:
        """This process' examples of each step from `start` to before `stop`; a step may have none.

        A background thread decodes ahead.

        Raises:
            AudioError: with `strict`, audio that cannot be used.
            DataError: no audio can be used at all.
        """
        waiting: deque[tuple[int, str]] = deque()

        def wanted() -> Iterator[Utterance]:
            for step in range(start, stop):
                for utterance in self.drawn(step)[self._share]:
                    waiting.append((step, utterance.id))
                    yield utterance

        present, examples = start, list[Example]()
        loaded = iter_loaded(wanted(), strict=self._strict, on_skip=self._skip, maximum_seconds=self._maximum)
        with closing(loaded):  # type: ignore[type-var] # it is a generator
            for utterance, samples in loaded:
                step, name = waiting.popleft()
                while name != utterance.id:
                    step, name = waiting.popleft()
                while present < step:
                    yield examples
                    present, examples = present + 1, []
                examples += self._example(utterance, samples)
            while present < stop:
                yield examples
                present, examples = present + 1, []

    def _example(self, utterance: Utterance, samples: NDArray[np.float32]) -> list[Example]:
        target = tuple(self._targets[utterance.id])
        wave = self._model.prepare_wave(samples)
        if self._fits is None or self._fits(wave.size, target):
            return [Example(utterance.id, wave, target)]
        self._skip(Skipped(utterance.id, f"its transcript of {len(target)} symbols does not fit its audio"))
        return []

    def _at(self, index: int) -> Utterance:
        epoch, place = divmod(index, len(self._utterances))
        return self._utterances[int(self._order(epoch)[place])]

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._orders:
            generator = np.random.default_rng(derived_seed(self._seed, "order", epoch))
            # Two epochs meet in one step at most.
            self._orders = {k: v for k, v in self._orders.items() if k == epoch - 1}
            self._orders[epoch] = generator.permutation(len(self._utterances))
        return self._orders[epoch]

    def _skip(self, skipped: Skipped) -> None:
        if skipped.id not in self._told:
            self._told.add(skipped.id)
            self._on_skip(skipped)
        if len(self._told) == len(self._utterances):
            raise DataError(
                f"none of the {len(self._told)} utterances to learn from can be used, the last: {skipped.reason}"
            )


def micro_batches(examples: Sequence[Example], *, maximum_samples: int, exact: bool) -> list[Batch]:
    """Cut a step into batches that fit in memory, equal lengths only where padding would change the output."""
    found = length_batches(
        [example.wave.size for example in examples], maximum_total=maximum_samples, exact=exact
    )
    return [collate([examples[i] for i in indices]) for indices in found]


def collate(examples: Sequence[Example]) -> Batch:
    """Put examples side by side, padded at the end."""
    samples = torch.tensor([example.wave.size for example in examples])
    lengths = torch.tensor([len(example.target) for example in examples])
    waves = torch.zeros(len(examples), int(samples.max()))
    targets = torch.zeros(len(examples), int(lengths.max()), dtype=torch.int64)
    for row, example in enumerate(examples):
        waves[row, : example.wave.size] = torch.from_numpy(example.wave)
        targets[row, : len(example.target)] = torch.tensor(example.target, dtype=torch.int64)
    return Batch(waves, samples, targets, lengths)
