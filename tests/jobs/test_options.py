"""What the recipe says reaches calibrators by the names of their fields, also those of a new calibrator."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import pytest
import torch

from speechquant.jobs import Silent
from speechquant.jobs.quantization.workbench import Workbench
from speechquant.jobs.recipe import Recipe, load_recipe
from speechquant.models.random import random_model
from speechquant.numerics import Calibrator, Histogram, calibrator, calibrator_names, register, weight_scales
from speechquant.numerics.calibrators import base

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return random_model("wav2vec2-large-lv60", tmp_path_factory.mktemp("model"), tiny=True)


def bench(model, folder, **settings):
    recipe = load_recipe(model="m", output="o", audio_only="x", **settings)
    return Workbench(model, None, recipe, None, folder, Silent())


@pytest.fixture
def twice_the_max(monkeypatch):
    monkeypatch.setattr(base, "_REGISTER", dict(base._REGISTER))

    @register("wide")
    @dataclass(frozen=True)
    class Wide(Calibrator):
        percentile: float = 1.0
        own: float = 2.0

        def scale(self, histogram, bits):
            return self.own * self.percentile * histogram.maximum


def test_a_new_calibrator_is_a_method_at_once(model, tmp_path, twice_the_max):
    made = bench(model, tmp_path, method="wide", percentile=50)
    sites = [site for site in model.sites() if site.role == "input"]
    histograms = {site.name: Histogram.empty(64).add(np.array([1.0, 3.0])) for site in sites}
    table = made.tables(histograms).activations([sites[0].layer], made.recipe.method, 8)
    assert {float(entry.scale) for entry in table} == {2.0 * 50 * 3.0}
    assert load_recipe(model="m", output="o", audio_only="x", select_with="wide").select_with == "wide"


@pytest.mark.parametrize("name", calibrator_names())
def test_defaults_of_the_recipe_are_those_of_the_calibrator(model, tmp_path, name):
    assert calibrator(name, **bench(model, tmp_path)._options(name)) == calibrator(name)


@pytest.mark.parametrize("name", calibrator_names())
def test_every_setting_of_that_name_arrives(model, tmp_path, name):
    given = {"percentile": 97.0, "start_bin": 9, "fold": True}
    found = calibrator(name, **bench(model, tmp_path, **given)._options(name))
    for field in fields(found):
        if field.name in Recipe.model_fields:
            assert getattr(found, field.name) == given[field.name]


def test_the_percentile_is_that_of_the_weights_too(model, tmp_path):
    site = next(site for site in model.sites() if site.role == "weight")
    made = bench(model, tmp_path, weights="percentile", percentile=80.0)
    entry = made.tables({}).weights([site.layer], 8).entries[site.name]
    weight = model.operator(site.module).weight.numpy()
    np.testing.assert_array_equal(
        entry.scale, weight_scales(weight, entry.spec, "percentile", percentile=80.0)
    )
    assert not np.array_equal(entry.scale, weight_scales(weight, entry.spec, "percentile"))
