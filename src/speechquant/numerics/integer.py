"""Reference integer arithmetic: what every engine and the simulation must reproduce to the last bit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from speechquant.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from speechquant.numerics.spec import QuantSpec

__all__ = ["dequantize", "quantize"]

_INT8_BITS = 8


def quantize(x: ArrayLike, scale: ArrayLike, spec: QuantSpec, axis: int = 0) -> NDArray[np.integer]:
    """Integers clip(round(x / scale), qmin, qmax): ONNX QuantizeLinear with zero point 0 (StableQuant eq. 1).

    Division and rounding (half to even) are done in float32.

    Args:
        x: Finite or infinite values of any shape (NaN has no integer: ModelError).
        scale: Shape (); (channels,), one per index along `axis`; or (channels, groups) for a spec in groups.
        spec: Gives qmin, qmax and the size of groups.
        axis: The output channels; not used with one scale in all.

    Returns:
        Shape of x; int8 up to 8 bits, else int16.
    """
    values = np.asarray(x, np.float32)
    levels = np.rint(values / _aligned(scale, values.shape, axis, spec.group_size))
    if np.isnan(levels).any():
        raise ModelError("NaN cannot be quantized; check the model's weights and the input")
    np.clip(levels, spec.qmin, spec.qmax, out=levels)
    integers: NDArray[np.integer] = levels.astype(np.int8 if spec.bits <= _INT8_BITS else np.int16)
    return integers


def dequantize(
    q: NDArray[np.integer], scale: ArrayLike, axis: int = 0, group_size: int | None = None
) -> NDArray[np.float32]:
    """The values q * scale in float32: ONNX DequantizeLinear with zero point 0; `scale` as in `quantize`."""
    result: NDArray[np.float32] = q.astype(np.float32) * _aligned(scale, q.shape, axis, group_size)
    return result


def _aligned(
    scale: ArrayLike, shape: Sequence[int], axis: int, group_size: int | None
) -> NDArray[np.float32]:
    """The scale in float32, shaped to broadcast against an array of `shape`."""
    scales = np.asarray(scale, np.float32)
    if scales.ndim == 0:
        return scales
    others = [size for place, size in enumerate(shape) if place != axis % len(shape)]
    if group_size is None:
        return np.moveaxis(scales.reshape(-1, *(1 for _ in others)), 0, axis)
    if scales.shape != (shape[axis], -(-math.prod(others) // group_size)):
        raise ValueError(
            f"scales {scales.shape} do not fit groups of {group_size} in a weight {tuple(shape)}"
        )
    inputs = math.prod(others)
    each = np.repeat(scales, min(group_size, inputs), axis=1)[:, :inputs]
    return np.moveaxis(each.reshape(-1, *others), 0, axis)
