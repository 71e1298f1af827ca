"""Problems with known answers."""

from __future__ import annotations

import numpy as np
import torch

from speechquant.learn.rounding import Problem


def made(inputs=24, outputs=16, rows=200, *, bits=4, rank=6, noise=0.1, drift=0.0, groups=1, seed=0):
    """A problem with correlated inputs, and the rows x, x' that it was made from, in float64."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((groups, rank, inputs))
    x = rng.standard_normal((groups, rows, rank)) @ mixing + noise * rng.standard_normal(
        (groups, rows, inputs)
    )
    seen = x + drift * rng.standard_normal(x.shape)
    weight = rng.standard_normal((groups, outputs, inputs)).astype(np.float32)
    qmax = 2 ** (bits - 1) - 1
    scale = np.repeat(np.abs(weight).max(-1, keepdims=True) / qmax, inputs, -1).astype(np.float32)
    error = weight @ (seen - x).transpose(0, 2, 1)
    coefficients = (
        seen.transpose(0, 2, 1) @ seen / rows,
        error @ seen / rows,
        (error**2).mean(-1),
        ((weight @ x.transpose(0, 2, 1)) ** 2).mean(-1),
    )
    gram, moved, offset, energy = (torch.tensor(part, dtype=torch.float32) for part in coefficients)
    problem = Problem(torch.tensor(weight), torch.tensor(scale), -qmax, qmax, gram, moved, offset, energy)
    return problem, x, seen


def direct_error(problem, x, seen, integers):
    """The error of the definition, row by row, (groups, outputs)."""
    rounded = integers.double().numpy() * problem.scale.double().numpy()
    off = seen @ rounded.transpose(0, 2, 1) - x @ problem.weight.double().numpy().transpose(0, 2, 1)
    return (off**2).mean(1)
