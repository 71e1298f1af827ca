"""One pass over calibration speech: a histogram of |x| for every activation site."""

from __future__ import annotations

import math
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch

from speechquant.errors import DataError, ModelError
from speechquant.numerics import DEFAULT_BINS, Histogram, range_exponent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from speechquant.models import SpeechModel

__all__ = ["count_magnitudes", "observe"]

Counts = tuple["NDArray[np.int64]", int, float]


def count_magnitudes(x: torch.Tensor, bins: int) -> Counts:
    """Counts of |x| in `bins` equal bins over [0, 2^exponent], with the exponent and the exact maximum.

    Bin j holds j < |x| * bins / 2^exponent <= j + 1, as in `Histogram`. Scaling by a power of two does not
    round, so the index is exact in float32. Counting happens on the tensor's own device.
    """
    magnitudes = x.detach().abs().flatten()
    maximum = float(magnitudes.max())
    if not math.isfinite(maximum):
        raise ModelError("the model produced infinite or NaN activations; check its weights and the audio")
    exponent = range_exponent(maximum)
    index = (magnitudes * (bins * 2.0**-exponent)).ceil_().to(torch.int64).sub_(1).clamp_(min=0)
    return torch.bincount(index, minlength=bins).cpu().numpy(), exponent, maximum


def observe(
    model: SpeechModel,
    waves: Iterable[NDArray[np.float32]],
    *,
    bins: int = DEFAULT_BINS,
    on_wave: Callable[[], None] = lambda: None,
) -> dict[str, Histogram]:
    """Run the float model over `waves` once and return one histogram per input site, by site name.

    Raises:
        DataError: `waves` is empty.
        ModelError: an operator never saw data, or activations are not finite.
    """
    histograms = {site.name: Histogram.empty(bins) for site in model.sites() if site.role == "input"}
    empty = True
    with _observers(model, histograms, bins), torch.inference_mode():
        for wave in waves:
            model.observe(wave)
            on_wave()
            empty = False
    if empty:
        raise DataError("there is no speech to calibrate with; give some audio")
    for name, histogram in histograms.items():
        if histogram.total == 0:
            raise ModelError(f"{name} saw no data during calibration; its model family adapter is wrong")
    return histograms


@contextmanager
def _observers(model: SpeechModel, histograms: dict[str, Histogram], bins: int) -> Iterator[None]:
    # Query, key and value projections read the very same tensor one after the other: count it once.
    last: list[Any] = [None, None]

    def counts_of(x: torch.Tensor) -> Counts:
        if last[0] is not x:
            last[:] = [x, count_magnitudes(x, bins)]
        counts: Counts = last[1]
        return counts

    with ExitStack() as stack:
        for site in model.sites():
            if site.role != "input":
                continue

            def hook(_module: torch.nn.Module, inputs: tuple[Any, ...], name: str = site.name) -> None:
                histograms[name].add_counts(*counts_of(inputs[0]))

            stack.callback(model.operator(site.module).register_forward_pre_hook(hook).remove)
        yield
