"""One training run: model, speech, quantizers, and everything that must be put back when it ends."""

from __future__ import annotations

import copy
import hashlib
import json
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from speechquant.errors import DataError, RecipeError
from speechquant.evaluation import Evaluator
from speechquant.jobs.clock import Clock, Told
from speechquant.jobs.learning.texts import SPELL, plain_targets, spell
from speechquant.jobs.surroundings import work_folder
from speechquant.learn.mixed import MixedWeights
from speechquant.learn.training import (
    VERSION,
    LossWeights,
    Plan,
    Schedule,
    Speech,
    Student,
    Trainer,
    optimizer_of,
    read_history,
    recomputing,
    task_of,
)
from speechquant.simulation import quantized

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from accelerate import Accelerator

    from speechquant.data import Skipped
    from speechquant.jobs.clock import Saved
    from speechquant.jobs.learn_recipe import LearnRecipe
    from speechquant.jobs.learning.roles import Roles
    from speechquant.jobs.progress import Progress
    from speechquant.learn import Reconstruction
    from speechquant.learn.installed import FakeQuantizers
    from speechquant.learn.training import Trained
    from speechquant.metrics import WordErrors
    from speechquant.models import SpeechModel

__all__ = ["HISTORY", "Session", "Stage", "StageRun", "vain_settings"]

HISTORY, SECONDS = "history.jsonl", "seconds.json"

# Of no influence on the weights that a run ends with: gradient checkpointing repeats the very same operations.
_INDIFFERENT = {"output", "test", "test_minutes", "strict", "allow_overlap", "gradient_checkpointing"}

# Their results are in the work folder whenever they report progress.
_REPORT_WHAT_IS_KEPT = ("round weights", SPELL)


@dataclass(frozen=True, slots=True)
class Stage:
    """One training among those of a job.

    `name` tells stages apart. Dev speech decides which weights after `judge_from` updates or more are kept; with
    None they are those of the end. Speech and masks are those behind the `first` updates of a stage that this one
    goes on from. Without `weights` those of the network stay as they are, and what quantizes them learns alone.
    """

    name: str
    steps: int
    judge_from: int | None = 0
    first: int = 0
    weights: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class StageRun:
    """How a stage went: its folder is below the job's work folder, its history in it."""

    stage: Stage
    trained: Trained
    folder: Path

    @property
    def rows(self) -> tuple[dict[str, Any], ...]:
        """The lines of its history."""
        return read_history(self.folder / HISTORY)

    @property
    def seconds(self) -> float:
        """Time of its updates and evaluations, whatever interruptions lay between."""
        return float(sum(row.get("seconds", 0.0) for row in self.rows))


def vain_settings(recipe: LearnRecipe, model: SpeechModel) -> tuple[str, ...]:
    """What the recipe asks for in so many words and its method or the model's family cannot do, one line each."""
    asked = "spec_augment" in recipe.model_fields_set and recipe.spec_augment and recipe.method != "allocate"
    masks = hasattr(model.config, "apply_spec_augment")
    family = f"--spec-augment does nothing: transformers has no SpecAugment for {model.model_type} models"
    return (*recipe.vain(recipe.method), *((family,) if asked and not masks else ()))


