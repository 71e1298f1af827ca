"""Rows that round by AdaRound: what the shipped recipes have under `+adaround` really is that."""

from __future__ import annotations

import numpy as np
import pytest

import speechquant as sq
from speechquant.jobs.quantization import workbench
from speechquant.numerics import quantize


@pytest.fixture
def made(monkeypatch):
    """Every set of rounded weights of a run, with the model's own."""
    found, plain = [], workbench.round_weights

    def few(model, *arguments, **settings):
        # Few steps of Adam, which a tiny model does not need more of.
        weights = plain(model, *arguments, options={"iterations": 60}, **settings)
        own = {name: tensor.numpy().copy() for name, tensor in model.module.state_dict().items()}
        found.append((weights, own))
        return weights

    monkeypatch.setattr(workbench, "round_weights", few)
    return found


def test_adaround_rows_differ_from_nearest_by_one_level_and_lose_no_output(tiny, tmp_path, made):
    methods = "max,max+adaround,stablequant,stablequant+adaround"
    result = sq.compare(output=tmp_path / "out", recipe="table3", methods=methods, bits="w4a8", **tiny)
    assert not result.failed
    rows = {row.method: row for row in result.rows}
    assert set(rows) == {"float", *methods.split(",")}
    assert len(made) == 2
    for weights, own in made:
        assert weights.method == "adaround"
        moved = 0
        for entry in weights.table:
            if entry.site.role == "weight":
                nearest = quantize(own[f"{entry.site.module}.weight"], entry.scale, entry.spec)
                step = np.abs(weights.integers[entry.site.name].astype(int) - nearest)
                assert step.max() <= 1
                moved += int(step.sum())
                error = weights.errors[entry.site.name]
                assert error.rounded <= error.nearest * (1 + 1e-6)
        assert moved
        # On the whole it is better, not merely no worse.
        errors = weights.errors.values()
        assert sum(e.rounded for e in errors) < 0.95 * sum(e.nearest for e in errors)
    for name in ("max", "stablequant"):
        plain, rounded = rows[name], rows[f"{name}+adaround"]
        assert rounded.found.bytes == plain.found.bytes
        assert rounded.found.signature != plain.found.signature
