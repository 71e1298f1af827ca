"""The matrices of a model, and each of them quantized to every number of bits that may be chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

from speechquant.errors import RecipeError
from speechquant.learn.allocation.progress import silent
from speechquant.numerics import (
    CANDIDATES,
    Entry,
    QuantSpec,
    ScaleTable,
    dequantize,
    entropy_grids,
    quantize,
    smallest,
    weight_scales,
)
from speechquant.simulation import weight_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from speechquant.learn.allocation.progress import Advance
    from speechquant.models import SpeechModel
    from speechquant.numerics import Code, Granularity, Site, WeightMethod

__all__ = [
    "OTHER_BITS",
    "Candidates",
    "Matrix",
    "Rule",
    "bits_of",
    "candidates_of",
    "is_searched",
]

Rule = Literal["paper", "all"]

OTHER_BITS = 8
_EXACT_ENOUGH = 8
_TINY = 1e-6
_BLOCKS = ("transformer.", "encoder.", "decoder.")


@dataclass(frozen=True, eq=False)
class Matrix:
    """A weight whose bits are searched: the float values, and its entry of a scale table by bits.

    Bits are what a weight takes by the code: those that hold an integer, or those of the entropy of the integers. The
    spec of an entry always has the bits that hold them.
    """

    site: Site
    weight: NDArray[np.float32]
    entries: Mapping[float, Entry]

    def quantized(self, bits: float) -> torch.Tensor:
        """The weight on its grid of so many bits."""
        entry = self.entries[bits]
        integers = quantize(self.weight, entry.scale, entry.spec)
        return torch.from_numpy(dequantize(integers, entry.scale, group_size=entry.spec.group_size))

    @cached_property
    def bytes(self) -> dict[float, int]:
        """What the file of weights stores for it by bits: integers, entropy coded where that is less, and scales."""
        return {bits: _stored(self.weight, entry) for bits, entry in self.entries.items()}


@dataclass(frozen=True, eq=False)
class Candidates:
    """The matrices that are searched, in the order of the model, and the table of all other weights."""

    matrices: tuple[Matrix, ...]
    others: ScaleTable
    rule: Rule

    def table(self, bits: Mapping[str, float]) -> ScaleTable:
        """The scale table of a choice, which gives bits by module."""
        chosen = {m.site.name: m.entries[bits[m.site.module]] for m in self.matrices}
        return ScaleTable({**self.others.entries, **chosen})


def is_searched(operator: nn.Module, layer: str, rule: Rule) -> bool:
    """Whether the bits of an operator's weight are searched.

    `paper` searches the Linears of the Transformer blocks and gives all other weights 8 bits, which is what the
    ratio published in arXiv 2501.03643 fits; `all` searches every weight.
    """
    return rule == "all" or (isinstance(operator, nn.Linear) and layer.startswith(_BLOCKS))


def candidates_of(
    model: SpeechModel,
    *,
    rule: Rule = "paper",
    bits: Sequence[float] | None = None,
    code: Code = "fixed",
    granularity: Granularity = "channel",
    group_size: int | None = None,
    method: WeightMethod = "mse",
    percentile: float = 99.9,
    on_step: Advance = silent,
) -> Candidates:
    """Quantize every weight to all candidate bits.

    With the `fixed` code, on {0, +-1 ... +-(2^(bits-1) - 1)} times its scales, which are those of `method` below 8
    bits (with `percentile`, if it is that), of the maximum at 8. Two bits are the ternary code, whose information is
    log2(3) = 1.58 bits: there is no other candidate of that name, and what the file stores of it after entropy coding
    is what counts in bytes.

    With the `entropy` code, on the grid at which its integers have so many bits of entropy (`entropy_grids`), so that
    the file stores about so many; `method` does not count. Bits may be fractions.

    `bits` are by default those of `CANDIDATES`.

    Raises:
        RecipeError: there are no bits to choose from, or no matrices to choose them for.
    """
    wanted = sorted({_plain(width) for width in (CANDIDATES[code] if bits is None else bits)})
    if not wanted:
        raise RecipeError("there are no bits to choose from; give two widths or more")
    sites = [site for site in model.sites() if site.role == "weight"]
    searched = [s for s in sites if is_searched(model.operator(s.module), s.layer, rule)]
    if not searched:
        raise RecipeError(f"the rule {rule!r} searches none of the layers {', '.join(model.layers())}")
    matrices = []
    for done, site in enumerate(searched):
        on_step(done, len(searched), site.module)
        weight = model.operator(site.module).get_parameter("weight").detach().cpu().numpy()
        if code == "entropy":
            grids = entropy_grids(weight, wanted, granularity)
        else:
            grids = {
                width: _grid(weight, width, granularity, group_size, method=method, percentile=percentile)
                for width in wanted
            }
        matrices.append(Matrix(site, weight, {width: Entry(site, *grid) for width, grid in grids.items()}))
    rest = [site for site in sites if site not in searched]
    return Candidates(tuple(matrices), weight_table(model, rest, bits=OTHER_BITS), rule)


def bits_of(width: float, weights: int) -> int:
    """Bits that so many weights take: whole ones, so that sums of matrices never exceed those of the average."""
    return math.floor(width * weights + _TINY)


def _plain(bits: float) -> float:
    """Whole numbers as int, so that they are written and looked up in one way."""
    return int(bits) if bits == int(bits) else bits


def _grid(
    weight: NDArray[np.float32],
    bits: float,
    granularity: Granularity,
    group_size: int | None,
    *,
    method: WeightMethod,
    percentile: float,
) -> tuple[QuantSpec, NDArray[np.float32]]:
    if bits != int(bits):
        raise RecipeError(f"{bits:g} bits cannot hold an integer; fractions are for the entropy code")
    spec = QuantSpec(int(bits), granularity, narrow=True, group_size=group_size)
    return spec, weight_scales(weight, spec, method if bits < _EXACT_ENOUGH else "max", percentile=percentile)


def _stored(weight: NDArray[np.float32], entry: Entry) -> int:
    data, _ = smallest(quantize(weight, entry.scale, entry.spec), entry.spec.bits)
    # Scales of groups are float16 values.
    return data.size + entry.scale.size * (4 if entry.spec.group_size is None else 2)
