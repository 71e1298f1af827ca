import numpy as np
import pytest

pytest.importorskip("onnxruntime")
from compare_peers import FLOAT, OURS, SYSTEMS, Entry, Judge
from compare_peers_page import page
from peers import find

from speechquant.data import Corpus, Utterance
from speechquant.decoding import Transcript
from speechquant.engines import Coverage
from speechquant.evaluation import Evaluator

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
WHERE = {
    "about": "About.",
    "command": "python benchmarks/compare_peers.py",
    "commit": "0" * 40,
    "machine": "a machine",
    "versions": {"python": "3"},
    "model": "demo",
}


class Speaker:
    """Says the text, but for the last word of the first utterances."""

    backend, sampling_rate, length_exact = "fake", 16_000, True

    def __init__(self, name, wrong):
        self.signature, self.wrong = name, wrong

    def recognize(self, waves):
        heard = [WORDS[:-1] if wave.size <= self.wrong else WORDS for wave in waves]
        return [Transcript(text=" ".join(words)) for words in heard]


def read(corpus, *, strict, on_skip):
    """An utterance with the name n has n samples."""
    yield from ((one, np.zeros(int(one.id), np.float32)) for one in corpus)


@pytest.fixture
def judge(tmp_path):
    texts = [Utterance(str(n), tmp_path / f"{n}.wav", text=" ".join(WORDS)) for n in range(1, 31)]
    speech = {"dev": Corpus("dev", tuple(texts)), "test": Corpus("test", tuple(texts[:20]))}
    return Judge(Evaluator("none", loader=read), speech, lambda _: None)


def entry(key, wrong, **changes):
    settings = {"bytes": 8_000_000, "coverage": Coverage(3, 4, ("lm_head",)), "seconds": 12.4}
    return Entry(key, find(key).label, lambda: Speaker(key, wrong), **settings | changes)


def rows(judge):
    names = {FLOAT: 2, OURS: 3, "nncf-f32": 16}
    return [judge.row(entry(key, wrong)) for key, wrong in names.items()]


def test_rows_are_tested_against_float_and_against_ours(judge):
    first, ours, peer = rows(judge)
    assert first["dev"]["against"] == {}
    assert list(ours["dev"]["against"]) == [FLOAT]
    assert list(peer["test"]["against"]) == [FLOAT, OURS]
    assert (peer["dev"]["deletions"], peer["dev"]["words"], peer["test"]["words"]) == (16, 300, 200)
    # Fourteen segments are worse and none is better: the sign test.
    assert peer["dev"]["against"][FLOAT]["p_value"] < 1e-3
    assert ours["dev"]["against"][FLOAT]["p_value"] > 0.05


def test_what_an_engine_refuses_is_a_row(judge):
    def refuse():
        raise RuntimeError("no such operator\nat all")

    line = judge.row(Entry("nncf-f32", "NNCF", refuse, 1, Coverage(0, 0), 1.0))
    assert line["error"] == "RuntimeError: no such operator"
    assert judge.row(entry("nncf-f32", 1, error="not made"))["error"] == "not made"


def test_the_table_names_what_is_worse_and_how_fast_it_is(judge):
    found = rows(judge)
    failed = judge.row(entry("nncf-bf16", 1, error="a | b"))
    text = page({**WHERE, "rows": [*found, failed], "turns": {}})
    table = [one for one in text if one.startswith("|")]
    assert len({one.count("|") for one in table}) == 1
    peer = next(one for one in table if "NNCF int8, default, rest f32" in one)
    assert "| 8.0 | 3 of 4 | 12 | **5.33**" in peer
    assert "float <0.001 **worse**, ours <0.001 **worse**" in peer
    assert "a / b" in table[-1]
    better = page({**WHERE, "rows": [judge.row(entry(FLOAT, 16)), judge.row(entry(OURS, 2))]})
    assert any("float <0.001 **better**" in one for one in better)
    turns = {"ort-f32": [40.0, 44.0], "ov-f32": [30.0, 33.0], OURS: [15.0, 11.0]}
    engine = judge.row(entry("ov-f32", 2))
    fast = page({**WHERE, "rows": [*found, engine], "turns": turns, "threads": 2})
    ours = next(one for one in fast if find(OURS).label in one and one.startswith("|"))
    assert ours.endswith("| 2.50x | 13 |")
    assert any("| speed | ms at 10 s |" in one for one in fast)
    shorter = page({**WHERE, "rows": [*found, engine], "turns": turns, "threads": 2, "latency_seconds": 2.5})
    assert any("| speed | ms at 2.5 s |" in one for one in shorter)
    assert any("faster than OpenVINO f32 at 2.5 s" in one for one in shorter)


def test_the_references_come_first():
    assert SYSTEMS[:2] == (FLOAT, OURS)
    assert all(find(key) for key in SYSTEMS)
