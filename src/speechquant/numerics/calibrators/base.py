"""What a calibrator is, the register of calibrators, and the two verbs `calibrate` and `calibrate_many`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar, cast

from speechquant.errors import ModelError, RecipeError
from speechquant.numerics.spec import QuantSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from speechquant.numerics.histogram import Histogram

__all__ = [
    "MIN_SCALE",
    "Calibrator",
    "calibrate",
    "calibrate_many",
    "calibrator",
    "calibrator_names",
    "calibrator_options",
    "register",
    "threshold",
]

MIN_SCALE = 2.0**-60
"""No scale is smaller; tensors that are zero throughout get it. The product of two such scales (input times
weight) is still a normal float32, so engines never divide by zero."""

C = TypeVar("C", bound="Calibrator")

_REGISTER: dict[str, type[Calibrator]] = {}


class Calibrator(ABC):
    """A pure function from a histogram to a scale.

    A subclass is a frozen dataclass whose fields are its options. It computes `scale`; it overrides `scales`
    as well where many sites together are cheaper than one after another. `calibrate` does the rest: it
    validates and keeps the scale above `MIN_SCALE`.
    """

    @abstractmethod
    def scale(self, histogram: Histogram, bits: int) -> float:
        """The scale for a histogram with at least one value; `bits` is valid."""

    def scales(self, histograms: Sequence[Histogram], bits: int) -> list[float]:
        """The scale for each histogram."""
        return [self.scale(histogram, bits) for histogram in histograms]


def register(name: str) -> Callable[[type[C]], type[C]]:
    """Class decorator that makes a calibrator known under `name`."""

    def decorate(cls: type[C]) -> type[C]:
        if name in _REGISTER:
            raise ValueError(f"a calibrator named {name!r} exists already")
        _REGISTER[name] = cls
        return cls

    return decorate


def calibrator_names() -> tuple[str, ...]:
    """All registered names, sorted."""
    return tuple(sorted(_REGISTER))


def calibrator_options(name: str) -> tuple[str, ...]:
    """The options of a calibrator, which are the fields of its dataclass (RecipeError: unknown name)."""
    return tuple(field.name for field in fields(cast("Any", _class(name))))


def calibrator(name: str, **options: Any) -> Calibrator:
    """The calibrator registered under `name` with these options (RecipeError: unknown name or option)."""
    chosen = _class(name)
    try:
        return chosen(**options)
    except TypeError as error:
        raise RecipeError(f"calibrator {name!r} does not take these options: {error}") from error


def _class(name: str) -> type[Calibrator]:
    if name not in _REGISTER:
        raise RecipeError(f"unknown calibrator {name!r}; choose one of {', '.join(calibrator_names())}")
    return _REGISTER[name]


def calibrate(name: str, histogram: Histogram, bits: int, **options: Any) -> float:
    """The scale for one histogram.

    Args:
        name: A registered calibrator.
        histogram: Of |x| over the calibration data.
        bits: 2 to 16.
        **options: Fields of the calibrator.

    Returns:
        The step size s in units of x, at least `MIN_SCALE`; the range is s * (2^(bits-1) - 1).

    Raises:
        RecipeError: Unknown calibrator or option, or a value out of range.
        ModelError: The histogram has seen no data.
    """
    return calibrate_many(name, {"tensor": histogram}, bits, **options)["tensor"]


def calibrate_many(
    name: str, histograms: Mapping[str, Histogram], bits: int, **options: Any
) -> dict[str, float]:
    """The scale for each site, as `calibrate` gives it for one; a ModelError names the site."""
    chosen = calibrator(name, **options)
    QuantSpec(bits)
    for site, histogram in histograms.items():
        if not histogram.total:
            raise ModelError(f"{site}: saw no data during calibration; check that the model runs this module")
    scales = chosen.scales(list(histograms.values()), bits)
    return {site: max(float(scale), MIN_SCALE) for site, scale in zip(histograms, scales, strict=True)}


def threshold(name: str, histogram: Histogram, bits: int, **options: Any) -> float:
    """The largest |x| that the scale of `calibrate` can express, s * (2^(bits-1) - 1), for plots."""
    return calibrate(name, histogram, bits, **options) * QuantSpec(bits).qmax
