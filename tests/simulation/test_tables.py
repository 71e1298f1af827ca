"""Scale tables of a model against direct calls of the numerics, site by site."""

from __future__ import annotations

import numpy as np
import pytest

from speechquant.numerics import calibrate, weight_scales
from speechquant.simulation import activation_table, observe, weight_table


@pytest.mark.parametrize(
    ("calibrator", "options"),
    [
        ("max", {}),
        ("percentile", {"percentile": 99.5}),
        ("mse", {"start_bin": 16}),
        ("entropy", {}),
        ("stablequant", {"cutoff": 0.3, "fold": True}),
    ],
)
@pytest.mark.parametrize("bits", [4, 8])
def test_activation_scales(ctc, waves, calibrator, options, bits):
    histograms = observe(ctc, waves, bins=512)
    sites = ctc.sites()[4:24]
    table = activation_table(sites, histograms=histograms, calibrator=calibrator, bits=bits, **options)
    assert [entry.site for entry in table] == [site for site in sites if site.role == "input"]
    for entry in table:
        direct = calibrate(calibrator, histograms[entry.site.name], bits, **options)
        assert entry.scale.dtype == np.float32
        assert entry.scale.shape == ()
        assert entry.scale == np.float32(direct)
        assert (entry.spec.bits, entry.spec.granularity, entry.spec.narrow) == (bits, "tensor", False)


@pytest.mark.parametrize("method", ["max", "mse", "percentile"])
@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_weight_scales(model, method, granularity):
    sites = model.sites()[:16]
    table = weight_table(model, sites, bits=6, method=method, granularity=granularity)
    assert [entry.site for entry in table] == [site for site in sites if site.role == "weight"]
    for entry in table:
        weight = model.operator(entry.site.module).weight.numpy()
        direct = weight_scales(weight, entry.spec, method)
        np.testing.assert_array_equal(entry.scale, direct)
        assert entry.scale.shape == ((len(weight),) if granularity == "channel" else ())
        assert (entry.spec.bits, entry.spec.narrow) == (6, True)


def test_weights_in_groups_use_the_full_range(model):
    sites = model.sites()[:16]
    for entry in weight_table(model, sites, bits=4, granularity="group", group_size=32):
        weight = model.operator(entry.site.module).weight.numpy()
        assert entry.scale.shape == (len(weight), -(-weight[0].size // 32))
        assert (entry.spec.qmin, entry.spec.qmax, entry.spec.group_size) == (-8, 7, 32)


def test_the_percentile_reaches_the_weights(ctc):
    sites = [site for site in ctc.sites()[:16] if site.role == "weight"]
    table = weight_table(ctc, sites, bits=8, method="percentile", percentile=90.0)
    for entry in table:
        weight = np.abs(ctc.operator(entry.site.module).weight.numpy())
        ranges = np.quantile(weight.reshape(len(weight), -1), 0.9, axis=1, method="inverted_cdf")
        np.testing.assert_allclose(entry.scale, ranges / 127, rtol=1e-6)


def test_max_of_a_weight_in_closed_form(ctc):
    for entry in weight_table(ctc, ctc.sites(), bits=8):
        weight = ctc.operator(entry.site.module).weight.numpy()
        maxima = np.abs(weight).reshape(len(weight), -1).max(axis=1)
        np.testing.assert_array_equal(entry.scale, maxima / np.float32(127))


def test_a_weight_scale_does_not_share_memory_with_the_model(ctc):
    for entry in weight_table(ctc, ctc.sites(), bits=8):
        assert not np.shares_memory(entry.scale, ctc.operator(entry.site.module).weight.numpy())
