"""The calibration pass against brute force: hooks of our own, all activations kept, NumPy's histogram."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from speechquant.errors import DataError, ModelError
from speechquant.numerics import Histogram
from speechquant.simulation import count_magnitudes, observe

BINS = 512


def collect(model, waves):
    """Every value that every operator saw, by site name."""
    seen, handles = {}, []
    for name, part in model.module.named_modules():
        if isinstance(part, torch.nn.Conv1d | torch.nn.Linear):

            def hook(_module, inputs, name=name):
                seen.setdefault(f"{name}:input", []).append(inputs[0].numpy().ravel().copy())

            handles.append(part.register_forward_pre_hook(hook))
    with torch.inference_mode():
        for wave in waves:
            model.observe(wave)
    for handle in handles:
        handle.remove()
    return {name: np.concatenate(parts) for name, parts in seen.items()}


def test_equals_numpys_histogram_at_every_site(model, waves):
    found = observe(model, waves, bins=BINS)
    activations = collect(model, waves)
    assert found.keys() == activations.keys() == {s.name for s in model.sites() if s.role == "input"}
    for name, values in activations.items():
        magnitudes, histogram = np.abs(values.astype(np.float64)), found[name]
        assert histogram.maximum == magnitudes.max()
        assert histogram.total == magnitudes.size
        assert 2.0**histogram.exponent >= magnitudes.max() > 2.0 ** (histogram.exponent - 1)
        # NumPy closes bins below, the histogram above: mirrored, they are the same.
        edges = np.linspace(0, 2.0**histogram.exponent, BINS + 1)
        expected = np.histogram(-magnitudes[magnitudes > 0], bins=-edges[::-1])[0][::-1].copy()
        expected[0] += np.count_nonzero(magnitudes == 0)
        np.testing.assert_array_equal(histogram.counts, expected, err_msg=name)


def test_any_order_gives_the_same(model, waves):
    one = observe(model, waves, bins=BINS)
    for order in itertools.islice(itertools.permutations(waves), 5, 24, 9):
        assert observe(model, order, bins=BINS) == one


def test_parts_add_up_to_the_whole(ctc, waves):
    whole = observe(ctc, waves, bins=BINS)
    first, second = observe(ctc, waves[:1], bins=BINS), observe(ctc, waves[1:], bins=BINS)
    assert {name: histogram.merge(second[name]) for name, histogram in first.items()} == whole


def test_no_hooks_are_left(ctc, waves):
    def hooks():
        return sum(len(part._forward_pre_hooks) for part in ctc.module.modules())

    observe(ctc, waves[:1])
    assert hooks() == 0

    def broken():
        yield waves[0]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        observe(ctc, broken())
    assert hooks() == 0


def test_waves_are_counted(ctc, waves):
    told = []
    observe(ctc, iter(waves), on_wave=lambda: told.append(1))
    assert len(told) == len(waves)


def test_no_speech_is_an_error(ctc):
    with pytest.raises(DataError, match="no speech to calibrate with"):
        observe(ctc, [])


@pytest.mark.parametrize("factor", [1e38, np.nan])
def test_activations_that_are_not_finite_are_an_error(ctc, waves, factor):
    first = ctc.operator(ctc.sites()[0].module)
    kept = first.weight.data
    first.weight.data = kept * factor
    try:
        with pytest.raises(ModelError, match="infinite or NaN activations"):
            observe(ctc, waves[:1])
    finally:
        first.weight.data = kept


def test_an_operator_that_no_data_reaches_is_an_error(ctc, waves, monkeypatch):
    monkeypatch.setattr(type(ctc), "observe", lambda self, wave: None)
    with pytest.raises(ModelError, match="saw no data"):
        observe(ctc, waves)


@pytest.mark.parametrize("top", [0.0, 2.0**-120, 2.0**-99, 0.25, 1.0, 1.0000001, 3.7, 2.0**100, 3e38])
def test_counting_in_torch_equals_counting_in_numpy(top):
    rng = np.random.default_rng(3)
    x = (rng.uniform(-1, 1, 5000) * top).astype(np.float32)
    # Exact bin edges, where one rounding would put a value on the wrong side.
    x[:BINS] = np.float32(top) * (np.arange(BINS, dtype=np.float32) / np.float32(BINS))
    x[-1] = -np.float32(top)
    counts, exponent, maximum = count_magnitudes(torch.from_numpy(x.reshape(50, 100)), BINS)
    found = Histogram.empty(BINS).add_counts(counts, exponent, maximum)
    assert found == Histogram.empty(BINS).add(x)
