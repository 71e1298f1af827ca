"""A convolution as a matrix product: gather the frames that each output frame sees, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx_ir as ir

    from speechquant.engines.export.builder import Builder

__all__ = ["gather_windows", "window_frames"]


def window_frames(kernel: int, unit: int) -> int:
    """Frames that `gather_windows` puts into a window: `kernel`, rounded up to whole units."""
    return -(-kernel // unit) * unit


def gather_windows(
    b: Builder,
    x: ir.Value,
    *,
    axis: int,
    kernel: int,
    stride: int,
    unit: int,
    channels: int,
    pads: tuple[int, int],
    fill: ir.Value,
) -> ir.Value:
    """The windows of a channel-last tensor, in one copy.

    Args:
        b: Writes the nodes.
        x: (..., time, channels), time unknown.
        axis: Which axis time is, the last but one.
        kernel: Frames in a window.
        stride: Frames between windows, a multiple of `unit`.
        unit: Frames that are copied at once. Longer copies are faster where there are few channels.
        channels: Size of the last axis.
        pads: Frames of `fill` before and after.
        fill: A scalar of the type of `x`.

    Returns:
        (..., windows, window_frames * channels): a window's frames one after another. Where the kernel is no
        multiple of the unit, the frames after it are others' and the weight must have zeros for them.
    """
    rows = window_frames(kernel, unit) // unit
    before, after = pads[0], pads[1] + rows * unit - kernel
    keep = [0] * axis
    if before or after:
        x = b.op("Pad", x, b.ints(*keep, before, 0, *keep, after, 0), fill)
    if unit > 1:
        whole = b.op(
            "Mul", b.op("Div", b.op("Shape", x, start=axis, end=axis + 1), b.ints(unit)), b.ints(unit)
        )
        x = b.op("Slice", x, b.ints(0), whole, b.ints(axis))
        x = b.op("Reshape", x, b.ints(*keep, -1, unit * channels))
    # Windows start at rows 0, step, 2 step ... up to the one whose last row is the last of all.
    end = b.op("Sub", b.op("Shape", x, start=axis, end=axis + 1), b.ints(rows - 1))
    zero, step = b.const(np.int64(0), "int"), b.const(np.int64(stride // unit), "int")
    starts = b.op("Range", zero, b.op("Squeeze", end), step)
    index = b.op("Add", b.op("Unsqueeze", starts, b.ints(1)), b.const(np.arange(rows)[None], "rows"))
    return b.op("Reshape", b.op("Gather", x, index, axis=axis), b.ints(*keep, 0, rows * unit * channels))
