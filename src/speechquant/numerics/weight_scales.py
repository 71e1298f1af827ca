"""Scales of weights, found from the weights themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from speechquant.errors import ModelError, RecipeError
from speechquant.numerics.calibrators.base import MIN_SCALE

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from speechquant.numerics.spec import QuantSpec

__all__ = ["WeightMethod", "weight_scales"]

WeightMethod = Literal["max", "mse", "percentile"]

_MSE_CANDIDATES = 100
_BLOCK_ELEMENTS = 1 << 18
_HALF = (2.0**-24, 65504.0)


def weight_scales(
    w: ArrayLike, spec: QuantSpec, method: WeightMethod = "max", axis: int = 0, percentile: float = 99.9
) -> NDArray[np.float32]:
    """Scales of a weight; what is zero throughout gets the smallest scale there is.

    Scales of groups are float16 values: there are many of them, and files keep them in 16 bits without loss.

    Args:
        w: Weight; `axis` is the output channel.
        spec: Says what shares a scale.
        method: `max`; `percentile` of |w|; or `mse`, the least squared error among the ranges 1 %, 2 % ...
            100 % of the maximum, measured on the weights themselves.
        axis: Output channel.
        percentile: Percent of the weights that share a scale which are kept by `percentile`.

    Returns:
        float32 of shape (), (channels,) or (channels, groups).

    Raises:
        ModelError: NaN or infinite weights.
        RecipeError: Unknown method or percentile out of range.
    """
    if not 0 < percentile <= 100:  # noqa: PLR2004
        raise RecipeError(f"percentile {percentile} is out of range; choose above 0 and up to 100")
    values = np.asarray(w, np.float32)
    rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    if spec.granularity == "tensor":
        return _of_rows(rows.reshape(1, -1), spec, method, percentile).reshape(())
    if spec.group_size is None:
        return _of_rows(rows, spec, method, percentile)
    whole = rows.shape[1] // spec.group_size * spec.group_size
    parts = (rows[:, :whole].reshape(-1, spec.group_size), rows[:, whole:])
    scales = [_of_rows(p, spec, method, percentile).reshape(len(rows), -1) for p in parts if p.size]
    return np.concatenate(scales, axis=1)


def _of_rows(
    rows: NDArray[np.float32], spec: QuantSpec, method: WeightMethod, percentile: float
) -> NDArray[np.float32]:
    """One scale for each row, shape (rows,)."""
    maxima = np.abs(rows).max(axis=1)
    if not np.isfinite(maxima).all():
        raise ModelError("the weight holds NaN or infinite values; the checkpoint is damaged")
    if method == "max":
        ranges = maxima
    elif method == "percentile":
        ranges = np.percentile(np.abs(rows), percentile, axis=1, method="inverted_cdf")
    elif method == "mse":
        ranges = _least_error(rows, maxima, spec)
    else:
        raise RecipeError(f"unknown weight method {method!r}; choose max, mse or percentile")
    return _scales(ranges.astype(np.float32), spec)


def _scales(ranges: NDArray[np.float32], spec: QuantSpec) -> NDArray[np.float32]:
    """Scales with which the largest integer stands for the range."""
    scales: NDArray[np.float32] = np.maximum(ranges / np.float32(spec.qmax), np.float32(MIN_SCALE))
    if spec.granularity == "group":
        scales = np.clip(scales, *_HALF).astype(np.float16).astype(np.float32)
    return scales


def _least_error(
    rows: NDArray[np.float32], maxima: NDArray[np.float32], spec: QuantSpec
) -> NDArray[np.float32]:
    """The range of least squared error for each row, shape (rows,); the larger range wins a tie."""
    ranges = maxima.copy()
    step = max(1, _BLOCK_ELEMENTS // rows.shape[1])
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        best = np.full(len(block), np.inf)
        for percent in range(_MSE_CANDIDATES, 0, -1):
            candidate = maxima[start : start + step] * np.float32(percent / _MSE_CANDIDATES)
            scale = _scales(candidate, spec)[:, None]
            wrong = np.clip(np.rint(block / scale), spec.qmin, spec.qmax) * scale - block
            error = np.einsum("ij,ij->i", wrong, wrong, dtype=np.float64)
            better = error < best
            best[better] = error[better]
            ranges[start : start + step][better] = candidate[better]
    return ranges
