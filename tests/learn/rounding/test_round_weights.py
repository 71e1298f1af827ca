"""All weights of a model: on the grid, in order, resumable, and recovered by everything downstream."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from speechquant.errors import DataError, ModelError, RecipeError, StorageError
from speechquant.learn import Rounding, round_weights, rounded, rounding_method, rounding_names
from speechquant.learn.rounding import collect as collecting
from speechquant.learn.rounding import run, shortcuts
from speechquant.learn.rounding.base import register
from speechquant.numerics import QuantSpec, ScaleTable, dequantize, quantize
from speechquant.simulation import quantized, weight_table

FAST = {"adaround": {"iterations": 10}, "gptq": {}, "nearest": {}}


def weight(model, entry):
    return model.operator(entry.site.module).weight.detach().numpy()


def weights_of(table):
    return [entry for entry in table if entry.site.role == "weight"]


@given(
    bits=st.integers(2, 16),
    scale=st.floats(2.0**-60, 2.0**60, width=32),
    data=st.data(),
)
def test_values_on_the_grid_give_their_integers_back(bits, scale, data):
    spec = QuantSpec(bits, narrow=True)
    integers = np.array(data.draw(st.lists(st.integers(spec.qmin, spec.qmax), min_size=1)), np.int16)
    again = quantize(dequantize(integers, np.float32(scale)), np.float32(scale), spec)
    np.testing.assert_array_equal(again, integers)


@pytest.mark.parametrize("bits", range(2, 9))
def test_every_integer_of_a_grid_comes_back_in_numpy_and_torch(bits):
    spec = QuantSpec(bits, "channel", narrow=True)
    scales = np.random.default_rng(bits).lognormal(-5, 3, 20_000).astype(np.float32)
    integers = np.tile(np.arange(spec.qmin, spec.qmax + 1, dtype=np.int8), (len(scales), 1))
    values = dequantize(integers, scales)
    np.testing.assert_array_equal(quantize(values, scales, spec), integers)
    levels = torch.round(torch.from_numpy(values) / torch.from_numpy(scales)[:, None])
    np.testing.assert_array_equal(levels.numpy(), integers)


def test_the_methods_are_registered():
    assert rounding_names() == ("adaround", "gptq", "nearest")
    with pytest.raises(RecipeError, match="choose one of adaround, gptq, nearest"):
        rounding_method("best")
    with pytest.raises(RecipeError, match="gptq"):
        rounding_method("gptq", iterations=3)
    with pytest.raises(ValueError, match="exists already"):
        register("gptq")(rounding_method("gptq").__class__)


def test_a_method_that_leaves_the_grid_is_found_out(ctc, table_of):
    class Wild(Rounding):
        def integers(self, problem):
            return problem.nearest() + 0.5

    entry = weights_of(table_of(ctc))[0]
    problem = collecting.bare_problem(ctc, entry)
    with pytest.raises(ValueError, match="grid"):
        Wild().solve(problem)


@pytest.mark.parametrize("bits", [2, 8])
def test_nearest_is_what_everything_else_does(model, table_of, bits):
    table = table_of(model, bits=bits, inputs=None)
    found = round_weights(model, table, [], method="nearest")
    for entry in table:
        integers = quantize(weight(model, entry), entry.scale, entry.spec)
        np.testing.assert_array_equal(found.integers[entry.site.name], integers)
        assert found.integers[entry.site.name].dtype == np.int8
    assert not found.errors


@pytest.mark.parametrize("method", ["adaround", "gptq"])
def test_simulation_recovers_the_integers(model, waves, table_of, method):
    table = table_of(model, bits=3)
    floats = {e.site.name: weight(model, e).copy() for e in weights_of(table)}
    found = round_weights(model, table, waves, method=method, options=FAST[method])
    plain = round_weights(model, table, [], method="nearest")
    assert found.integers.keys() == floats.keys()
    assert any((found.integers[name] != plain.integers[name]).any() for name in floats)
    with rounded(model, found), quantized(model, table):
        for entry in weights_of(table):
            integers = found.integers[entry.site.name]
            assert np.abs(integers).max() <= entry.spec.qmax
            np.testing.assert_array_equal(weight(model, entry), dequantize(integers, entry.scale))
    for entry in weights_of(table):
        np.testing.assert_array_equal(weight(model, entry), floats[entry.site.name])
    assert found.signature != plain.signature
    errors = found.errors.values()
    assert sum(e.rounded for e in errors) < sum(e.nearest for e in errors)


def test_scales_of_any_granularity(ctc, waves):
    sites = [site for site in ctc.sites() if site.layer in {"input", "pos_conv", "lm_head"}]
    one = weight_table(ctc, sites, bits=4, granularity="tensor")
    found = round_weights(ctc, one, waves, method="gptq")
    for entry in one:
        assert entry.scale.ndim == 0
        np.testing.assert_array_equal(
            quantize(found.values(entry.site.name), entry.scale, entry.spec), found.integers[entry.site.name]
        )


def test_more_than_8_bits(ctc, waves):
    table = weight_table(ctc, ctc.sites()[:2], bits=12)
    (integers,) = round_weights(ctc, table, waves[:1], method="gptq").integers.values()
    assert integers.dtype == np.int16
    assert np.abs(integers).max() == 2047


def test_errors_are_those_of_the_layers_in_place(ctc, waves, table_of):
    """The error that is reported, measured on the quantized network by hooks."""
    table = table_of(ctc)
    found = round_weights(ctc, table, waves, method="gptq", rows=10**9)
    name = "hubert.encoder.layers.1.feed_forward.intermediate_dense"
    ideal, actual = record(ctc, name, waves), []
    with rounded(ctc, found), quantized(ctc, table):
        actual = record(ctc, name, waves)
    expected = ((actual - ideal) ** 2).sum() / ((ideal - ctc.operator(name).bias) ** 2).sum()
    assert found.errors[f"{name}:weight"].rounded == pytest.approx(float(expected), rel=1e-3)


def record(model, name, waves):
    outputs = []
    hook = model.operator(name).register_forward_hook(lambda _m, _i, out: outputs.append(out[0]))
    try:
        for wave in waves:
            model.observe(wave)
    finally:
        hook.remove()
    return torch.cat(outputs).clone()


def test_a_grouped_convolution_is_its_groups(ctc, waves, table_of, monkeypatch):
    """In portions of one group each, the same integers as all groups at once."""
    table = ScaleTable({n: e for n, e in table_of(ctc).entries.items() if e.site.layer == "pos_conv"})
    (name,) = (e.site.name for e in weights_of(table))
    whole = round_weights(ctc, table, waves, method="gptq")
    monkeypatch.setattr(collecting, "_GRAM_BYTES", 1)
    parts = list(
        collecting.parts(
            ctc,
            next(s for s in run.stages(ctc, table, run.passages(ctc, waves[:1])[0]) if s.windows.groups > 1),
        )
    )
    assert parts == [range(i, i + 1) for i in range(4)]
    split = round_weights(ctc, table, waves, method="gptq")
    assert np.mean(whole.integers[name] != split.integers[name]) < 0.001


def test_the_embedding_moves_with_the_head(moonshine, waves, table_of):
    table = table_of(moonshine)
    found = round_weights(moonshine, table, waves, method="gptq")
    embedding = moonshine.module.get_input_embeddings()
    with rounded(moonshine, found):
        np.testing.assert_array_equal(embedding.weight.numpy(), found.values("proj_out:weight"))


def test_an_interrupted_run_goes_on_to_the_same_bits(model, waves, table_of, tmp_path, monkeypatch):
    table = table_of(model)
    settings = {"method": "adaround", "options": FAST["adaround"], "rows": 60}
    expected = round_weights(model, table, waves, **settings)
    calls = []

    def killed(done, total, what=""):
        calls.append((done, total, what))
        if len(calls) == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        round_weights(model, table, waves, work=tmp_path, progress=killed, **settings)
    (folder,) = tmp_path.iterdir()
    kept = sorted(path.name for path in folder.iterdir())
    assert kept == [f"{i:04d}.safetensors" for i in range(7)]
    (folder / kept[3]).write_bytes(b"cut short")
    solved = []
    solve = run._solve
    monkeypatch.setattr(run, "_solve", lambda *a, **k: solved.append(a[2].operators) or solve(*a, **k))
    again = round_weights(model, table, waves, work=tmp_path, **settings)
    assert len(solved) == len(list(folder.iterdir())) - 7 + 1
    assert again.signature == expected.signature
    assert again.errors == expected.errors
    solved.clear()
    assert round_weights(model, table, waves, work=tmp_path, **settings).errors == expected.errors
    assert solved == []
    total = len(weights_of(table))
    assert calls[0] == (0, total, stage_names(folder)[0])


def stage_names(folder):
    first = load_file(folder / "0000.safetensors")
    return [name.removesuffix(":weight") for name in first if not name.startswith("error")]


def test_other_settings_do_not_share_a_folder(ctc, waves, table_of, tmp_path):
    table = ScaleTable({e.site.name: e for e in list(table_of(ctc))[:2]})
    for seed, audio, options in (
        (0, waves, {}),
        (1, waves, {}),
        (0, waves[:2], {}),
        (0, waves, {"order": False}),
    ):
        round_weights(ctc, table, audio, method="gptq", options=options, seed=seed, work=tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_what_cannot_be_done(ctc, waves, table_of, tmp_path):
    table = table_of(ctc)
    with pytest.raises(DataError, match="give some audio"):
        round_weights(ctc, table, [], method="gptq")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        round_weights(ctc, table, waves, method="gptq", work=tmp_path / "file")


def test_the_model_is_unchanged_after_an_error(model, waves, table_of):
    table = table_of(model)
    before = {name: (p.data_ptr(), p.clone()) for name, p in model.module.named_parameters()}

    def stop(done, total, what=""):
        if done > 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        round_weights(model, table, waves, method="gptq", progress=stop)
    for name, parameter in model.module.named_parameters():
        pointer, value = before[name]
        assert parameter.data_ptr() == pointer
        assert torch.equal(parameter, value)
    assert not any(part._forward_pre_hooks for part in model.module.modules())


def test_shortcuts_change_nothing_but_the_work(model, waves, table_of, monkeypatch):
    table = table_of(model)
    blocks = [b for part in model.module.modules() if isinstance(part, torch.nn.ModuleList) for b in part]
    first = [p for p in model.module.modules() if isinstance(p, torch.nn.Conv1d)][:1]
    deep = [p for p in blocks[0].modules() if isinstance(p, torch.nn.Conv1d | torch.nn.Linear)][:1]
    calls = Counter()
    for kind in {type(part) for part in (*first, *deep)}:
        compute = kind.forward

        def counted(part, x, compute=compute):
            calls[part] += 1
            return compute(part, x)

        monkeypatch.setattr(kind, "forward", counted)
    short = round_weights(model, table, waves, method="gptq")
    few = dict(calls)
    calls.clear()
    monkeypatch.setattr(shortcuts, "_BYTES", 0)
    whole = round_weights(model, table, waves, method="gptq")
    assert short.signature == whole.signature
    assert short.errors == whole.errors
    for part in (*first, *deep):
        assert few[part] < 0.3 * calls[part]
    assert not any("forward" in vars(part) for part in (*blocks, *first))


@pytest.mark.parametrize("method", ["gptq", "adaround"])
def test_activations_that_are_no_numbers_end_it(ctc, waves, method, monkeypatch):
    norm = next(part for part in ctc.module.modules() if isinstance(part, torch.nn.LayerNorm))
    monkeypatch.setattr(norm.weight, "data", torch.full_like(norm.weight, torch.inf))
    weights = weight_table(ctc, ctc.sites(), bits=4)
    with pytest.raises(ModelError, match="reads infinite or NaN activations"):
        round_weights(ctc, weights, waves, method=method, options=FAST[method])
