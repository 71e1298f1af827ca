"""What a rounding method is, and the register of rounding methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from speechquant.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from speechquant.learn.rounding.problem import Problem

__all__ = ["Rounding", "register", "rounding_method", "rounding_names"]

R = TypeVar("R", bound="Rounding")

_REGISTER: dict[str, type[Rounding]] = {}


class Rounding(ABC):
    """A deterministic function from the problem of one operator to integers.

    A subclass is a frozen dataclass whose fields are its options; it computes `integers`. `solve` keeps the
    result on the grid.
    """

    needs_speech: ClassVar[bool] = True
    """Whether the answer depends on anything but the weights and their scales."""

    @abstractmethod
    def integers(self, problem: Problem) -> torch.Tensor:
        """Whole numbers as float32, (groups, outputs, inputs)."""

    def solve(self, problem: Problem) -> torch.Tensor:
        """What `integers` finds, checked to be whole numbers from qmin to qmax."""
        found = self.integers(problem)
        if found.shape != problem.weight.shape:
            raise ValueError(f"{type(self).__name__} returned shape {tuple(found.shape)}")
        if not bool(((found == found.round()) & (found >= problem.qmin) & (found <= problem.qmax)).all()):
            raise ValueError(f"{type(self).__name__} left the grid")
        return found


def register(name: str) -> Callable[[type[R]], type[R]]:
    """Class decorator that makes a rounding method known under `name`."""

    def decorate(cls: type[R]) -> type[R]:
        if name in _REGISTER:
            raise ValueError(f"a rounding method named {name!r} exists already")
        _REGISTER[name] = cls
        return cls

    return decorate


def rounding_names() -> tuple[str, ...]:
    """All registered names, sorted."""
    return tuple(sorted(_REGISTER))


def rounding_method(name: str, **options: Any) -> Rounding:
    """The method registered under `name` with these options (RecipeError: unknown name or option)."""
    if name not in _REGISTER:
        raise RecipeError(f"unknown rounding {name!r}; choose one of {', '.join(rounding_names())}")
    try:
        return _REGISTER[name](**options)
    except TypeError as error:
        raise RecipeError(f"rounding {name!r} does not take these options: {error}") from error
