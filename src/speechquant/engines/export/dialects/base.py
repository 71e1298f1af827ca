"""The interface of a dialect, and the register of those that exist."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from speechquant.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    import onnx_ir as ir

    from speechquant.engines.export.locate import Operator
    from speechquant.numerics import ScaleTable

__all__ = ["Dialect", "Lowered", "dialect", "dialect_names", "register"]


@dataclass(frozen=True, slots=True)
class Lowered:
    """One operator of the written graph.

    `modules` are the operators of the model that it computes (several where they were fused), `node` is the
    name of the node that multiplies, `int8` whether the table asks for 8-bit integers, `weights_4bit` whether the
    weight was written in 4 bits.
    """

    modules: tuple[str, ...]
    node: str
    int8: bool
    weights_4bit: bool = False


class Dialect(ABC):
    """Rewrites the located operators of a float graph into what one engine runs in real integers.

    The result must compute what the simulation computes: `scale * clip(round(x / scale))` on inputs and
    weights, the rest in float.
    """

    name: ClassVar[str]
    transposed: ClassVar[AbstractSet[str]] = frozenset({"QuantizeLinear"})
    """Quantizers of activations behind which transposes move, where integers are cheaper to move."""

    @abstractmethod
    def lower(
        self, graph: ir.Graph, operators: Sequence[Operator], table: ScaleTable | None
    ) -> tuple[Lowered, ...]:
        """Rewrite `graph` in place; without a table everything stays in float."""

    def finish(self, model: ir.Model) -> None:  # noqa: B027 - most engines need nothing
        """Rewrite what has no weights, once constants are folded."""


_DIALECTS: dict[str, type[Dialect]] = {}


def register(cls: type[Dialect]) -> type[Dialect]:
    """Make a dialect available under its name."""
    _DIALECTS[cls.name] = cls
    return cls


def dialect_names() -> tuple[str, ...]:
    """The names that `dialect` knows."""
    return tuple(sorted(_DIALECTS))


def dialect(name: str) -> Dialect:
    """A dialect by name.

    Raises:
        EngineError: there is none of this name.
    """
    if name not in _DIALECTS:
        raise EngineError(f"unknown dialect {name!r}; choose one of {', '.join(dialect_names())}")
    return _DIALECTS[name]()
