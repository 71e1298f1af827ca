"""What is to happen to each operator: its part of the scale table, as arrays ready to be written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from speechquant.errors import EngineError
from speechquant.numerics import dequantize, quantize

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from speechquant.engines.export.locate import Operator
    from speechquant.numerics import Entry, ScaleTable

__all__ = ["Activation", "Job", "fuse", "plan"]

_INT8_BITS = 8
_INT4_BITS = 4
_BLOCKS = (16, 32, 64, 128, 256)
"""Sizes of blocks that engines know."""


@dataclass(frozen=True, slots=True)
class Activation:
    """How an input is quantized: step size and the range of its integers, one for the whole tensor."""

    scale: float
    bits: int
    qmin: int
    qmax: int

    @property
    def int8(self) -> bool:
        """Whether the integers fit 8 bits."""
        return self.bits <= _INT8_BITS


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One operator and what the table says about it.

    `values` is the weight in PyTorch's layout: int8 integers with one float32 `scale` per output channel, or
    float32 where `scale` is None (not quantized, or with more than 8 bits and then rounded to its grid). With a
    `group_size`, scales are (out, groups), and `bits` says whether the integers fit 4 bits or need 8; so are weights
    of at most 4 bits under float activations, whatever shared their scales.
    """

    operator: Operator
    activation: Activation | None
    values: NDArray[Any]
    scale: NDArray[np.float32] | None
    group_size: int | None = None
    bits: int = _INT8_BITS

    @property
    def integer(self) -> bool:
        """Whether the product is one of integers of at most 8 bits, which scales within a channel rule out."""
        whole = self.scale is not None and self.group_size is None
        return self.activation is not None and self.activation.int8 and whole

    @property
    def weights_4bit(self) -> bool:
        """Whether the weight is to be stored in 4 bits."""
        return self.group_size is not None and self.bits == _INT4_BITS


def plan(operator: Operator, table: ScaleTable | None, *, groups: bool = True) -> Job:
    """Look an operator up in the table; a tied weight follows the entry of any of its owners.

    Args:
        operator: One of the graph.
        table: Scales; None leaves everything in float.
        groups: Whether the dialect can write weights in groups; else they are rounded to their grid in float.

    Raises:
        EngineError: the table has several scales for one activation.
    """
    tensor = operator.weight.const_value
    assert tensor is not None
    values = np.asarray(tensor.numpy(), np.float32)
    activation = _activation(operator, table)
    entry = _weight_entry(operator.modules, table)
    if entry is None:
        return Job(operator, activation, values, None)
    size, bits = entry.spec.group_size, entry.spec.bits
    integers = quantize(values, entry.scale, entry.spec, axis=0)
    if bits > _INT8_BITS or (size is not None and not groups):
        return Job(operator, activation, dequantize(integers, entry.scale, axis=0, group_size=size), None)
    if size is not None:
        container = _INT4_BITS if bits <= _INT4_BITS else _INT8_BITS
        return Job(operator, activation, integers.astype(np.int8), entry.scale, size, container)
    scale = np.broadcast_to(entry.scale.astype(np.float32), values.shape[:1]).copy()
    if groups and bits <= _INT4_BITS and not _reads_integers(operator.modules, table):
        size = _block(values[0].size)
        blocks = np.repeat(scale[:, None], -(-values[0].size // size), axis=1)
        return Job(operator, activation, integers.astype(np.int8), blocks, size, _INT4_BITS)
    return Job(operator, activation, integers.astype(np.int8), scale)


def _reads_integers(modules: Sequence[str], table: ScaleTable | None) -> bool:
    """Whether an owner of a weight has an input on a grid, so that the weight may be a factor of integers."""
    return table is not None and any(table.get(f"{path}:input") is not None for path in modules)


def _block(count: int) -> int:
    """The blocks in which `count` weights of 4 bits take the fewest bytes, each with the same scale in float32."""
    return min(_BLOCKS, key=lambda size: -(-count // size) * (size // 2 + 4))


def fuse(jobs: Iterable[Job], alone: AbstractSet[int]) -> list[list[Job]]:
    """Put Linears together that read one value in one way, so that an engine quantizes and multiplies once.

    Args:
        jobs: In the order of the graph.
        alone: `id` of weight values that must keep a matrix of their own.

    Returns:
        Groups in the order of their first members; everything else is a group of one.
    """
    groups: dict[tuple[object, ...], list[Job]] = {}
    for index, job in enumerate(jobs):
        operator = job.operator
        key: tuple[object, ...] = (index,)
        if operator.kind == "linear" and id(operator.weight) not in alone:
            form = (job.scale is None, job.group_size, job.bits)
            key = (id(operator.input), job.activation, form, operator.bias is None)
        groups.setdefault(key, []).append(job)
    return list(groups.values())


def _activation(operator: Operator, table: ScaleTable | None) -> Activation | None:
    entry = (
        table.get(f"{operator.module}:input") if table is not None and operator.kind != "embedding" else None
    )
    if entry is None:
        return None
    if entry.scale.size != 1:
        raise EngineError(
            f"{entry.site.name} has {entry.scale.size} scales; this engine takes one scale per activation"
        )
    return Activation(float(entry.scale.reshape(())), entry.spec.bits, entry.spec.qmin, entry.spec.qmax)


def _weight_entry(modules: Sequence[str], table: ScaleTable | None) -> Entry | None:
    if table is None:
        return None
    return next((entry for path in modules if (entry := table.get(f"{path}:weight")) is not None), None)
