"""The training loop: updates, evaluations, checkpoints. It knows neither models nor quantizers."""

from __future__ import annotations

import math
import time
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch

from speechquant.errors import ModelError, StorageError
from speechquant.learn.training.checkpoint import (
    Position,
    load_checkpoint,
    load_tensors,
    read_tensors,
    save_checkpoint,
    save_tensors,
    tensors_of,
)
from speechquant.learn.training.data import micro_batches
from speechquant.learn.training.history import History
from speechquant.learn.training.interrupts import uninterrupted
from speechquant.learn.training.optimizer import set_learning_rates
from speechquant.learn.training.seeding import seeded

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from accelerate import Accelerator

    from speechquant.learn.training.data import Batch, Example, Speech
    from speechquant.learn.training.schedule import Schedule
    from speechquant.learn.training.student import Student
    from speechquant.metrics import WordErrors

__all__ = ["VERSION", "Plan", "Search", "Trained", "Trainer"]

VERSION = 2
"""Raise it with every change after which the same settings train other weights; older checkpoints are not used."""

CHECKPOINT, BEST, HISTORY = "checkpoint.safetensors", "best.safetensors", "history.jsonl"


@dataclass(frozen=True, slots=True)
class Plan:
    """How a run goes.

    Attributes:
        schedule: the number of updates, and their learning rates.
        evaluate_every: updates between two evaluations on dev speech.
        patience: end after so many evaluations without a better one; 0 never does.
        clip: largest norm of the gradient; 0 leaves it as it is.
        maximum_samples: of a batch that runs at once, after padding.
        length_exact: only waves of equal length may share a batch.
        seed: of dropout and SpecAugment.
        first: updates of an earlier stage that this one goes on from, with other speech and other masks.
        judge_from: evaluate, and keep the best weights, after so many updates; with None, those of the last one
            are kept without any evaluation.
    """

    schedule: Schedule
    evaluate_every: int
    patience: int = 0
    clip: float = 1.0
    maximum_samples: int = 32 * 16_000
    length_exact: bool = False
    seed: int = 0
    first: int = 0
    judge_from: int | None = 0


class OnStep(Protocol):
    """Hears of every update."""

    def __call__(self, done: int, total: int, loss: float | None, dev: float | None) -> None:
        """`done` updates are finished; the last loss, and the last word error rate in percent."""


class Search(Protocol):
    """What is learned beside the weights and changes from update to update, such as bits."""

    def begin(self, step: int) -> None:
        """Prepare the update after `step` finished ones; called again with the same number after a resumption."""

    def end(self) -> None:
        """The update is done; what changes here is a buffer, which the checkpoint has."""

    def figures(self) -> dict[str, Any]:
        """Numbers for the line of an update."""
        ...

    def expected(self) -> dict[str, float]:
        """Where it stands when an evaluation is due: bits by module."""
        ...


@dataclass(frozen=True, slots=True)
class Trained:
    """How a run ended: finished updates, the one with the best dev WER (percent), and its rate.

    Without evaluations the last update is the best, and its rate is None.
    """

    steps: int
    best_step: int
    best_wer: float | None


