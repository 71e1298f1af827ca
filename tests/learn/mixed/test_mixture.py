"""The quantizer of a mixed weight: nearest codes, and gradients of a naive dense super-network."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechquant.learn.lsq import gradient_scale, lsq
from speechquant.learn.mixed import WeightMixture
from speechquant.numerics import Entry, QuantSpec, Site, weight_scales
from speechquant.simulation import fake_quantize

SITE = Site("some.linear", "weight", "encoder.0")
WIDTHS = (2, 3, 4, 6, 8)


def entries_of(weight, widths=WIDTHS, granularity="channel", group_size=None, method="mse"):
    specs = [QuantSpec(bits, granularity, narrow=True, group_size=group_size) for bits in widths]
    return {spec.bits: Entry(SITE, spec, weight_scales(weight, spec, method)) for spec in specs}


def random_weight(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def aligned(scale, shape, spec):
    """A scale for every weight, laid out by hand."""
    whole = torch.empty(shape)
    for index in itertools.product(*map(range, shape)):
        flat = int(np.ravel_multi_index(index[1:], shape[1:]))
        place = {"tensor": (), "channel": (index[0],), "group": (index[0], flat // (spec.group_size or 1))}
        whole[index] = scale[place[spec.granularity]]
    return whole


@settings(max_examples=40, deadline=None)
@given(
    bits=st.sampled_from(WIDTHS),
    granularity=st.sampled_from(["tensor", "channel", "group"]),
    seed=st.integers(0, 99),
)
def test_every_weight_takes_the_nearest_code(bits, granularity, seed):
    weight = random_weight((3, 10), seed)
    group = 4 if granularity == "group" else None
    entries = entries_of(weight, (bits,), granularity, group)
    found = WeightMixture(entries, learned=True)(torch.from_numpy(weight)).detach()
    spec = entries[bits].spec
    scales = aligned(torch.from_numpy(entries[bits].scale), weight.shape, spec)
    codes = torch.arange(-(2 ** (bits - 1) - 1), 2 ** (bits - 1)).float()
    book = scales[..., None] * codes
    distance = (book - torch.from_numpy(weight)[..., None]).abs()
    chosen = (found - torch.from_numpy(weight)).abs()
    torch.testing.assert_close(chosen, distance.min(dim=-1).values)
    assert (book - found[..., None]).abs().min(dim=-1).values.max() == 0


def test_two_bits_are_the_ternary_code():
    weight = random_weight((4, 64))
    found = WeightMixture(entries_of(weight, (2,)), learned=True)(torch.from_numpy(weight))
    scale = torch.from_numpy(entries_of(weight, (2,))[2].scale)[:, None]
    assert set((found.detach() / scale).unique().tolist()) == {-1.0, 0.0, 1.0}


@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize(
    ("shape", "granularity", "group"),
    [
        ((5, 12), "tensor", None),
        ((5, 12), "channel", None),
        ((5, 3, 4), "channel", None),
        ((5, 12), "group", 4),
        ((5, 11), "group", 4),
        ((5, 3, 4), "group", 8),
    ],
)
def test_gradients_are_those_of_a_dense_super_network(shape, granularity, group, learned):
    weight = random_weight(shape)
    entries = entries_of(weight, granularity=granularity, group_size=group)
    logits = torch.tensor([0.3, -0.2, 0.5, 0.1, -0.4])
    incoming = torch.from_numpy(random_weight(shape, 1))

    def run(mix):
        master = torch.from_numpy(weight.copy()).requires_grad_()
        own = logits.clone().requires_grad_()
        found = mix(master, torch.softmax(own, dim=0))
        (found * incoming).sum().backward()
        return found.detach(), master.grad, own.grad

    module = WeightMixture(entries, learned=learned, shares=lambda: (tuple(range(5)), held[0]))
    held = [None]

    def lean(master, shares):
        held[0] = shares
        return module(master)

    shifts = {bits: torch.zeros(entry.scale.shape, requires_grad=True) for bits, entry in entries.items()}

    def dense(master, shares):
        total = torch.zeros(shape)
        for share, (bits, entry) in zip(shares, entries.items(), strict=True):
            start, spec = torch.from_numpy(entry.scale), entry.spec
            scale = aligned(start * torch.exp(shifts[bits]), shape, spec)
            count = {"tensor": weight.size, "channel": weight[0].size, "group": group}[granularity]
            if learned:
                part = lsq(master, scale, spec, share=gradient_scale(count, spec))
            else:
                part = fake_quantize(master, scale.detach(), QuantSpec(bits, narrow=True))
            total = total + share * part
        return total

    for one, other in zip(run(lean), run(dense), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    for bits in entries:
        got = module.steps[str(bits)].shift.grad
        if learned:
            torch.testing.assert_close(got, shifts[bits].grad, rtol=1e-4, atol=1e-5)
        else:
            assert got is None


def test_a_candidate_without_a_share_costs_nothing_and_learns_nothing():
    weight = random_weight((5, 12))
    entries = entries_of(weight)
    shares = torch.tensor([0.25, 0.75])
    module = WeightMixture(entries, learned=True, shares=lambda: ((1, 3), shares))
    found = module(torch.from_numpy(weight))
    parts = [
        fake_quantize(torch.from_numpy(weight), torch.from_numpy(entries[b].scale), entries[b].spec, axis=0)
        for b in (3, 6)
    ]
    torch.testing.assert_close(found.detach(), 0.25 * parts[0] + 0.75 * parts[1])
    found.sum().backward()
    assert [module.steps[str(bits)].shift.grad is None for bits in WIDTHS] == [True, False, True, False, True]


def test_nothing_of_the_size_of_the_weight_is_kept_for_the_candidates():
    weight = torch.from_numpy(random_weight((64, 64))).requires_grad_()
    kept = []

    def pack(tensor):
        kept.append(tensor)
        return tensor

    shares = torch.full((5,), 0.2, requires_grad=True)
    module = WeightMixture(
        entries_of(weight.detach().numpy()), learned=True, shares=lambda: (tuple(range(5)), shares)
    )
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module(weight)
    large = [tensor for tensor in kept if tensor.numel() >= weight.numel()]
    assert len(large) == 1
    assert large[0].data_ptr() == weight.data_ptr()


@pytest.mark.parametrize(("granularity", "group"), [("tensor", None), ("channel", None), ("group", 4)])
def test_rows_are_those_of_the_whole(granularity, group):
    weight = random_weight((6, 10))
    module = WeightMixture(
        entries_of(weight, (2, 4), granularity, group),
        learned=True,
        shares=lambda: ((0, 1), torch.tensor([0.5, 0.5])),
    )
    ids = torch.tensor([[5, 0], [2, 2]])
    whole = module(torch.from_numpy(weight)).detach()
    torch.testing.assert_close(module.rows(torch.from_numpy(weight), ids).detach(), whole[ids])


def test_scales_of_groups_are_what_the_file_keeps():
    weight = random_weight((4, 32))
    module = WeightMixture(entries_of(weight, (4,), "group", 8), learned=True)
    with torch.no_grad():
        module.steps["4"].shift.add_(0.0123)
    entry = module.entry(4)
    assert np.array_equal(entry.scale.astype(np.float16).astype(np.float32), entry.scale)
    expected = fake_quantize(torch.from_numpy(weight), torch.from_numpy(entry.scale), entry.spec)
    assert torch.equal(module(torch.from_numpy(weight)).detach(), expected)


def test_full_ranges_are_refused():
    spec = QuantSpec(4, "channel")
    entry = Entry(SITE, spec, np.ones(3, np.float32))
    with pytest.raises(ValueError, match="narrow"):
        WeightMixture({4: entry}, learned=True)
