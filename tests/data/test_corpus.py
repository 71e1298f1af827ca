from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from speechquant.data import Corpus, Utterance
from speechquant.data.fingerprint import content_fingerprint


def corpus(count=100, seconds=2.0):
    return Corpus(
        "c", tuple(Utterance(f"u{n}", Path(f"u{n}.wav"), "a b c", "s", seconds) for n in range(count))
    )


def test_it_is_a_frozen_sequence():
    whole = corpus(3)
    assert isinstance(whole, Sequence)
    assert len(whole) == 3
    assert whole[-1].id == "u2"
    assert [item.id for item in whole[1:]] == ["u1", "u2"]
    assert whole[0] in whole
    with pytest.raises(FrozenInstanceError):
        whole.name = "d"


def test_totals():
    whole = corpus(4)
    assert (whole.seconds, whole.words, whole.has_text) == (8.0, 12, True)
    bare = whole.without_text()
    assert (bare.words, bare.has_text, bare.seconds) == (0, False, 8.0)
    assert all(item.text is None for item in bare)
    assert corpus(4, None).seconds is None


def test_subset_by_count():
    whole = corpus()
    part = whole.subset(limit=10, seed=1)
    assert len(part) == 10
    positions = [whole.utterances.index(item) for item in part]
    assert positions == sorted(positions)
    assert part == whole.subset(limit=10, seed=1)
    assert part != whole.subset(limit=10, seed=2)
    assert set(part) < set(whole.subset(limit=20, seed=1))
    assert whole.subset(limit=1000) == whole
    assert whole.subset() == whole
    assert len(whole.subset(limit=0)) == 0


def test_subset_does_not_depend_on_the_order():
    whole = corpus()
    turned = Corpus("c", whole.utterances[::-1])
    assert set(whole.subset(limit=7)) == set(turned.subset(limit=7))


def test_subset_is_not_the_beginning():
    chosen = {item.id for seed in range(5) for item in corpus().subset(limit=20, seed=seed)}
    assert len(chosen) > 40


def test_subset_by_seconds():
    assert corpus().subset(seconds=21.0).seconds == 20.0
    assert len(corpus().subset(seconds=0.5)) == 1
    assert len(corpus().subset(seconds=21.0, limit=4)) == 4


def test_subset_by_seconds_measures_what_it_takes(tone):
    paths = [tone(f"{n}.wav", seconds=1 + n / 2) for n in range(4)]
    whole = Corpus("c", tuple(Utterance(path.stem, path) for path in [*paths, Path("missing.wav")]))
    assert whole.seconds is None
    part = whole.subset(seconds=3.0)
    assert sum(item.seconds or 0 for item in part) <= 3.0
    # What cannot be measured stays where it was ranked, to be reported.
    assert "missing" in {item.id for item in whole.subset(seconds=100.0)}
    measured = whole.subset(seconds=100.0)
    assert [item.seconds for item in measured] == [1.0, 1.5, 2.0, 2.5, None]
    assert Corpus("c", measured.utterances[:4]).seconds == 7.0


def test_signature_follows_id_text_and_file(tone):
    path = tone("a.wav")
    base = Utterance("a", path, "x")

    def sign(*items):
        return Corpus("n", items).signature

    first = sign(base)
    assert len(first) == 64
    assert first == Corpus("other name", (base,)).signature
    others = [
        sign(Utterance("b", path, "x")),
        sign(Utterance("a", path, "y")),
        sign(Utterance("a", path, None)),
        sign(Utterance("a", path, "None")),
        sign(Utterance("a", path.with_name("no.wav"), "x")),
        sign(base, base),
        sign(),
    ]
    tone("a.wav", seconds=2)
    others.append(sign(base))
    assert len({first, *others}) == 9


def test_a_copy_has_the_same_signature(tone, tmp_path):
    path = tone("a.wav")
    copy = tmp_path / "elsewhere.wav"
    copy.write_bytes(path.read_bytes())
    os.utime(copy, ns=(1, 1))
    first, second = (Corpus("n", (Utterance("a", audio, "x"),)).signature for audio in (path, copy))
    assert first == second
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    copy.write_bytes(data)
    assert Corpus("n", (Utterance("a", copy, "x"),)).signature != first


def test_a_file_is_hashed_once(tone, monkeypatch):
    path, opened = tone("once.wav"), []
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *a, **k: (opened.append(self), real(self, *a, **k))[1])
    assert content_fingerprint(path) == content_fingerprint(path) == digest
    assert opened.count(path) == 1
    assert content_fingerprint(path.with_name("missing.wav")) is None


def test_signature_keeps_fields_apart(tone):
    path = tone()
    one = Corpus("n", (Utterance("a", path, "b, c"), Utterance("d", path, "e")))
    two = Corpus("n", (Utterance("a', 'b", path, "c"), Utterance("d", path, "e")))
    assert one.signature != two.signature
