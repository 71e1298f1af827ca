"""The super-network learns what it should: the known allocation, the same after an interruption."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from torch import nn

from speechquant.artifact.weights import file_bytes
from speechquant.errors import RecipeError
from speechquant.learn.allocation import Budget, candidates_of
from speechquant.learn.mixed import (
    Annealing,
    BitChoice,
    Group,
    MixedWeights,
    SearchPlan,
    groups_of,
    room_of,
    settled,
    uniform_bits,
)
from speechquant.learn.training import (
    Plan,
    Schedule,
    Speech,
    Student,
    Trainer,
    optimizer_of,
    processes,
    targets_of,
    task_of,
)
from speechquant.metrics import WordErrors
from speechquant.numerics import Entry, QuantSpec, Site, weight_scales
from speechquant.simulation import quantized

WIDTHS = (2, 4, 8)


class Sum(nn.Module):
    """Two products, of which one counts a hundred times as much."""

    def __init__(self):
        super().__init__()
        self.loud, self.soft = nn.Linear(16, 16, bias=False), nn.Linear(16, 16, bias=False)

    def forward(self, x):
        return 3 * self.loud(x) + 0.03 * self.soft(x)


class Bare:
    def __init__(self, module):
        self.module = module

    def operator(self, name):
        return self.module.get_submodule(name)


def test_the_matrix_that_counts_gets_the_bits():
    torch.manual_seed(3)
    network, teacher = Sum(), Sum()
    teacher.load_state_dict(network.state_dict())
    entries = {}
    for name in ("soft", "loud"):
        weight = network.get_submodule(name).weight.detach().numpy().copy()
        specs = [QuantSpec(bits, "channel", narrow=True) for bits in WIDTHS]
        site = Site(name, "weight", "encoder.0")
        entries[site.name] = {s.bits: Entry(site, s, weight_scales(weight, s, "mse")) for s in specs}
    groups = [Group((name,), 256, {bits: 256 * bits for bits in WIDTHS}) for name in ("soft", "loud")]
    choice = BitChoice(groups, SearchPlan(Annealing(60), limit=5 * 512, seed=1))
    quantizers = MixedWeights(Bare(network), entries, choice=choice)
    optimizer = torch.optim.Adam(
        [
            {"params": network.parameters(), "lr": 1e-4},
            {"params": choice.parameters(), "lr": 0.1},
        ]
    )
    with quantizers.installed():
        for step in range(60):
            choice.begin(step)
            x = torch.randn(8, 16)
            loss = (network(x) - teacher(x)).square().sum(-1).mean() + choice.penalty()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            choice.end()
        choice.begin(60)
        assert choice.bits() == {"soft": 2, "loud": 8}
        # Settled, the network computes what its table says.
        x = torch.randn(4, 16)
        got = network(x)
    with quantized(Bare(network), quantizers.table()):
        torch.testing.assert_close(got, network(x))
    assert {e.site.module: e.spec.bits for e in quantizers.table()} == {"soft": 2, "loud": 8}


@pytest.fixture
def search(model, train, tmp_path):
    """Train a tiny model with a search over its bits."""

    def start(folder, *, stop_at=None, family="ctc", unit="matrix", **form):
        found = model(family, dropout=0.1)
        task, targets = task_of(found), targets_of(found)
        ids = {item.id: tuple(targets.encode(item.text)) for item in train}
        candidates = candidates_of(found, rule="all", bits=(2, 4, 8), **form)
        groups = groups_of(candidates, unit, in_bytes=False)
        limit = 3 * sum(group.weights for group in groups)
        choice = BitChoice(groups, SearchPlan(Annealing(3), limit=limit, seed=4))
        # Away from the budget, so that there is something to hold.
        torch.nn.init.zeros_(choice.logits)
        quantizers = MixedWeights.searching(found, candidates, choice)
        found.module.requires_grad_(requires_grad=True)
        student = Student(found.module, task, extra=quantizers, penalty=choice.penalty)
        told = []

        def tell(done, *_):
            told.append(done)
            if done == stop_at and told.count(done) == 1:
                raise KeyboardInterrupt

        (tmp_path / folder).mkdir(exist_ok=True)
        trainer = Trainer(
            student,
            optimizer_of(
                found.module,
                quantizers,
                choice,
                learning_rate=1e-3,
                extra_learning_rate=1e-2,
                choice_learning_rate=0.3,
            ),
            Speech(found, train, ids, batch=2, seed=1),
            Plan(Schedule(5), 2, length_exact=found.length_exact, seed=7, judge_from=3),
            evaluate=lambda: WordErrors(words=10, substitutions=5),
            folder=tmp_path / folder,
            settings="same",
            accelerator=processes(),
            on_step=tell,
            search=choice,
        )
        with quantizers.installed():
            trained = trainer.run()
        return found, quantizers, trained, tmp_path / folder

    return start


def state(found, quantizers):
    return {**found.module.state_dict(), **quantizers.state_dict()}


def rows_of(folder):
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.mark.parametrize("stop_at", [1, 2, 4])
def test_an_interrupted_search_ends_alike(search, stop_at):
    whole = search("whole")
    with pytest.raises(KeyboardInterrupt):
        search("parts", stop_at=stop_at)
    parts = search("parts")
    one, two = state(*whole[:2]), state(*parts[:2])
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert rows_of(whole[3]) == rows_of(parts[3])
    assert whole[1].table().signature == parts[1].table().signature
    assert float(one["choice.multiplier"]) != 0
    assert one["choice.logits"].any()


def test_the_history_tells_bits_and_only_settled_ones_are_judged(search):
    found, quantizers, trained, folder = search("run")
    rows = rows_of(folder)
    assert [row["step"] for row in rows if "dev" in row] == [4, 5]
    assert trained.best_step == 4
    bits = {row["step"]: row["bits"] for row in rows if "bits" in row}
    assert list(bits) == [0, 2, 4, 5]
    assert set(bits[0].values()) == {round((2 + 4 + 8) / 3, 3)}
    settled_bits = quantizers.choice.bits()
    assert bits[4] == settled_bits
    updates = [row for row in rows if "loss" in row]
    assert [("multiplier" in row) for row in updates] == [True] * 3 + [False] * 2
    weights = {name: found.operator(name).weight.numel() for name in settled_bits}
    average = sum(bits * weights[name] for name, bits in settled_bits.items()) / sum(weights.values())
    assert updates[-1]["average_bits"] == pytest.approx(average)
    assert average <= 3
    # The penalty is counted once for each update, however many utterances it has.
    first = updates[0]
    share = sum(n * 14 / 3 for n in weights.values()) / (3 * sum(weights.values())) - 1
    groups = len(weights)
    assert first["penalty"] == pytest.approx(groups * 0.5 * share**2, rel=1e-5)
    assert first["loss"] == pytest.approx(first["task"] + first["penalty"], rel=1e-5)


@pytest.mark.parametrize(
    ("family", "form"),
    [("moonshine", {}), ("ctc", {"granularity": "group", "group_size": 16}), ("ctc", {"unit": "block"})],
)
def test_every_family_and_form(search, family, form):
    found, quantizers, _, _ = search("run", family=family, **form)
    bits = quantizers.choice.bits()
    if form.get("unit") == "block":
        layers = {}
        for site in found.sites():
            if site.role == "weight":
                layers.setdefault(site.layer, set()).add(bits[site.module])
        assert all(len(found) == 1 for found in layers.values())
    wave = (0.1 * np.random.default_rng(3).standard_normal(8000)).astype(np.float32)
    with torch.inference_mode(), quantized(found, quantizers.table()):
        found.observe(wave)


def test_budgets_leave_room_and_files_stay_within(model):
    found = model("ctc")
    candidates = candidates_of(found, rule="all", bits=(2, 4, 8))
    arrays = {name: tensor.numpy() for name, tensor in found.module.state_dict().items()}

    def size(table):
        return file_bytes(arrays, table)

    sizes = {w: size(candidates.table({m.site.module: w for m in candidates.matrices})) for w in (2, 4, 8)}
    budget = Budget(megabytes=1.02 * sizes[4] / 1e6)
    room = room_of(found, candidates, budget, size)
    assert uniform_bits(candidates, room, budget) == 4
    bits = Budget(average_bits=3.9)
    assert uniform_bits(candidates, room_of(found, candidates, bits, size), bits) == 2
    # The margin is in the numbers that the error names.
    with pytest.raises(RecipeError, match="smallest file") as caught:
        room_of(found, candidates, Budget(megabytes=sizes[2] / 1e6), size)
    megabytes, ratio = re.fullmatch(r".* has (.+) MB, a ratio of (.+)", str(caught.value)).groups()
    for possible in (Budget(megabytes=float(megabytes)), Budget(ratio=float(ratio))):
        assert uniform_bits(candidates, room_of(found, candidates, possible, size), possible) == 2
    with pytest.raises(RecipeError, match="fewest are 2"):
        room_of(found, candidates, Budget(average_bits=1.9), size)
    # Bits that were trained but do not fit are repaired, as few as need be.
    chosen = {m.site.module: 4 for m in candidates.matrices}
    quantizers = MixedWeights.frozen(found, candidates.table(chosen))
    quantizers.candidates = lambda name: next(m for m in candidates.matrices if m.site.name == name).entries
    frozen = MixedWeights.frozen(found, candidates.table(chosen))
    below = {name: {2: 1.0, 4: 0.0, 8: 1.0} for name in chosen}
    tight = Budget(megabytes=0.98 * sizes[4] / 1e6)
    record = settled(
        found,
        candidates,
        quantizers,
        chosen,
        budget=tight,
        criterion="learned",
        preferences=below,
        file_size=size,
    )
    assert size(record.table) <= tight.megabytes * 1e6
    assert 0 < len(record.repaired) < len(chosen) / 2
    assert {c.module for c in record.choices if c.bits != 4} == set(record.repaired)
    # Frozen bits have nothing else to become.
    kept = settled(
        found,
        candidates,
        frozen,
        chosen,
        budget=tight,
        criterion="learned",
        preferences=below,
        file_size=size,
    )
    assert not kept.repaired
    assert {c.bits for c in kept.choices} == {4}
