"""From model and speech to mixed bits: budgets met by the file, the best choice, resumption."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
import transformers

from speechquant.artifact import storage_of
from speechquant.artifact.weights import file_bytes, save_tensors
from speechquant.errors import RecipeError
from speechquant.learn.allocation import (
    OTHER_BITS,
    Budget,
    Criterion,
    allocate,
    base,
    candidates_of,
    choose,
    criterion,
    criterion_names,
    is_searched,
    run,
    sensitivities,
)
from speechquant.learn.mixed import room_of, uniform_bits
from speechquant.models.ctc import CTCModel
from speechquant.models.random import ARCHITECTURES
from speechquant.numerics import CANDIDATES


@pytest.fixture
def waves():
    rng = np.random.default_rng(5)
    return [(0.1 * rng.standard_normal(size)).astype(np.float32) for size in (6400, 8000)]


def arrays(model):
    return {name: tensor.numpy() for name, tensor in model.module.state_dict().items()}


@pytest.mark.parametrize("family", ["ctc", "moonshine"])
@pytest.mark.parametrize("name", ["kl", "hessian", "fisher"])
def test_every_criterion_on_every_family(model, waves, family, name):
    found = model(family)
    made = allocate(found, waves[:1], budget=Budget(average_bits=4.2), criterion=name, bits=(2, 4, 8))
    assert 3.5 < made.average_bits <= 4.2
    assert all(0 <= cost < np.inf for choice in made.choices for cost in choice.costs.values())
    # Fewer bits cost more, over all matrices.
    totals = [sum(choice.costs[bits] for choice in made.choices) for bits in (2, 4, 8)]
    assert totals[0] > totals[1] > totals[2]
    assert made.record()["matrices"][0]["module"] == made.choices[0].module
    quantized = {site.name for site in found.sites() if site.role == "weight"}
    assert set(made.table.entries) == quantized
    for entry in made.table:
        if entry.site.module not in made.searched:
            assert entry.spec.bits == OTHER_BITS


@pytest.mark.parametrize("group_size", [None, 16])
@pytest.mark.parametrize("family", ["ctc", "moonshine"])
def test_budgets_are_met_by_the_file_that_is_written(model, waves, tmp_path, family, group_size):
    found = model(family)
    form = {"granularity": "group", "group_size": group_size} if group_size else {}
    candidates = candidates_of(found, rule="all", **form)
    costs = sensitivities(found, candidates, waves[:1], criterion="fisher")

    def size(table):
        return file_bytes(arrays(found), table)

    sizes = [size(candidates.table({m.site.module: bits for m in candidates.matrices})) for bits in (2, 8)]
    most = sum(sizes) // 2
    floats = 4 * sum({id(p): p.numel() for p in found.module.state_dict(keep_vars=True).values()}.values())
    budgets = [Budget(megabytes=most / 1e6), Budget(ratio=floats / most), Budget(average_bits=4.5)]
    for budget in budgets:
        made = choose(found, candidates, costs, budget=budget, criterion="fisher", file_size=size)
        path = tmp_path / "model.safetensors"
        save_tensors(path, arrays(found), made.table)
        stored = storage_of(path, searched=made.searched)
        assert stored.stored_bytes == size(made.table)
        assert stored.searched_bits == made.average_bits
        if budget.average_bits is None:
            # No matrix could have the next wider bits: less than the dearest step is left.
            steps = [c.bytes[w] - c.bytes[c.bits] for c in made.choices for w in c.bytes if w > c.bits]
            assert most - max(steps) < stored.stored_bytes <= most
        else:
            assert made.average_bits <= budget.average_bits
        # Bytes of the choices and of all that is not searched make the file, but for digits in its header.
        least = candidates.table({m.site.module: 8 for m in candidates.matrices})
        rest = size(least) - sum(m.bytes[8] for m in candidates.matrices)
        fixed = stored.stored_bytes - sum(c.bytes[c.bits] for c in made.choices)
        assert fixed == pytest.approx(rest, abs=16 * len(made.choices))


def test_the_entropy_code_takes_about_its_bits_in_the_file(model, waves, tmp_path):
    found = model("moonshine")
    candidates = candidates_of(found, rule="all", code="entropy", granularity="tensor", bits=(1.5, 3, 4.5))
    costs = sensitivities(found, candidates, waves[:1], criterion="fisher")
    made = choose(found, candidates, costs, budget=Budget(average_bits=3.2), criterion="fisher")
    assert 3.0 < made.average_bits <= 3.2
    chosen = {choice.bits for choice in made.choices}
    assert chosen <= {1.5, 3, 4.5}
    assert len(chosen) > 1
    # Scales of tiny matrices and the histograms of the coder do not count as bits.
    large = [c for c in made.choices if c.weights > 4000]
    for choice in large:
        integers = 8 * (choice.bytes[choice.bits] - 4) / choice.weights
        assert integers == pytest.approx(choice.bits, abs=0.35)
        for one, other in pairwise(sorted(choice.bytes)):
            assert choice.bytes[one] < choice.bytes[other]
            assert choice.costs[one] > choice.costs[other]
    assert large
    path = tmp_path / "model.safetensors"
    save_tensors(path, arrays(found), made.table)
    assert storage_of(path, searched=made.searched).stored_bytes == file_bytes(arrays(found), made.table)
    assert [row["bits"] for row in made.record()["matrices"]] == [c.bits for c in made.choices]


def test_what_candidates_can_be(model):
    found = model()
    assert tuple(candidates_of(found).matrices[0].entries) == (2, 3, 4, 6, 8)
    entropies = candidates_of(found, code="entropy").matrices[0].entries
    assert tuple(entropies) == CANDIDATES["entropy"]
    assert len({entry.spec.bits for entry in entropies.values()}) > 3
    with pytest.raises(RecipeError, match=r"2.5 bits cannot hold an integer"):
        candidates_of(found, bits=(2.5, 4))
    with pytest.raises(RecipeError, match="no bits to choose from"):
        candidates_of(found, bits=())


def test_fractions_of_bits_that_are_the_whole_budget_fit(model):
    found = model()
    for bits in (1.8, 2.2, 2.7, 3.3):
        candidates = candidates_of(found, code="entropy", bits=(bits, 4))
        costs = {m.site.module: {bits: 1.0, 4: 0.0} for m in candidates.matrices}
        budget = Budget(average_bits=bits)
        room = room_of(found, candidates, budget, lambda table: 0)
        assert uniform_bits(candidates, room, budget) == bits
        assert choose(found, candidates, costs, budget=budget, criterion="kl").average_bits == pytest.approx(
            bits
        )


def test_no_worse_than_uniform_bits_by_its_own_measure(model, waves):
    found = model()
    candidates = candidates_of(found)
    costs = sensitivities(found, candidates, waves, criterion="kl")
    for bits in (3, 4, 6):
        made = choose(found, candidates, costs, budget=Budget(average_bits=bits), criterion="kl")
        assert made.predicted <= sum(cost[bits] for cost in costs.values())


def test_impossible_budgets(model, waves):
    found = model()
    candidates = candidates_of(found)
    costs = {m.site.module: dict.fromkeys(m.entries, 1.0) for m in candidates.matrices}
    with pytest.raises(RecipeError, match="fewest are 2"):
        choose(found, candidates, costs, budget=Budget(average_bits=1.9), criterion="kl")
    with pytest.raises(RecipeError, match="smallest file"):
        choose(
            found,
            candidates,
            costs,
            budget=Budget(ratio=1000.0),
            criterion="kl",
            file_size=lambda table: file_bytes(arrays(found), table),
        )


@pytest.mark.parametrize("criterion", ["fisher", "hessian"])
def test_costs_that_are_found_together_are_the_same_after_a_kill(model, waves, tmp_path, criterion):
    found = model()
    candidates = candidates_of(found, bits=(2, 8))
    whole = sensitivities(found, candidates, waves, criterion=criterion, work=tmp_path)
    (path,) = tmp_path.glob("costs-*.json")
    kept = json.loads(path.read_text())
    path.write_text(json.dumps(dict(list(kept.items())[:2])))
    again = sensitivities(found, candidates, waves, criterion=criterion, work=tmp_path)
    assert again == whole


def test_a_run_goes_on_where_it_was_killed(model, waves, tmp_path, monkeypatch):
    found = model()
    candidates = candidates_of(found, bits=(2, 8))
    asked = []

    @dataclass(frozen=True)
    class Counting(Criterion):
        separate: ClassVar[bool] = True
        stop: int = field(default=3, repr=False)

        def costs(self, speech, matrices, seed, on_step):
            for matrix in matrices:
                if len(asked) == self.stop:
                    raise KeyboardInterrupt
                asked.append(matrix.site.module)
                yield matrix.site.module, {bits: float(len(asked)) for bits in matrix.entries}

    monkeypatch.setitem(base._REGISTER, "counting", Counting)
    with pytest.raises(KeyboardInterrupt):
        sensitivities(found, candidates, waves, criterion="counting", work=tmp_path)
    options = {"stop": 10**6}
    costs = sensitivities(found, candidates, waves, criterion="counting", options=options, work=tmp_path)
    assert asked == [m.site.module for m in candidates.matrices]
    assert [cost[2] for cost in costs.values()] == list(range(1, len(asked) + 1))
    # Done, it is not measured again; other speech is.
    monkeypatch.setattr(run, "Speech", None)
    again = sensitivities(found, candidates, waves, criterion="counting", options=options, work=tmp_path)
    assert again == costs
    with pytest.raises(TypeError):
        sensitivities(found, candidates, waves[:1], criterion="counting", options=options, work=tmp_path)


def test_unknown_names():
    assert criterion_names() == ("fisher", "hessian", "kl")
    with pytest.raises(RecipeError, match="choose one of fisher"):
        criterion("guess")
    with pytest.raises(RecipeError, match="does not take"):
        criterion("kl", probes=3)


def test_paper_like_rule_gives_the_published_ratio():
    """Counted from the architecture alone: Transformer Linears 3.5 bit, other weights 8, the rest float."""
    prefix, settings = ARCHITECTURES["hubert-large"]
    with torch.device("meta"):
        network = transformers.HubertForCTC(getattr(transformers, f"{prefix}Config")(**settings))
    sizes, channels = {True: 0, False: 0}, 0
    for name, part in network.named_modules():
        if isinstance(part, torch.nn.Linear | torch.nn.Conv1d):
            layer = CTCModel._layer(SimpleNamespace(), name)
            sizes[is_searched(part, layer, "paper")] += part.weight.numel()
            channels += part.weight.shape[0]
    assert sizes[True] == 24 * (4 * 1024**2 + 2 * 1024 * 4096)
    # Weight norm stores the positional weight as direction and length: the length is no parameter of its own.
    length = network.hubert.encoder.pos_conv_embed.conv.parametrizations.weight.original0.numel()
    total = sum(part.numel() for part in network.parameters()) - length
    floats = total - sum(sizes.values())
    ratio = 4 * total / (3.5 / 8 * sizes[True] + OTHER_BITS / 8 * sizes[False] + 4 * (floats + channels))
    assert ratio == pytest.approx(8.6, abs=0.05)