@dataclass(eq=False)
class Session:
    """What the steps of a job share.

    `seconds` are those of steps that are no training, whatever interruptions lay between; `teacher` is the float
    network as it was before anything changed it, None where nothing is learned from it. `rounding_errors` are those
    that rounding by speech left at its end, by weight.

    Raises:
        RecipeError: the recipe asks for gradient checkpointing, which the model's family does not support, or a batch
            is too small for all processes to have a part of it.
    """

    model: SpeechModel
    roles: Roles
    recipe: LearnRecipe
    evaluator: Evaluator
    progress: Progress
    accelerator: Accelerator
    skipped: tuple[Skipped, ...] = ()
    utterances: int = 0
    teacher: Any = field(init=False, default=None)
    rounding_errors: Mapping[str, Reconstruction] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        first = self.accelerator.is_main_process
        self._clock = Clock(work_folder(self.recipe.output) / SECONDS if first else None)
        self._reported: Saved | None = None
        self._rounds = 0
        self.progress = Told(self.progress, lambda done: self._reported(done) if self._reported else None)
        supported = getattr(self.model.module, "supports_gradient_checkpointing", False)
        if self.recipe.gradient_checkpointing and not supported:
            raise RecipeError(
                f"--gradient-checkpointing: {self.model.model_type} models do not support it; leave it out and "
                "lower --batch-seconds"
            )
        processes = self.accelerator.num_processes
        if self.trains and self.recipe.batch < processes:
            raise RecipeError(
                f"--batch {self.recipe.batch} leaves some of {processes} processes without an utterance; raise it to "
                f"{processes} or more"
            )
        if self.recipe.distillation and self.trains:
            self.teacher = copy.deepcopy(self.model.module)

    @property
    def trains(self) -> bool:
        """Whether the method changes weights by gradients."""
        return self.recipe.method != "allocate"

    @property
    def seconds(self) -> Mapping[str, float]:
        """What steps took."""
        return self._clock.seconds

    @contextmanager
    def timed(self, step: str, key: str | None = None) -> Iterator[Saved]:
        """Add what the block takes to the seconds of a step, as `Clock.timed` does; some steps have their own key."""
        reports = step in _REPORT_WHAT_IS_KEPT
        if reports:
            self._rounds += 1
            key = f"{step}|{self._rounds}|{self._digest()}"
        with self._clock.timed(step, key) as saved:
            self._reported = saved if reports else None
            try:
                yield saved
            finally:
                self._reported = None

    def train(self, work: Path, quantizers: FakeQuantizers | None, stage: Stage) -> StageRun:
        """Train the model in place, with quantizers or as the float control; these are on the CPU afterwards."""
        signature = self.signature(stage, quantizers)
        folder = work / f"{stage.name}-{signature[:16]}"
        folder.mkdir(exist_ok=True)
        speech, teacher = self.speech, self.teacher
        with ExitStack() as stack:
            stack.enter_context(self._trainable())
            if quantizers is not None:
                stack.enter_context(quantizers.installed())
            trainer = self._trainer(
                quantizers,
                stage,
                speech=speech,
                teacher=teacher,
                folder=folder,
                signature=signature,
                stack=stack,
            )
            trained = trainer.run()
        self.model.module.cpu()
        # Weights decide the signature under which results are stored.
        self.model.load_tensors({name: t.numpy() for name, t in self.model.module.state_dict().items()})
        if quantizers is not None:
            quantizers.cpu()
        return StageRun(stage, trained, folder)

    def signature(self, stage: Stage, quantizers: FakeQuantizers | None) -> str:
        """SHA-256 of everything that decides the weights, but for the machine and its libraries."""
        return self._digest(
            stage=[stage.name, stage.steps, stage.judge_from, stage.first, stage.weights],
            start=None if quantizers is None else quantizers.table().signature,
        )

    def _digest(self, **more: Any) -> str:
        kept = {k: v for k, v in self.recipe.model_dump(mode="json").items() if k not in _INDIFFERENT}
        kept |= {
            "version": VERSION,
            "model": self.model.results_signature,
            "train": self.roles.train.signature,
            "check": self.roles.check.signature,
            "processes": self.accelerator.num_processes,
            **more,
        }
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()

    @cached_property
    def speech(self) -> Speech:
        """The training set with what the model is to write; to be asked for before its weights change.

        Raises:
            DataError: no utterance is left to learn from.
        """
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
        steps = range(recipe.steps + recipe.second_pass)
        drawn = (item.id for step in steps for item in speech.drawn(step))
        decodes = model.runtime.task != "ctc"
        # The first process writes the transcripts that the others then find.
        with self.timed(SPELL) if decodes else nullcontext(), self.accelerator.main_process_first():
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

    def _trainer(
        self,
        quantizers: FakeQuantizers | None,
        stage: Stage,
        *,
        speech: Speech,
        teacher: Any,
        folder: Path,
        signature: str,
        stack: ExitStack,
    ) -> Trainer:
        recipe, model = self.recipe, self.model
        choice = quantizers.choice if isinstance(quantizers, MixedWeights) else None
        student = Student(
            model.module,
            task_of(model),
            weights=LossWeights(recipe.task_weight, recipe.distillation, recipe.temperature),
            teacher=None if teacher is None else teacher.to(self.accelerator.device),
            extra=quantizers,
            bf16=recipe.precision == "bf16",
            penalty=None if choice is None else choice.penalty,
        )
        optimizer = optimizer_of(
            model.module,
            quantizers,
            choice,
            learning_rate=recipe.learning_rate if stage.weights else 0.0,
            extra_learning_rate=recipe.scale_learning_rate,
            choice_learning_rate=recipe.bit_learning_rate,
            weight_decay=recipe.weight_decay,
        )
        advance = stack.enter_context(self.progress.stage(stage.name))

        def tell(done: int, total: int, loss: float | None, dev: float | None) -> None:
            said = ("" if loss is None else f"loss {loss:.3f}", "" if dev is None else f"dev WER {dev:.2f} %")
            advance(done, total, ", ".join(filter(None, said)))

        return Trainer(
            student,
            optimizer,
            speech,
            self._plan(stage),
            evaluate=lambda: self._check(quantizers),
            folder=folder,
            settings=signature,
            accelerator=self.accelerator,
            on_step=tell,
            search=choice,
        )

    def _plan(self, stage: Stage) -> Plan:
        recipe, model = self.recipe, self.model
        return Plan(
            Schedule(stage.steps, round(recipe.warmup * stage.steps)),
            evaluate_every=recipe.evaluate_every,
            patience=recipe.patience,
            clip=recipe.clip,
            maximum_samples=round(recipe.batch_seconds * model.sampling_rate),
            length_exact=model.length_exact,
            seed=recipe.seed,
            judge_from=stage.judge_from,
            first=stage.first,
        )

    def _check(self, quantizers: FakeQuantizers | None) -> WordErrors:
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
            with recomputing(module) if self.recipe.gradient_checkpointing else nullcontext():
                yield
        finally:
            module.requires_grad_(requires_grad=False)
            for parameter in module.parameters():
                parameter.grad = None
            module.eval()
            if masks is not None:
                config.apply_spec_augment = masks
