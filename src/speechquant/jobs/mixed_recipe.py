"""The settings of mixed precision: how small, which weights, how bits are found."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

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

__all__ = ["MIXED", "MixedRecipe"]

MIXED = ("one-stage", "two-stage", "uniform", "allocate")
"""Methods that make weights small to a budget, and leave activations in float."""


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
        float | None, Field(gt=0, description="Instead of a budget: what a bit on average adds to the loss.")
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
            description="Bits that a matrix may get, by default 2, 3, 4, 6, 8 or, with the entropy code, 1.5 to 6.",
        ),
    ] = CANDIDATES["fixed"]
    rule: Annotated[
        Literal["paper", "all"],
        Field(description="Search the Linears of the Transformer, other weights 8 bit; or all weights."),
    ] = "paper"
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
            description="What shares a weight scale.", json_schema_extra={"enum": list(get_args(Granularity))}
        ),
    ] = "channel"
    weight_group: Annotated[int, Field(ge=2, description="Weights in a group, such as 64 or 128.")] = 64
    search_share: Annotated[
        float,
        Field(gt=0, le=1, description="Share of the updates in which bits are learned; then they settle."),
    ] = 0.5
    bit_start: Annotated[
        Literal["even", "kl", "hessian", "fisher"],
        Field(
            description="Where this search begins: all matrices alike, or near the best bits by a criterion."
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
        Literal["kl", "hessian", "fisher"],
        Field(description="What `allocate` takes as the cost of few bits."),
    ] = "kl"
    probe_utterances: Annotated[
        int, Field(ge=1, description="Utterances of the training speech that `allocate` measures on.")
    ] = 8

    @property
    def weight_form(self) -> tuple[Granularity, int | None]:
        """What shares a scale, and how many weights do in groups."""
        grouped = self.weight_granularity == "group"
        return self.weight_granularity, self.weight_group if grouped else None

    def check_mixed(self, method: str) -> None:
        """Refuse budgets that contradict each other or the method (ValueError)."""
        given = [
            f"--{name.replace('_', '-')}"
            for name in ("average_bits", "megabytes", "ratio", "bit_penalty")
            if getattr(self, name) is not None
        ]
        if method not in MIXED:
            if given:
                raise ValueError(f"{given[0]} belongs to --method {', '.join(MIXED[:-1])} or {MIXED[-1]}")
            if self.code != "fixed":
                raise ValueError(f"--code belongs to --method {', '.join(MIXED[:-1])} or {MIXED[-1]}")
            return
        if len(given) != 1:
            raise ValueError(
                f"--method {method} takes one budget: --average-bits, --megabytes or --ratio"
                + (f"; there are {' and '.join(given)}" if given else "")
            )
        if self.bit_penalty is not None and method in {"uniform", "allocate"}:
            raise ValueError(f"--bit-penalty is a part of a loss; give --method {method} a budget")
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
