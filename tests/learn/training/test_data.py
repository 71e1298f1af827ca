"""The order of the training speech, its share among processes, and batches that change no output."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest

from speechquant.data import Corpus, Utterance
from speechquant.errors import AudioError, DataError
from speechquant.learn.training import Example, Speech, micro_batches


@pytest.fixture
def speech(model, train):
    found = model("ctc")

    def make(utterances=train, **settings):
        targets = {item.id: (5, 6) for item in utterances}
        return Speech(found, utterances, targets, **{"batch": 2, **settings})

    return make


def ids(steps):
    return [[example.id for example in step] for step in steps]


def test_an_epoch_has_every_utterance_once_and_the_next_another_order(speech):
    steps = ids(speech(seed=1).steps(0, 6))
    first, second = list(chain(*steps[:3])), list(chain(*steps[3:]))
    assert sorted(first) == sorted(second) == [str(i) for i in range(6)]
    assert first != second
    assert ids(speech(seed=2).steps(0, 3)) != steps[:3]


def test_a_run_that_goes_on_sees_what_it_would_have_seen(speech):
    whole = ids(speech(batch=4).steps(0, 7))
    assert ids(speech(batch=4).steps(5, 7)) == whole[5:]
    assert [[item.id for item in speech(batch=4).drawn(step)] for step in range(7)] == whole


def test_processes_share_a_step(speech):
    whole = ids(speech(batch=4).steps(0, 4))
    shares = [ids(speech(batch=4, rank=rank, world=2).steps(0, 4)) for rank in range(2)]
    for step, (one, two) in enumerate(zip(*shares, strict=True)):
        assert sorted(one + two) == sorted(whole[step])
        assert len(one) == len(two) == 2


def test_unusable_audio_is_left_out_of_its_step_and_told_once(speech, train, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"nothing")
    mixed = Corpus("train", (*train, Utterance("bad", tmp_path / "bad.wav", "WORD")))
    told = []
    steps = ids(speech(mixed, batch=7, on_skip=told.append).steps(0, 3))
    assert [len(step) for step in steps] == [6, 6, 6]
    assert [item.id for item in told] == ["bad"]
    with pytest.raises(AudioError):
        ids(speech(mixed, batch=7, strict=True).steps(0, 1))


def test_a_step_without_usable_audio_is_empty_and_an_epoch_an_error(speech, train, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"nothing")
    bad = Corpus("train", (Utterance("bad", tmp_path / "bad.wav", "WORD"),))
    with pytest.raises(DataError, match="none of the 1 utterances"):
        ids(speech(bad, batch=2).steps(0, 2))
    mixed = Corpus("train", (*bad, train[0]))
    assert ids(speech(mixed, batch=1).steps(0, 4)).count([]) == 2


def test_what_does_not_fit_its_audio_is_left_out(speech):
    told = []
    found = speech(batch=6, fits=lambda samples, target: samples != 7200, on_skip=told.append)
    assert sum(map(len, ids(found.steps(0, 1)))) == 5
    assert [item.id for item in told] == ["1"]


def test_utterances_without_a_target_are_left_out(model, train):
    assert len(Speech(model("ctc"), train, {"0": (1,), "1": ()}, batch=1)) == 1


def test_long_recordings_are_left_out(speech, train):
    told = []
    found = ids(speech(batch=6, maximum_seconds=0.45, on_skip=told.append).steps(0, 1))
    assert sorted(chain(*found)) == ["0", "1"]
    assert len(told) == 4
    # Where lengths are known beforehand, no place in a step is lost on them.
    known = Corpus("train", tuple(replace(item, seconds=0.4 + 0.05 * int(item.id)) for item in train))
    found = speech(known, batch=2, maximum_seconds=0.46)
    assert (len(found), sorted(ids(found.steps(0, 1))[0])) == (2, ["0", "1"])


@pytest.mark.parametrize("exact", [True, False])
def test_batches_hold_every_example_once_within_the_limits(exact):
    rng = np.random.default_rng(0)
    sizes = [100, 100, 120, 300, 120, 90]
    examples = [
        Example(str(i), rng.standard_normal(n).astype(np.float32), (i + 1,) * (i + 1))
        for i, n in enumerate(sizes)
    ]
    batches = micro_batches(examples, maximum_samples=300, exact=exact)
    seen = []
    for batch in batches:
        assert not (exact and batch.padded)
        assert batch.waves.numel() <= 300
        for wave, samples, target, length in zip(
            batch.waves, batch.samples, batch.targets, batch.lengths, strict=True
        ):
            index = int(length) - 1
            seen.append(index)
            assert target[:length].tolist() == [index + 1] * (index + 1)
            assert np.array_equal(wave[:samples].numpy(), examples[index].wave)
            assert not wave[samples:].any()
    assert sorted(seen) == list(range(6))
    assert len(batches) == (4 if exact else 3)
