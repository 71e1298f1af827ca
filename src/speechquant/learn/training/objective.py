"""What training makes small: the model's own loss, and the distance to the float model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import nn

    from speechquant.learn.training.data import Batch
    from speechquant.models import SpeechModel

__all__ = ["CTC", "Outputs", "Task", "TeacherForcing", "divergence", "task_of"]

_IGNORED = -100


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """What a network says: `logits` (batch, positions, vocabulary), of which `lengths` (batch,) are real."""

    logits: torch.Tensor
    lengths: torch.Tensor


class Task(ABC):
    """How a family is run in training, and its own loss.

    Every loss is one number per utterance, (batch,), which does not depend on what else is in the batch; so a
    step may be cut into batches of any size.
    """

    @abstractmethod
    def outputs(self, network: nn.Module, batch: Batch) -> Outputs:
        """Run the network on a batch."""

    @abstractmethod
    def loss(self, outputs: Outputs, batch: Batch) -> torch.Tensor:
        """The model's own loss, (batch,)."""

    @abstractmethod
    def fits(self, samples: int, target: tuple[int, ...]) -> bool:
        """Whether a recording of `samples` is long enough, and short enough, for its target."""


class CTC(Task):
    """Connectionist temporal classification (Graves 2006), divided by the length of the target.

    Over a batch the mean of this is what transformers calls the reduction `mean`; its `sum` would give long
    utterances more weight.
    """

    def __init__(self, network: nn.Module, *, blank: int) -> None:
        self._blank = blank
        self._frames: Any = network._get_feat_extract_output_lengths  # noqa: SLF001 - has no public name

    def outputs(self, network: nn.Module, batch: Batch) -> Outputs:
        """Run the network, with an attention mask where waves are padded."""
        mask = None
        if batch.padded:
            positions = torch.arange(batch.waves.shape[1], device=batch.waves.device)
            mask = (positions[None] < batch.samples[:, None]).long()
        logits: torch.Tensor = network(batch.waves, attention_mask=mask).logits
        return Outputs(logits, self._frames(batch.samples).to(torch.int64))

    def loss(self, outputs: Outputs, batch: Batch) -> torch.Tensor:
        """Minus the log-likelihood of all alignments, per letter of the target."""
        scores = functional.log_softmax(outputs.logits.float(), dim=-1).transpose(0, 1)
        # The native implementation, which cuDNN would replace by one that is not deterministic.
        with torch.backends.cudnn.flags(enabled=False):
            loss = functional.ctc_loss(
                scores,
                batch.targets,
                outputs.lengths,
                batch.lengths,
                blank=self._blank,
                reduction="none",
                zero_infinity=True,
            )
        return loss / batch.lengths

    def fits(self, samples: int, target: tuple[int, ...]) -> bool:
        """Whether there is a frame for every letter, and for the blank between two equal ones."""
        repeats = sum(one == two for one, two in pairwise(target))
        return int(self._frames(torch.tensor(samples))) >= len(target) + repeats


class TeacherForcing(Task):
    """Cross-entropy of every next token after the right ones before it, and of the end; mean over tokens."""

    def __init__(self, *, start: int, end: int, positions: int) -> None:
        self._start, self._end, self._positions = start, end, positions

    def outputs(self, network: nn.Module, batch: Batch) -> Outputs:
        """Run encoder and decoder; waves must be of equal length."""
        if batch.padded:
            raise ValueError("waves of different lengths must not share a batch: padding changes the output")
        start = batch.targets.new_full((len(batch), 1), self._start)
        # What the decoder reads after the end of a short target only decides positions that count nothing.
        tokens = torch.cat((start, batch.targets), dim=1)
        logits = network(batch.waves, decoder_input_ids=tokens, use_cache=False).logits
        return Outputs(logits, batch.lengths + 1)

    def loss(self, outputs: Outputs, batch: Batch) -> torch.Tensor:
        """Mean over the tokens of each utterance, its end included."""
        rows = torch.arange(len(batch), device=batch.targets.device)
        labels = functional.pad(batch.targets, (0, 1))
        labels[rows, batch.lengths] = self._end
        after = torch.arange(labels.shape[1], device=labels.device)[None] > batch.lengths[:, None]
        labels = labels.masked_fill(after, _IGNORED)
        losses = functional.cross_entropy(
            outputs.logits.float().transpose(1, 2), labels, ignore_index=_IGNORED, reduction="none"
        )
        return losses.sum(dim=1) / outputs.lengths

    def fits(self, samples: int, target: tuple[int, ...]) -> bool:
        """Whether the decoder has a position for every token."""
        del samples
        return len(target) + 1 <= self._positions


def task_of(model: SpeechModel) -> Task:
    """The loss that a model was trained with."""
    spec = model.runtime
    if spec.task == "ctc":
        return CTC(model.module, blank=spec.blank)
    positions = int(getattr(model.config, "max_position_embeddings", 1 << 30))
    return TeacherForcing(start=spec.start, end=spec.end, positions=positions)


def divergence(student: Outputs, teacher: Outputs, *, temperature: float = 1.0) -> torch.Tensor:
    """KL(teacher || student), mean over the real positions of each utterance, (batch,).

    Both are softened by `temperature`, and the result is multiplied by its square, so that gradients keep
    their size (Hinton 2015, section 2).
    """
    said = functional.log_softmax(student.logits.float() / temperature, dim=-1)
    meant = functional.log_softmax(teacher.logits.float() / temperature, dim=-1)
    each = functional.kl_div(said, meant, reduction="none", log_target=True).sum(dim=-1)
    real = torch.arange(each.shape[1], device=each.device)[None] < student.lengths[:, None]
    return temperature**2 * (each * real).sum(dim=1) / student.lengths
