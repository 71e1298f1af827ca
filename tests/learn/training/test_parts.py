"""Schedule, seeds, interrupts, targets, history, optimizer groups."""

from __future__ import annotations

import json
import math
import signal

import numpy as np
import pytest
import torch
import transformers

from speechquant.decoding import CTCVocabulary
from speechquant.errors import ModelError
from speechquant.learn.training import (
    CTCTargets,
    History,
    Schedule,
    optimizer_of,
    read_history,
    sentence,
    set_learning_rates,
    spelled,
    targets_of,
)
from speechquant.learn.training.interrupts import uninterrupted
from speechquant.learn.training.seeding import derived_seed, seeded


def test_the_schedule_is_that_of_transformers():
    own = Schedule(50, 10)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    other = transformers.get_cosine_schedule_with_warmup(optimizer, 10, 50)
    for step in range(50):
        if step >= 10:
            assert own.factor(step) == pytest.approx(other.get_last_lr()[0])
        optimizer.step()
        other.step()
    # Ours does not waste the first update on a rate of zero.
    assert [own.factor(step) for step in (0, 4, 9)] == pytest.approx([1 / 11, 5 / 11, 10 / 11])
    assert own.factor(10) == 1
    assert Schedule(5).factor(0) == 1
    assert Schedule(5).factor(5) == pytest.approx(0, abs=1e-12)


# The generators that dropout and transformers' SpecAugment use.
global_draw, global_seed = np.random.rand, np.random.seed


def draw():
    return torch.rand(3).tolist() + global_draw(3).tolist()


def test_seeds_decide_everything_inside_and_nothing_outside():
    torch.manual_seed(5)
    global_seed(5)
    expected = draw()
    torch.manual_seed(5)
    global_seed(5)
    with seeded(1, "step", 2):
        first = draw()
    assert draw() == expected
    with seeded(1, "step", 2):
        assert draw() == first
    with seeded(1, "step", 3):
        assert draw() != first
    assert derived_seed(1, 23) != derived_seed(12, 3)


def test_an_interrupt_waits_for_the_end_of_the_block():
    done = []

    def work():
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            done.append("rest")
        done.append("after")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["rest"]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def vocabulary(letters, **settings):
    tokens = dict(enumerate(("<pad>", "<unk>", *letters)))
    delimiter = next((i for i, token in tokens.items() if token == "|"), None)
    return CTCVocabulary(tokens, frozenset({0, 1}), 0, delimiter, **settings)


@pytest.mark.parametrize(
    ("letters", "text", "written"),
    [
        ("|ABCE'", "a  Bé, c'", "A|BE|C'"),
        ("|abc", "AB c", "ab|c"),
        ("abc", "AB c", "abc"),
        (" abc", "AB c", "ab c"),
        ("|aA", "aA", "aA"),
        ("|abc", "XYZ 12", ""),
    ],
)
def test_letters_as_the_model_writes_them(letters, text, written):
    known = vocabulary(letters)
    ids = CTCTargets(known).encode(text)
    assert "".join(known.tokens[i] for i in ids) == written


def test_targets_decode_to_the_text(model, trained):
    from speechquant.models import load_model

    found = load_model(trained / "hubert-mini-ctc")
    text = "IT ISN'T SO BAD"
    assert found.vocabulary.decode(targets_of(found).encode(text)).upper() == text
    moonshine = load_model(trained / "moonshine-tiny")
    text = "Mr. Quilter isn't here, is he?"
    ids = targets_of(moonshine).encode(text)
    assert moonshine.vocabulary.decode(ids) == text
    assert not {1, 2} & set(ids)


def test_tokens_of_several_letters_have_no_unique_spelling():
    with pytest.raises(ModelError, match=r"single letters.*'AB'"):
        CTCTargets(vocabulary(["A", "AB"]))


def test_sentences_are_written_as_a_punctuating_model_would():
    assert sentence("HE  SAID SO") == "He said so."
    assert sentence("he said so?") == "He said so?"
    assert sentence("Mr. X said so") == "Mr. X said so"
    assert sentence(" ") == ""


def test_the_own_spelling_is_kept_where_the_words_are_right():
    assert spelled("MISTER X SAID SO", "Mr. X, said so!", "whisper-english") == "Mr. X, said so!"
    assert spelled("MISTER X SAID SO", "Mr. X said no.", "whisper-english") == "Mister x said so."
    assert spelled("HE DID", None, "whisper-english") == "He did."


def test_a_history_that_goes_on_drops_what_will_be_repeated(tmp_path):
    path = tmp_path / "history.jsonl"
    history = History(path)
    for step in range(1, 6):
        history.add(step=step, learning_rate=float(step))
    history.add(step=5, learning_rate=math.nan)
    assert [row["step"] for row in History(path, step=3).rows()] == [1, 2, 3]
    with path.open("a") as file:
        file.write('{"step": 4, "lo')
    assert [row["step"] for row in read_history(path)] == [1, 2, 3]
    assert len(History(path, step=9).rows()) == 3
    assert json.loads(path.read_text().splitlines()[-1]) == {"step": 3, "learning_rate": 3.0}
    assert History(path).rows() == ()


@pytest.mark.parametrize(("evaluated", "kept"), [(-1, []), (0, [0]), (2, [0, 2]), (3, [0, 2, 3])])
def test_a_history_keeps_evaluations_that_were_finished(tmp_path, evaluated, kept):
    path = tmp_path / "history.jsonl"
    history = History(path)
    for step in range(4):
        if step:
            history.add(step=step, learning_rate=0.1)
        if step != 1:
            history.add(step=step, bits={"a": 2}) if step == 2 else history.add(step=step, dev={"wer": 9})
    rows = History(path, step=3, evaluated=evaluated).rows()
    assert [row["step"] for row in rows if "learning_rate" in row] == [1, 2, 3]
    assert [row["step"] for row in rows if "learning_rate" not in row] == kept


def test_only_matrices_decay_and_steps_have_their_own_rate():
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LayerNorm(3))
    extra = torch.nn.Linear(1, 1)
    optimizer = optimizer_of(network, extra, learning_rate=0.1, extra_learning_rate=0.7, weight_decay=0.3)
    set_learning_rates(optimizer, 0.5)
    found = {id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert found[id(network[0].weight)] == (0.05, 0.3)
    assert found[id(network[0].bias)] == found[id(network[1].weight)] == (0.05, 0.0)
    assert found[id(extra.weight)] == (0.35, 0.0)
    assert len(found) == 6