class Trainer:
    """Trains a student until its schedule or its patience ends, and leaves the best weights in it.

    Everything that decides the next update is in the checkpoint or follows from the seed and the number of
    the update. So a run that was interrupted and goes on ends with the very weights of one that was not, on
    the same kind of machine with as many threads and processes.

    Args:
        student: gives the parts of the loss.
        optimizer: of its parameters, each group with a peak learning rate.
        speech: the training set.
        plan: how the run goes.
        evaluate: word errors of the student as it stands, on dev speech. Called in the first process only.
        folder: where checkpoint, best weights and history lie.
        settings: a signature of all that decides the run; a checkpoint with another one is not used.
        accelerator: the processes that share the work.
        on_step: hears of progress.
        search: what is learned beside the weights.
    """

    def __init__(
        self,
        student: Student,
        optimizer: torch.optim.Optimizer,
        speech: Speech,
        plan: Plan,
        *,
        evaluate: Callable[[], WordErrors],
        folder: Path,
        settings: str,
        accelerator: Accelerator,
        on_step: OnStep,
        search: Search | None = None,
    ) -> None:
        self._student = student
        self._optimizer = optimizer
        self._speech = speech
        self._plan = plan
        self._evaluate = evaluate
        self._folder = folder
        self._settings = settings
        self._accelerator = accelerator
        self._on_step = on_step
        self._search = search
        self._loss: float | None = None
        self._dev: float | None = None
        # Where weights and optimizer are: it changes with them, inside blocks that Ctrl-C waits for.
        self._position = Position(settings)

    def run(self) -> Trained:
        """Train, from the checkpoint where there is one.

        Raises:
            ModelError: the loss is no longer a number.
            StorageError: a checkpoint cannot be written.
            KeyboardInterrupt: after a checkpoint was written.
        """
        self._parallel = self._accelerator.prepare(self._student)
        self._position = found = self._resume()
        path = self._folder / HISTORY
        self._history = History(path, step=found.step, evaluated=found.evaluated) if self._first else None
        total, first = self._plan.schedule.steps, self._plan.first
        with closing(self._speech.steps(first + found.step, first + total)) as steps:
            try:
                self._judge()
                while not self._finished:
                    self._update(next(steps))
                    self._report()
                    self._judge()
            except KeyboardInterrupt:
                self._save()
                raise
        self._accelerator.wait_for_everyone()
        end = self._position
        if self._plan.judge_from is None:
            return Trained(end.step, end.step, None)
        load_tensors(self._student, self._best_tensors())
        self._begin(end.best_step)
        assert end.best is not None
        return Trained(end.step, end.best_step, end.best)

    @property
    def _first(self) -> bool:
        return bool(self._accelerator.is_main_process)

    def _resume(self) -> Position:
        def complete(position: Position) -> bool:
            return position.best is None or read_tensors(self._folder / BEST) is not None

        path = self._folder / CHECKPOINT
        found = load_checkpoint(
            path, self._student, self._optimizer, settings=self._settings, accept=complete
        )
        return found or Position(self._settings)

    def _begin(self, step: int) -> None:
        if self._search is not None:
            self._search.begin(step)

    @property
    def _finished(self) -> bool:
        patience, position = self._plan.patience, self._position
        return position.step >= self._plan.schedule.steps or (0 < patience <= position.stale)

    def _report(self) -> None:
        self._on_step(self._position.step, self._plan.schedule.steps, self._loss, self._dev)

    def _update(self, examples: list[Example]) -> None:
        """One update of the weights from the gradients of all examples of all processes."""
        start, step = time.perf_counter(), self._position.step
        set_learning_rates(self._optimizer, self._plan.schedule.factor(step))
        self._begin(step)
        counts = self._accelerator.gather(self._number(len(examples)))
        sums, norm, again = self._number(*[0.0] * len(self._student.parts)), 0.0, False
        # A process without examples would keep the others waiting, so that all leave out such a step.
        if heard := bool((counts > 0).all()):
            share = float(counts.sum()) / len(counts)
            sums, norm = self._gradients(step, examples, share=share), self._clipped_norm()
            if again := not math.isfinite(norm):
                # An update follows from its number: what the same computation does not repeat was no divergence.
                self._optimizer.zero_grad()
                sums, norm = self._gradients(step, examples, share=share), self._clipped_norm()
            self._check(step, float(sums[0]), norm)
        mean = self._accelerator.reduce(sums, "sum") / counts.sum().clamp(min=1)
        with uninterrupted():
            if heard:
                self._optimizer.step()
            self._optimizer.zero_grad()
            if self._search is not None:
                self._search.end()
            self._position = replace(self._position, step=step + 1)
            done: dict[str, Any] = {"gradient_norm": norm} if heard else {"skipped": True}
            done |= {"repeated": True} if again else {}
            self._tell(step + 1, mean.tolist() if heard else None, time.perf_counter() - start, done)

    def _gradients(self, step: int, examples: list[Example], *, share: float) -> torch.Tensor:
        """Add up the gradients of this process; `share` utterances of a step fall to each of them.

        Returns:
            The parts of the loss, summed over utterances.
        """
        self._student.train()
        batches = micro_batches(
            examples, maximum_samples=self._plan.maximum_samples, exact=self._plan.length_exact
        )
        sums = self._number(*[0.0] * len(self._student.parts))
        # Processes exchange gradients in the middle of the last backward pass, and cannot wait for a second one.
        alone = self._accelerator.num_processes == 1
        with self._student.once() if alone else nullcontext():
            for index, batch in enumerate(batches):
                last = index == len(batches) - 1
                with nullcontext() if last else self._accelerator.no_sync(self._parallel):
                    sums += self._backward(step, index, batch, share)
        return sums

    def _backward(self, step: int, index: int, batch: Batch, share: float) -> torch.Tensor:
        place = self._accelerator.process_index
        with seeded(self._plan.seed, "step", self._plan.first + step, index, place):
            parts: dict[str, torch.Tensor] = self._parallel(batch.to(self._accelerator.device))
            self._accelerator.backward(parts["loss"] / share)
        return torch.stack([parts[name].detach().double() for name in self._student.parts])

    def _clipped_norm(self) -> float:
        limit = self._plan.clip or float("inf")
        return float(torch.nn.utils.clip_grad_norm_(self._student.parameters(), limit))

    def _check(self, step: int, loss: float, norm: float) -> None:
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._optimizer.zero_grad()
            raise ModelError(
                f"training diverged in step {step + 1}: the loss is no longer a number; "
                "lower --learning-rate, or clip gradients more"
            )

    def _tell(self, step: int, mean: list[float] | None, seconds: float, done: dict[str, Any]) -> None:
        """Write the line of a step; without speech it has no parts of the loss."""
        parts = {} if mean is None else dict(zip(self._student.parts, mean, strict=True))
        self._loss = parts.get("loss")
        if self._history is not None:
            rate = self._optimizer.param_groups[0]["lr"]
            more = {} if self._search is None else self._search.figures()
            self._history.add(step=step, **parts, learning_rate=rate, seconds=seconds, **done, **more)

    def _judge(self) -> None:
        """Evaluate where it is due, keep the weights if they are the best so far, write a checkpoint."""
        plan, position = self._plan, self._position
        due = position.step % plan.evaluate_every == 0 or position.step == plan.schedule.steps
        if not due or position.evaluated == position.step:
            return
        self._begin(position.step)
        if plan.judge_from is None or position.step < plan.judge_from:
            self._note()
            return
        start = time.perf_counter()
        errors = self._score()
        self._dev = errors.wer
        better = position.best is None or errors.wer < position.best
        with uninterrupted():
            if self._first and better:
                note = {"settings": self._settings, "step": position.step}
                save_tensors(self._folder / BEST, tensors_of(self._student), note)
            if self._history is not None:
                row = {"dev": _figures(errors), "best": better, "seconds": time.perf_counter() - start}
                self._history.add(step=position.step, **row, **self._bits())
            self._position = replace(
                position,
                evaluated=position.step,
                best=errors.wer if better else position.best,
                best_step=position.step if better else position.best_step,
                stale=0 if better else position.stale + 1,
            )
            self._save()
        self._report()

    def _note(self) -> None:
        """A checkpoint and a line without an evaluation."""
        step = self._position.step
        with uninterrupted():
            if self._history is not None and self._search is not None:
                self._history.add(step=step, **self._bits())
            self._position = replace(self._position, evaluated=step)
            self._save()

    def _bits(self) -> dict[str, Any]:
        return {} if self._search is None else {"bits": self._search.expected()}

    def _score(self) -> WordErrors:
        """Evaluate in the first process, and tell the others."""
        from accelerate.utils import broadcast_object_list

        self._student.eval()
        found: list[WordErrors | None] = [self._evaluate() if self._first else None]
        if self._accelerator.num_processes > 1:
            broadcast_object_list(found)
        (errors,) = found
        assert errors is not None
        return errors

    def _save(self) -> None:
        if self._first:
            with uninterrupted():
                save_checkpoint(self._folder / CHECKPOINT, self._student, self._optimizer, self._position)

    def _best_tensors(self) -> dict[str, torch.Tensor]:
        read = read_tensors(self._folder / BEST)
        if read is None:
            raise StorageError(f"{self._folder / BEST}: is missing or damaged; train again")
        return read[0]

    def _number(self, *values: float) -> torch.Tensor:
        return torch.tensor(values, device=self._accelerator.device, dtype=torch.float64)


def _figures(errors: WordErrors) -> dict[str, float | int]:
    return {
        "wer": errors.wer,
        "words": errors.words,
        "substitutions": errors.substitutions,
        "deletions": errors.deletions,
        "insertions": errors.insertions,
    }
