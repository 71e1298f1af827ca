"""MAPSSWE against NIST `sc_stats` (Debian package sctk), and by hand."""

from __future__ import annotations

import json
import math
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from scipy import stats

from speechquant.errors import DataError
from speechquant.metrics import WordAlignment, align_words, mapsswe, score, segment_errors

TEXTS = json.loads((Path(__file__).parent / "librispeech_texts.json").read_text())
WORDS = sorted({word for text in TEXTS for word in text.split()})
RESULTS = re.compile(
    r"# segs: (?P<segments>\d+)\).*?\(mean: +(?P<mean>\S+)\) \(std dev: +(?P<std>\S+)\) "
    r"\(Z Stat: +(?P<z>\S+)\) \(Stat Diff: (?P<verdict>Yes|No)\)"
)


def corrupt(text: str, rate: float, rng: random.Random) -> str:
    """Random errors that often fall beside each other, as those of a recogniser do."""
    out: list[str] = []
    bad = 0
    for word in text.split():
        bad = rng.randint(1, 4) if rng.random() < rate else bad - 1
        if bad <= 0:
            out.append(word)
            continue
        kind = rng.choice(["sub", "del", "ins", "swap"])
        if kind == "sub":
            out.append(rng.choice(WORDS))
        elif kind == "ins":
            out += [word, rng.choice(WORDS)]
        elif kind == "swap":
            out.insert(max(0, len(out) - 1), word)
    return " ".join(out)


def systems(seed: int, rates: tuple[float, float]) -> tuple[list[str], list[str], list[str]]:
    rng = random.Random(seed)
    references, firsts, seconds = [], [], []
    for text in TEXTS:
        references.append(text)
        firsts.append(corrupt(text, rates[0], rng))
        # Half of the second system's sentences are the first's, as with a model and its quantized copy.
        seconds.append(firsts[-1] if rng.random() < 0.5 else corrupt(text, rates[1], rng))
    return references, firsts, seconds


def ours(references: list[str], firsts: list[str], seconds: list[str]):
    ids = [f"u{i}" for i in range(len(references))]
    by_id = dict(zip(ids, references, strict=True))
    return mapsswe(
        score(by_id, dict(zip(ids, firsts, strict=True))), score(by_id, dict(zip(ids, seconds, strict=True)))
    )


def nist(folder: Path, references: list[str], firsts: list[str], seconds: list[str]) -> dict[str, str]:
    sctk = shutil.which("sctk")
    assert sctk, "this test needs NIST's scoring toolkit: apt-get install sctk"
    for name, texts in (("ref", references), ("one", firsts), ("two", seconds)):
        lines = [f"{text} (s{i % 5}-u{i})\n" for i, text in enumerate(texts)]
        (folder / f"{name}.trn").write_text("".join(lines))
    for name in ("one", "two"):
        command = [sctk, "sclite", "-i", "rm", "-f", "0", "-r", "ref.trn", "trn", "-h", f"{name}.trn", "trn"]
        subprocess.run([*command, name, "-o", "sgml"], cwd=folder, check=True, capture_output=True)
    both = (folder / "one.trn.sgml").read_text() + (folder / "two.trn.sgml").read_text()
    command = [sctk, "sc_stats", "-p", "-t", "mapsswe", "-v", "-n", "-"]
    run = subprocess.run(command, cwd=folder, input=both, check=True, capture_output=True, text=True)
    found = RESULTS.search(run.stdout)
    assert found, run.stdout + run.stderr
    return found.groupdict()


@pytest.mark.parametrize(
    ("seed", "rates"),
    [
        (1, (0.05, 0.05)),
        (2, (0.03, 0.08)),
        (3, (0.15, 0.15)),
        (4, (0.3, 0.2)),
        (5, (0.02, 0.02)),
        (6, (0.5, 0.6)),
    ],
)
def test_agrees_with_nist_in_every_printed_digit(tmp_path, seed, rates):
    texts = systems(seed, rates)
    theirs, test = nist(tmp_path, *texts), ours(*texts)
    printed = {
        "segments": str(test.segments),
        "mean": f"{test.mean:.3f}",
        "std": f"{test.std:.3f}",
        "z": f"{test.z:.3f}",
        "verdict": "Yes" if test.better else "No",
    }
    assert printed == theirs


