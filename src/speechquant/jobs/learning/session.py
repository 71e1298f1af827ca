"""One training run: model, speech, quantizers, and everything that must be put back when it ends."""

from __future__ import annotations

import copy
import hashlib
import json
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from speechquant.data import iter_loaded
from speechquant.errors import DataError
from speechquant.evaluation import Evaluator
from speechquant.jobs.learning.texts import plain_targets, spell
from speechquant.learn.qat import Quantizers, shared_inputs
from speechquant.learn.training import (
    LossWeights,
    Plan,
    Schedule,
    Speech,
    Student,
    Trainer,
    optimizer_of,
    task_of,
)
from speechquant.simulation import quantized

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from accelerate import Accelerator

    from speechquant.data import Skipped
    from speechquant.jobs.learn_recipe import LearnRecipe
    from speechquant.jobs.learning.roles import Roles
    from speechquant.jobs.progress import Progress
    from speechquant.learn.training import Trained
    from speechquant.metrics import WordErrors
    from speechquant.models import SpeechModel
    from speechquant.numerics import ScaleTable

__all__ = ["Session"]

# Of no influence on the weights that a run ends with.
_INDIFFERENT = {"output", "test", "test_minutes", "strict", "allow_overlap"}


@dataclass(eq=False)
class Session:
    """What the steps of a training run share. `start` is None for the float control."""

    model: SpeechModel
    roles: Roles
    recipe: LearnRecipe
    evaluator: Evaluator
    progress: Progress
    accelerator: Accelerator
    start: ScaleTable | None
    skipped: tuple[Skipped, ...] = ()
    utterances: int = 0

    def train(self, work: Path) -> tuple[Trained, ScaleTable | None, Path]:
        """Train the model in place.

        Returns:
            How it went, the scale table with the steps as they are in the end, and the folder of the run's
            files below `work`.
        """
        folder = work / f"training-{self.signature[:16]}"
        folder.mkdir(exist_ok=True)
        speech = self._speech()
        quantizers = self._quantizers()
        teacher = copy.deepcopy(self.model.module) if self.recipe.distillation else None
        with ExitStack() as stack:
            stack.enter_context(self._trainable())
            if quantizers is not None:
                stack.enter_context(quantizers.installed())
            trainer = self._trainer(speech, quantizers, teacher, folder, stack)
            trained = trainer.run()
        self.model.module.cpu()
        # Weights decide the signature under which results are stored.
        self.model.load_tensors({name: t.numpy() for name, t in self.model.module.state_dict().items()})
        return trained, None if quantizers is None else quantizers.cpu().table(), folder

    @property
    def signature(self) -> str:
        """SHA-256 of everything that decides the weights, but for the machine."""
        kept = {k: v for k, v in self.recipe.model_dump(mode="json").items() if k not in _INDIFFERENT}
        kept |= {
            "model": self.model.results_signature,
            "train": self.roles.train.signature,
            "check": self.roles.check.signature,
            "start": None if self.start is None else self.start.signature,
            "processes": self.accelerator.num_processes,
        }
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()

    def _speech(self) -> Speech:
        recipe, model = self.recipe, self.model
        learns_text = recipe.task_weight > 0
        targets = plain_targets(model, self.roles.train, learns_text=learns_text)
        left_out: list[Skipped] = []

        def skip(item: Skipped) -> None:
            left_out.append(item)
            self.skipped = tuple(left_out)
            self.progress.note(f"skipped {item.id}: {item.reason}")

        speech = Speech(
            model,
            self.roles.train,
            targets,
            fits=task_of(model).fits if learns_text else None,
            batch=recipe.batch,
            seed=recipe.seed,
            maximum_seconds=recipe.maximum_seconds,
            strict=recipe.strict,
            on_skip=skip,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
        )
        self.utterances = len(speech)
        if not self.utterances:
            raise DataError(
                f"{self.roles.train.name}: no utterance is left to learn from; raise --maximum-seconds"
            )
        drawn = (item.id for step in range(recipe.steps) for item in speech.drawn(step))
        # The first process writes the transcripts that the others then find.
        with self.accelerator.main_process_first():
            spell(
                model,
                self.roles.train,
                drawn,
                targets,
                evaluator=self.evaluator,
                progress=self.progress,
                learns_text=learns_text,
            )
        return speech

    def _quantizers(self) -> Quantizers | None:
        if self.start is None:
            return None
        loaded = iter_loaded(self.roles.train, strict=False, on_skip=lambda _: None)
        first = next(loaded, None)
        if first is None:
            raise DataError(f"no usable speech in the {self.roles.train.name} set")
        shared = shared_inputs(self.model, first[1])
        return Quantizers(self.model, self.start, learned=self.recipe.step_sizes == "learned", shared=shared)

    def _trainer(
        self,
        speech: Speech,
        quantizers: Quantizers | None,
        teacher: Any,
        folder: Path,
        stack: ExitStack,
    ) -> Trainer:
        recipe, model = self.recipe, self.model
        weights = LossWeights(recipe.task_weight, recipe.distillation, recipe.temperature)
        student = Student(
            model.module,
            task_of(model),
            weights=weights,
            teacher=None if teacher is None else teacher.to(self.accelerator.device),
            extra=quantizers,
            bf16=recipe.precision == "bf16",
        )
        optimizer = optimizer_of(
            model.module,
            quantizers,
            learning_rate=recipe.learning_rate,
            extra_learning_rate=recipe.scale_learning_rate,
            weight_decay=recipe.weight_decay,
        )
        plan = Plan(
            Schedule(recipe.steps, round(recipe.warmup * recipe.steps)),
            evaluate_every=recipe.evaluate_every,
            patience=recipe.patience,
            clip=recipe.clip,
            maximum_samples=round(recipe.batch_seconds * model.sampling_rate),
            length_exact=model.length_exact,
            seed=recipe.seed,
        )
        advance = stack.enter_context(self.progress.stage("train"))

        def tell(done: int, total: int, loss: float | None, dev: float | None) -> None:
            said = ("" if loss is None else f"loss {loss:.3f}", "" if dev is None else f"dev WER {dev:.2f} %")
            advance(done, total, ", ".join(filter(None, said)))

        return Trainer(
            student,
            optimizer,
            speech,
            plan,
            evaluate=lambda: self._check(quantizers),
            folder=folder,
            settings=self.signature,
            accelerator=self.accelerator,
            on_step=tell,
        )

    def _check(self, quantizers: Quantizers | None) -> WordErrors:
        """Word errors on the part of dev that training is judged by, of the model as it would be saved."""
        # Nothing is stored: the weights change under one signature.
        evaluator = Evaluator(self.evaluator.normalizer, strict=self.recipe.strict, seed=self.recipe.seed)
        with ExitStack() as stack:
            if quantizers is not None:
                stack.enter_context(quantizers.paused())
                stack.enter_context(quantized(self.model, quantizers.table()))
            return evaluator.evaluate(self.model.recognizer(), self.roles.check).errors

    @contextmanager
    def _trainable(self) -> Iterator[None]:
        """Let the weights have gradients inside the block, and SpecAugment happen only where it is wanted."""
        module, config = self.model.module, self.model.config
        masks = getattr(config, "apply_spec_augment", None)
        module.requires_grad_(requires_grad=True)
        if masks is not None:
            config.apply_spec_augment = bool(masks and self.recipe.spec_augment)
        try:
            yield
        finally:
            module.requires_grad_(requires_grad=False)
            for parameter in module.parameters():
                parameter.grad = None
            module.eval()
            if masks is not None:
                config.apply_spec_augment = masks
