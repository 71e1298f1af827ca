"""The settings of mixed precision: how small, which weights, how bits are found."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from speechquant.jobs.recipe_checks import known_group, one_of
from speechquant.jobs.shared_recipe import SharedRecipe
from speechquant.numerics import (
    CANDIDATES,
    LEAST_ENTROPY,
    MIN_BITS,
    MOST_ENTROPY,
    Code,
    Granularity,
    WeightMethod,
)

__all__ = ["CRITERIA", "MIXED", "MIXED_ALONE", "MixedRecipe"]

MIXED = ("one-stage", "two-stage", "uniform", "allocate")
"""Methods that make weights small to a budget, and leave activations in float."""

MIXED_ALONE = (
    "code",
    "candidates",
    "rule",
    "activation_bits",
    "unit",
    "weights",
    "weight_granularity",
    "weight_group",
    "second_pass",
)
"""Settings of grids and trainings that the other methods do not have; they refuse them."""

CRITERIA = ("kl", "hessian", "fisher")
"""Criteria that `learn.allocation` registers by itself; its code needs torch."""

_SEARCHES = ("one-stage", "two-stage")
_QUANTIZED_TRAINING = ("qat", *_SEARCHES, "uniform")

_READ_BY = {
    _SEARCHES: ("unit", "search_share", "bit_start", "bit_learning_rate", "gumbel_start", "gumbel_end"),
    ("allocate",): ("criterion",),
    (*_SEARCHES, "allocate"): ("probe_utterances",),
    ("qat",): ("bits",),
    ("qat", *MIXED): ("calibrator", "calibration_utterances", "percentile", "include", "exclude"),
    _QUANTIZED_TRAINING: ("step_sizes", "scale_learning_rate"),
    (*_QUANTIZED_TRAINING, "float"): (
        *("steps", "batch", "learning_rate", "warmup", "weight_decay", "clip", "task_weight", "distillation"),
        *(
            "temperature",
            "spec_augment",
            "precision",
            "maximum_seconds",
            "batch_seconds",
            "gradient_checkpointing",
        ),
        *("evaluate_every", "check_minutes", "patience"),
    ),
}
"""Settings, of `LearnRecipe` too, that only some methods read; given to another one they are vain, but do no harm."""

_EVEN = "even"
_TERNARY = 1.58


def _criterion(*others: str) -> AfterValidator:
    """Accepts names of registered criteria, and others; a ValueError lists the names there are."""

    def check(name: str) -> str:
        if name in others or name in CRITERIA:
            return name
        names = (*others, *_registered_criteria())
        if name not in names:
            raise ValueError(f"choose {one_of(names)}, not {name!r}")
        return name

    return AfterValidator(check)


def _registered_criteria() -> tuple[str, ...]:
    try:
        from speechquant.learn.allocation import criterion_names
    except ImportError:
        # Without torch nobody can have registered another one.
        return CRITERIA
    return (*CRITERIA, *(name for name in criterion_names() if name not in CRITERIA))


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


class MixedRecipe(SharedRecipe):
    """The fields of these methods."""

    average_bits: Annotated[
        float | None, Field(gt=0, description="Budget: bits of the searched weights on average.")
    ] = None
    megabytes: Annotated[
        float | None, Field(gt=0, description="Budget: millions of bytes of the file of weights.")
    ] = None
    ratio: Annotated[
        float | None, Field(gt=1, description="Budget: float32 bytes over those of the file.")
    ] = None
    bit_penalty: Annotated[
        float | None,
        Field(
            gt=0,
            description="Instead of a budget: what a bit on average adds to the loss. The search then begins even, "
            "whatever --bit-start says.",
        ),
    ] = None
    code: Annotated[
        Code,
        Field(
            description="What bits of a matrix are: those that hold an integer, or the entropy of the integers."
        ),
    ] = "fixed"
    candidates: Annotated[
        tuple[Annotated[float, Field(gt=0, le=8)], ...],
        Field(
            min_length=1,
            description="Bits that a matrix may get, by default 2, 3, 4, 6, 8 or, with the entropy code, 1.5 to 6; "
            "1.58 is 2 with the fixed code.",
        ),
    ] = CANDIDATES["fixed"]
    rule: Annotated[
        Literal["paper", "all"],
        Field(description="Search the Linears of the Transformer, other weights 8 bit; or all weights."),
    ] = "paper"
    activation_bits: Annotated[
        int | None,
        Field(
            ge=2,
            le=8,
            description="Bits of activations, such as 8, so that engines multiply integers; by default they are float.",
        ),
    ] = None
    unit: Annotated[
        Literal["matrix", "block"], Field(description="What gets bits of its own, when they are learned.")
    ] = "matrix"
    weights: Annotated[
        WeightMethod,
        Field(
            description="How scales of weights below 8 bits are found at the start.",
            json_schema_extra={"enum": list(get_args(WeightMethod))},
        ),
    ] = "mse"
    weight_granularity: Annotated[
        Granularity,
        Field(
            description="What shares a weight scale, of the weights whose bits are searched.",
            json_schema_extra={"enum": list(get_args(Granularity))},
        ),
    ] = "channel"
    weight_group: Annotated[
        int, AfterValidator(known_group), Field(description="Weights in a group: 16, 32, 64, 128 or 256.")
    ] = 64
    search_share: Annotated[
        float,
        Field(gt=0, le=1, description="Share of the updates in which bits are learned; then they settle."),
    ] = 0.5
    bit_start: Annotated[
        str,
        _criterion(_EVEN),
        Field(
            description="Where this search begins: all matrices alike, or near the best bits by a criterion; even "
            "with --bit-penalty.",
            json_schema_extra={"enum": [_EVEN, *CRITERIA]},
        ),
    ] = "fisher"
    bit_learning_rate: Annotated[
        float, Field(gt=0, description="Peak learning rate of the logits of bits.")
    ] = 0.1
    gumbel_start: Annotated[float, Field(gt=0, description="Temperature of the Gumbel-Softmax at first.")] = (
        1.0
    )
    gumbel_end: Annotated[float, Field(gt=0, description="The same when bits settle.")] = 0.3
    second_pass: Annotated[
        int, Field(ge=0, description="Further updates with frozen bits after one-stage learning.")
    ] = 0
    criterion: Annotated[
        str,
        _criterion(),
        Field(
            description="What `allocate` takes as the cost of few bits.",
            json_schema_extra={"enum": list(CRITERIA)},
        ),
    ] = "kl"
    probe_utterances: Annotated[
        int, Field(ge=1, description="Utterances of the training speech that `allocate` measures on.")
    ] = 8

    @field_validator("candidates")
    @classmethod
    def _ternary_is_two(cls, candidates: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        """One code book has two names; with the entropy code 1.58 bits are what they say."""
        if info.data.get("code") != "fixed":
            return candidates
        return tuple(dict.fromkeys(float(MIN_BITS) if bits == _TERNARY else bits for bits in candidates))

    @property
    def weight_form(self) -> tuple[Granularity, int | None]:
        """What shares a scale, and how many weights do in groups."""
        grouped = self.weight_granularity == "group"
        return self.weight_granularity, self.weight_group if grouped else None

    def vain(self, method: str) -> tuple[str, ...]:
        """What is set to something else than the default and read by nothing, one line each."""
        fields = type(self).model_fields
        found = [
            f"{_flag(name)} does nothing: it is for --method {one_of(methods) if methods[1:] else methods[0]}"
            for methods, names in _READ_BY.items()
            for name in names
            if method not in methods and getattr(self, name) != fields[name].default
        ]
        if self.weight_group != fields["weight_group"].default and self.weight_granularity != "group":
            found.append("--weight-group does nothing: it is for --weight-granularity group")
        return tuple(found)

    def check_mixed(self, method: str) -> None:
        """Refuse settings that contradict each other or the method (ValueError)."""
        given = [
            _flag(name)
            for name in ("average_bits", "megabytes", "ratio", "bit_penalty")
            if getattr(self, name) is not None
        ]
        if method not in MIXED:
            fields = MixedRecipe.model_fields
            given += [_flag(name) for name in MIXED_ALONE if getattr(self, name) != fields[name].default]
            if given:
                raise ValueError(f"{given[0]} belongs to --method {', '.join(MIXED[:-1])} or {MIXED[-1]}")
            return
        if len(given) != 1:
            raise ValueError(
                f"--method {method} takes one budget: --average-bits, --megabytes or --ratio"
                + (f"; there are {' and '.join(given)}" if given else "")
            )
        if self.average_bits is not None and self.average_bits < min(self.candidates):
            raise ValueError(
                f"--average-bits {self.average_bits:g} is not possible; the fewest of --candidates are "
                f"{min(self.candidates):g}"
            )
        if self.bit_penalty is not None and method in {"uniform", "allocate"}:
            raise ValueError(f"--bit-penalty is a part of a loss; give --method {method} a budget")
        if self.activation_bits is not None and self.weight_granularity == "group":
            raise ValueError(
                "--activation-bits takes a weight scale per channel or tensor: no engine sums integers of groups"
            )
        self._check_code()
        if self.second_pass and method != "one-stage":
            raise ValueError("--second-pass goes on after --method one-stage alone")

    def _check_code(self) -> None:
        if self.code == "fixed":
            if any(bits < MIN_BITS or bits != int(bits) for bits in self.candidates):
                raise ValueError(
                    f"--candidates are whole numbers from {MIN_BITS} to 8; fractions are for --code entropy"
                )
            return
        if self.weight_granularity == "group":
            raise ValueError("--code entropy has no scales per group: they are for integers of a fixed width")
        if self.weights != "mse":
            raise ValueError("--weights and --code entropy exclude each other: entropy decides the scales")
        if any(not LEAST_ENTROPY <= bits <= MOST_ENTROPY for bits in self.candidates):
            raise ValueError(
                f"--candidates are {LEAST_ENTROPY:g} to {MOST_ENTROPY:g} bits with --code entropy"
            )
