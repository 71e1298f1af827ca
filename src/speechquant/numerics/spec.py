"""Words for *how* a tensor is quantized."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from speechquant.errors import RecipeError

__all__ = ["MAX_BITS", "MIN_BITS", "Granularity", "QuantSpec", "Role", "Site"]

MIN_BITS = 2
MAX_BITS = 16

Role = Literal["input", "weight"]
Granularity = Literal["tensor", "channel", "group"]


@dataclass(frozen=True, slots=True, order=True)
class Site:
    """One tensor that is quantized: the input activation or the weight of one Conv1d or Linear.

    `module` is the dotted path of the operator in the model, `layer` the unit StableQuant selects
    (`conv.0`, `transformer.3`, `encoder.2`, `head`, ...).
    """

    module: str
    role: Role
    layer: str

    @property
    def name(self) -> str:
        """`encoder.layers.3.attention.q_proj:input`."""
        return f"{self.module}:{self.role}"


@dataclass(frozen=True, slots=True)
class QuantSpec:
    """Symmetric uniform quantization to signed integers with zero point 0 (StableQuant eq. 1 with z = 0).

    The scale is range / (2^(bits-1) - 1). Weights use the narrow range +-(2^(bits-1) - 1). Only where `quantize` puts
    them in groups they have the full one: no integer kernel multiplies those, and one level more is worth having.
    `learn` keeps the narrow range in groups too, which makes 2 bits the ternary code. Activations use the full
    two's complement range, that is one step more on the negative side: every int8 engine saturates there, and
    the simulation must agree with the engines to the last bit (the paper leaves the clamp open).

    `granularity` says what shares a scale: the whole tensor, an output channel, or a group of `group_size`
    consecutive weights of an output channel, whose weights are taken in C order: those of a Linear along its
    inputs, those of a Conv1d along (in_channels / groups, kernel), the kernel varying fastest. The last group
    of a channel may be shorter.
    """

    bits: int
    granularity: Granularity = "tensor"
    narrow: bool = False
    group_size: int | None = None

    def __post_init__(self) -> None:
        if not MIN_BITS <= self.bits <= MAX_BITS:
            raise RecipeError(f"{self.bits} bits are out of range; choose {MIN_BITS} to {MAX_BITS}")
        if (self.granularity == "group") != (self.group_size is not None):
            raise RecipeError("a group size belongs to scales per group, and to no others")
        if self.group_size is not None and self.group_size < 1:
            raise RecipeError(f"groups of {self.group_size} weights are not possible; choose 1 or more")

    @property
    def qmax(self) -> int:
        """Largest integer, 127 for 8 bits."""
        return int(2 ** (self.bits - 1)) - 1

    @property
    def qmin(self) -> int:
        """Smallest integer, -127 (narrow) or -128 for 8 bits."""
        return -self.qmax if self.narrow else -self.qmax - 1
