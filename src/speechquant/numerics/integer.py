"""Reference integer arithmetic: what every engine and the simulation must reproduce to the last bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from speechquant.errors import ModelError, RecipeError
from speechquant.numerics.calibrators.base import MIN_SCALE

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from speechquant.numerics.spec import QuantSpec

__all__ = ["WeightMethod", "dequantize", "quantize", "weight_scales"]

WeightMethod = Literal["max", "mse", "percentile"]

_MSE_CANDIDATES = 100
_BLOCK_ELEMENTS = 1 << 18
_INT8_BITS = 8


def quantize(x: ArrayLike, scale: ArrayLike, spec: QuantSpec, axis: int = 0) -> NDArray[np.integer]:
    """Integers clip(round(x / scale), qmin, qmax): ONNX QuantizeLinear with zero point 0 (StableQuant eq. 1).

    Division and rounding (half to even) are done in float32.

    Args:
        x: Finite or infinite values of any shape (NaN has no integer: ModelError).
        scale: Shape () or, one per index along `axis`, (channels,).
        spec: Gives qmin and qmax.
        axis: Used with per-channel scales only.

    Returns:
        Shape of x; int8 up to 8 bits, else int16.
    """
    values = np.asarray(x, np.float32)
    levels = np.rint(values / _aligned(scale, values.ndim, axis))
    if np.isnan(levels).any():
        raise ModelError("NaN cannot be quantized; check the model's weights and the input")
    np.clip(levels, spec.qmin, spec.qmax, out=levels)
    integers: NDArray[np.integer] = levels.astype(np.int8 if spec.bits <= _INT8_BITS else np.int16)
    return integers


def dequantize(q: NDArray[np.integer], scale: ArrayLike, axis: int = 0) -> NDArray[np.float32]:
    """The values q * scale in float32: ONNX DequantizeLinear with zero point 0."""
    result: NDArray[np.float32] = q.astype(np.float32) * _aligned(scale, q.ndim, axis)
    return result


def weight_scales(
    w: ArrayLike, spec: QuantSpec, method: WeightMethod = "max", axis: int = 0, percentile: float = 99.9
) -> NDArray[np.float32]:
    """Scales of a weight; channels that are zero throughout get `MIN_SCALE`.

    Args:
        w: Weight; `axis` is the output channel.
        spec: `granularity` says whether one scale or one per output channel is returned.
        method: `max`; `percentile` of |w|; or `mse`, the least squared error among the ranges 1 %, 2 % ...
            100 % of the maximum, measured on the weights themselves.
        axis: Output channel.
        percentile: Percent of the weights of a channel that are kept by `percentile`.

    Returns:
        float32 of shape () or (channels,).

    Raises:
        ModelError: NaN or infinite weights.
        RecipeError: Unknown method or percentile out of range.
    """
    if not 0 < percentile <= 100:  # noqa: PLR2004
        raise RecipeError(f"percentile {percentile} is out of range; choose above 0 and up to 100")
    values = np.asarray(w, np.float32)
    rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    if spec.granularity == "tensor":
        rows = rows.reshape(1, -1)
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
    scales: NDArray[np.float32] = np.maximum(
        ranges.astype(np.float32) / np.float32(spec.qmax), np.float32(MIN_SCALE)
    )
    return scales.reshape(()) if spec.granularity == "tensor" else scales


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
            scale = np.maximum(candidate / np.float32(spec.qmax), np.float32(MIN_SCALE))[:, None]
            wrong = np.clip(np.rint(block / scale), spec.qmin, spec.qmax) * scale - block
            error = np.einsum("ij,ij->i", wrong, wrong, dtype=np.float64)
            better = error < best
            best[better] = error[better]
            ranges[start : start + step][better] = candidate[better]
    return ranges


def _aligned(scale: ArrayLike, ndim: int, axis: int) -> NDArray[np.float32]:
    """The scale in float32, shaped to broadcast along `axis` of an array with `ndim` axes."""
    scales = np.asarray(scale, np.float32)
    if scales.ndim == 0:
        return scales
    shape = [1] * ndim
    shape[axis] = scales.size
    return scales.reshape(shape)