def test_both_verdicts_occur_in_the_comparison_with_nist():
    verdicts = {ours(*systems(seed, rates)).better for seed, rates in [(1, (0.05, 0.05)), (2, (0.03, 0.08))]}
    assert verdicts == {None, "first"}


def test_insertions_at_the_ends_count_for_both_systems(tmp_path):
    references = ["A B C D E F", "G H I J K"]
    longer = ["X A B C D E F X", "G H I J X"]
    for firsts, seconds in ((references, longer), (longer, references)):
        assert (
            str(ours(references, firsts, seconds).segments)
            == nist(tmp_path, references, firsts, seconds)["segments"]
        )
    assert ours(references, references, longer).segments == 3


def test_order_of_systems_only_changes_signs():
    references, firsts, seconds = systems(7, (0.05, 0.1))
    there, back = ours(references, firsts, seconds), ours(references, seconds, firsts)
    assert there.better == "first"
    assert back.better == "second"
    assert (there.segments, there.std, there.p_value) == (back.segments, back.std, back.p_value)
    assert (there.mean, there.z) == (-back.mean, -back.z)


def test_p_value_is_the_two_sided_normal_tail():
    test = ours(*systems(8, (0.05, 0.07)))
    assert 0 < test.p_value < 1
    assert test.p_value == pytest.approx(2 * stats.norm.sf(abs(test.z)), rel=1e-12)


def test_identical_systems():
    references, firsts, _ = systems(9, (0.2, 0.2))
    test = ours(references, firsts, firsts)
    assert test.segments > 0
    assert (test.mean, test.z, test.p_value, test.better) == (0, 0, 1, None)
    assert ours(references, references, references).segments == 0


@pytest.mark.parametrize("count", [1, 5, 6, 3000])
def test_constant_difference_is_decided_by_the_sign_test(count):
    references = ["A B C"] * count
    test = ours(references, references, ["A X C"] * count)
    expected = stats.binomtest(count, count).pvalue
    assert test.std == 0
    assert test.p_value == pytest.approx(expected, rel=1e-9, abs=1e-299)
    assert test.better == ("first" if expected < 0.05 else None)
    assert math.isfinite(test.z)


def test_segments_by_hand():
    reference = ["A", "B", "C", "D", "E", "F", "G", "H", "I", "J"]
    first = ["X", "B", "C", "D", "E", "F", "G", "H", "I", "J"]
    second = ["A", "B", "Y", "D", "E", "F", "G", "H", "K", "J"]
    # One right word (B) does not part A and C; D to H do.
    assert segment_errors(reference, first, second) == [(1, 1), (0, 1)]
    # B and C are right in both, but Q stands between them.
    assert segment_errors(reference, first, [*"ABQCDEFGHIJ"]) == [(1, 1)]
    assert segment_errors(reference, first, [*"ABCQDEFGHIJ"]) == [(1, 0), (0, 1)]
    assert segment_errors(reference, reference, reference) == []
    assert segment_errors([], ["A"], ["A", "B"]) == [(1, 2)]


def test_alignment_by_hand():
    assert align_words([], []) == WordAlignment((), (0,))
    assert align_words(["A"], []) == WordAlignment((True,), (0, 0))
    assert align_words([], ["A", "B"]) == WordAlignment((), (2,))
    assert align_words(["A", "B", "C"], ["A", "X", "C", "D"]) == WordAlignment(
        (False, True, False), (0, 0, 0, 1)
    )


def test_different_utterances_or_references_are_refused():
    one = score({"a": "x y"}, {"a": "x"})
    with pytest.raises(DataError, match="same utterances"):
        mapsswe(one, score({"b": "x y"}, {"b": "x"}))
    with pytest.raises(DataError, match="different references"):
        mapsswe(one, score({"a": "x z"}, {"a": "x"}))
