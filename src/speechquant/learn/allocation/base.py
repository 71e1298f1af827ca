"""What a sensitivity criterion is, and the register of criteria."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from speechquant.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from speechquant.learn.allocation.candidates import Matrix
    from speechquant.learn.allocation.progress import Advance
    from speechquant.learn.allocation.speech import Speech

__all__ = ["Criterion", "criterion", "criterion_names", "register"]

C = TypeVar("C", bound="Criterion")
_REGISTER: dict[str, type[Criterion]] = {}


class Criterion(ABC):
    """A deterministic estimate of what a matrix costs when it alone is quantized.

    A subclass is a frozen dataclass whose fields are its options. Costs are divergences KL(float || quantized)
    of the output distribution in nats per position, so that costs of matrices may be summed and criteria
    compared.

    Attributes:
        separate: the cost of a matrix does not depend on which others are wanted beside it.
    """

    separate: ClassVar[bool] = False

    @abstractmethod
    def costs(
        self, speech: Speech, matrices: Sequence[Matrix], seed: int, on_step: Advance
    ) -> Iterator[tuple[str, Mapping[float, float]]]:
        """The cost by bits of every matrix, by module; each is yielded as soon as it is known.

        Args:
            speech: the float model on speech.
            matrices: those that are wanted, in the order of the model.
            seed: of what is drawn.
            on_step: hears of what is done, of how much, and what comes next.
        """


def register(name: str) -> Callable[[type[C]], type[C]]:
    """Class decorator that makes a criterion known under `name`."""

    def decorate(cls: type[C]) -> type[C]:
        if name in _REGISTER:
            raise ValueError(f"a criterion named {name!r} exists already")
        _REGISTER[name] = cls
        return cls

    return decorate


def criterion_names() -> tuple[str, ...]:
    """All registered names, sorted."""
    return tuple(sorted(_REGISTER))


def criterion(name: str, **options: Any) -> Criterion:
    """The criterion registered under `name` with these options (RecipeError: unknown name or option)."""
    if name not in _REGISTER:
        raise RecipeError(f"unknown criterion {name!r}; choose one of {', '.join(criterion_names())}")
    try:
        return _REGISTER[name](**options)
    except TypeError as error:
        raise RecipeError(f"criterion {name!r} does not take these options: {error}") from error
