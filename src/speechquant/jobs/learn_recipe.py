"""What the user asks of training: one typed model behind the command line, the Python verb and the YAML file."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads annotations
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from speechquant.jobs.mixed_recipe import MIXED, MixedRecipe
from speechquant.jobs.recipe_checks import CalibratorName, checked, leaves_activations, parse_bits
from speechquant.jobs.shared_recipe import (
    LARGEST_SEED,
    ExcludedLayers,
    IncludedLayers,
    RoundingMethod,
)
from speechquant.numerics import CANDIDATES

__all__ = ["LearnMethod", "LearnRecipe", "load_learn_recipe"]

_BITS = "w8a8"

LearnMethod = Literal["qat", "float", "one-stage", "two-stage", "uniform", "allocate"]


class LearnRecipe(MixedRecipe):
    """The settings of `speechquant learn`; field descriptions are the help texts of the command."""

    output: Annotated[Path, Field(description="Folder of the result: an artifact, or a float model.")]
    train: Annotated[str, Field(description="Transcribed speech to learn from.")]
    dev: Annotated[str, Field(description="Transcribed speech on which the best weights are chosen.")]
    method: Annotated[
        LearnMethod,
        Field(
            description="Train with quantizers (qat), without as a control (float), or make weights small to a budget."
        ),
    ] = "qat"
    bits: Annotated[
        str,
        checked(parse_bits),
        Field(
            description="Bits of weights and activations for qat, w8a8 to w2a2, up to w16a16; with w4a16 and the like "
            "activations stay in float."
        ),
    ] = _BITS
    start: Annotated[
        Path | None,
        Field(description="Artifact of the same model whose activation ranges training starts from."),
    ] = None
    calibrator: Annotated[CalibratorName, Field(description="Finds these ranges without an artifact.")] = (
        "percentile"
    )
    calibration_utterances: Annotated[
        int,
        Field(
            ge=1,
            description="Utterances of the training speech for ranges, and for rounding weights by speech.",
        ),
    ] = 32
    step_sizes: Annotated[
        Literal["learned", "fixed"],
        Field(description="Learn the scales too (LSQ), or keep those of the start."),
    ] = "learned"
    rounding: Annotated[
        RoundingMethod,
        Field(
            description="How weights are rounded once their bits are known: one by one (nearest), or so that outputs "
            "stay; allocate takes gptq by default."
        ),
    ] = "nearest"
    include: IncludedLayers = ()
    exclude: ExcludedLayers = ()
    steps: Annotated[int, Field(ge=1, description="Updates of the weights.")] = 400
    batch: Annotated[int, Field(ge=1, description="Utterances per update, over all processes.")] = 8
    learning_rate: Annotated[float, Field(gt=0, description="Peak learning rate of the weights.")] = 2e-5
    scale_learning_rate: Annotated[
        float, Field(ge=0, description="Peak learning rate of the scales' logarithms.")
    ] = 1e-3
    warmup: Annotated[float, Field(ge=0, lt=1, description="Share of the updates before the peak.")] = 0.1
    weight_decay: Annotated[float, Field(ge=0, description="Of AdamW, on matrices and kernels.")] = 0.0
    clip: Annotated[float, Field(ge=0, description="Largest norm of the gradient, 0 for any.")] = 1.0
    task_weight: Annotated[
        float, Field(ge=0, description="Weight of the model's own loss; 0 needs no transcripts of --train.")
    ] = 1.0
    distillation: Annotated[
        float, Field(ge=0, description="Weight of the divergence from the float model's output.")
    ] = 1.0
    temperature: Annotated[float, Field(gt=0, description="Softens both sides of that divergence.")] = 1.0
    spec_augment: Annotated[
        bool, Field(description="Mask features where the model's configuration says so.")
    ] = True
    precision: Annotated[
        Literal["f32", "bf16"], Field(description="Of the matrix products of training, not of evaluations.")
    ] = "f32"
    maximum_seconds: Annotated[
        float, Field(gt=0, le=120, description="Leave longer recordings out of the training.")
    ] = 30.0
    batch_seconds: Annotated[
        float, Field(gt=0, description="Seconds of audio that run at once; bounds the memory.")
    ] = 32.0
    gradient_checkpointing: Annotated[
        bool,
        Field(description="Compute layers again instead of keeping what they hold: less memory, more time."),
    ] = False
    evaluate_every: Annotated[int, Field(ge=1, description="Updates between two evaluations on dev.")] = 50
    check_minutes: Annotated[
        float | None, Field(gt=0, description="Use a random part of dev for them; by default all.")
    ] = None
    patience: Annotated[
        int, Field(ge=0, description="Stop after so many evaluations without a better one, 0 for never.")
    ] = 0
    train_minutes: Annotated[
        float | None, Field(gt=0, description="Use a random part of the training speech.")
    ] = None
    seed: Annotated[
        int, Field(ge=0, le=LARGEST_SEED, description="Seed of the order, of dropout and of random parts.")
    ] = 0

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, values: Any) -> Any:
        """Defaults that follow from other settings, so that a recipe says what a run does."""
        if not isinstance(values, dict):
            return values
        given = {name for name, value in values.items() if value is not None}
        more: dict[str, Any] = {}
        if values.get("method") == "allocate" and "rounding" not in given:
            # Without a training nothing repairs what rounding to nearest breaks.
            more["rounding"] = "gptq"
        if values.get("code") == "entropy" and "candidates" not in given:
            more["candidates"] = CANDIDATES["entropy"]
        return values | more

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.task_weight and not self.distillation:
            raise ValueError("--task-weight and --distillation are both 0, so there is nothing to learn")
        if self.method == "float" and not self.task_weight:
            raise ValueError(
                "--method float learns nothing without --task-weight: it starts as its own teacher"
            )
        if self.method == "float" and self.start is not None:
            raise ValueError(
                "--start and --method float exclude each other: there are no ranges to start from"
            )
        if self.method == "float" and self.rounding != "nearest":
            raise ValueError("--rounding and --method float exclude each other: there is no grid to round to")
        about_activations = self.start is not None or self.include or self.exclude
        if self.method in MIXED and about_activations and self.activation_bits is None:
            raise ValueError(
                "--start, --include and --exclude are about activations, which stay in float; quantize them with "
                f"--activation-bits 8 (of weights, --rule chooses for {self.method})"
            )
        if self.method == "qat" and self.weight_only and self.start is not None:
            raise ValueError(f"--start is about activations, which --bits {self.bits} leaves in float")
        if self.method in MIXED and self.bit_widths != parse_bits(_BITS):
            raise ValueError(
                f"--bits {self.bits} is for --method qat; leave it out: the weights of {self.method} get theirs from a "
                "budget, activations from --activation-bits"
            )
        self.check_mixed(self.method)
        return self

    @property
    def bit_widths(self) -> tuple[int, int]:
        """Bits of weights and of activations."""
        return parse_bits(self.bits)

    @property
    def weight_only(self) -> bool:
        """Whether `qat` leaves activations in float."""
        return leaves_activations(self.bits)


def load_learn_recipe(path: Path | None = None, **settings: Any) -> LearnRecipe:
    """A recipe from a YAML file, from keyword settings that override it, or both; None does not count.

    Raises:
        RecipeError: the file cannot be read, or a setting is unknown or out of range.
    """
    return LearnRecipe.resolve(path, settings)
