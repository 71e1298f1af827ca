from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import evaluation_fakes as fakes
import jiwer
import numpy as np
import pytest
import soundfile

from speechquant.data import Corpus, Utterance
from speechquant.errors import DataError, EngineError, RecipeError
from speechquant.evaluation import EvaluationStore, Evaluator
from speechquant.metrics import WordErrors, bootstrap_interval


def evaluator(store=None, **kwargs):
    return Evaluator("none", store, loader=fakes.load, **kwargs)


def same(one, two):
    """Equal but for what a run costs."""
    cost = {"elapsed": two.transcription.elapsed, "reused": two.transcription.reused}
    return replace(one, transcription=replace(one.transcription, **cost)) == two


def test_figures_and_record():
    corpus, parrot = fakes.corpus(40), fakes.Parrot()
    result = evaluator().evaluate(parrot, corpus)
    said = [parrot._say(i).text for i in range(40)]
    assert result.wer == pytest.approx(100 * jiwer.wer([u.text for u in corpus], said))
    assert result.errors == WordErrors(words=130, deletions=8)
    assert [t.text for t in result.transcripts.values()] == said
    assert list(result.transcripts) == [u.id for u in corpus]
    assert (result.capped, result.skipped, result.transcription.reused) == (4, (), 0)
    assert result.seconds == pytest.approx(0.4)
    assert result.elapsed > 0
    assert (result.backend, result.signature, result.normalizer) == ("parrot", "parrot-1", "none")
    assert result.references == "transcripts"
    assert set(result.score.speakers) == {"s0", "s1", "s2"}
    assert result.figures()["low"] < result.wer < result.figures()["high"]


def test_the_seed_draws_the_interval():
    corpus = fakes.corpus(40)
    found = [evaluator(seed=seed).evaluate(fakes.Parrot(), corpus) for seed in (0, 7)]
    expected = [
        bootstrap_interval(result.score, seed=seed) for result, seed in zip(found, (0, 7), strict=True)
    ]
    assert [result.interval for result in found] == expected
    assert expected[0] != expected[1]


def test_chunks_are_bounded_in_number_and_seconds():
    parrot = fakes.Parrot()
    evaluator().evaluate(parrot, fakes.corpus(40))
    assert [len(call) for call in parrot.calls] == [16, 16, 8]
    parrot = fakes.Parrot()
    evaluator().evaluate(parrot, fakes.corpus(5, seconds=100.0))
    assert [len(call) for call in parrot.calls] == [2, 2, 1]
    parrot = fakes.Parrot()
    evaluator().evaluate(parrot, fakes.corpus(2, seconds=300.0))
    assert [len(call) for call in parrot.calls] == [1, 1]


def test_second_evaluation_recognises_nothing_and_is_the_same(tmp_path):
    with EvaluationStore(tmp_path / "e.sqlite") as store:
        first = evaluator(store).evaluate(fakes.Parrot(), fakes.corpus(20))
        parrot = fakes.Parrot()
        second = evaluator(store).evaluate(parrot, fakes.corpus(20))
        assert parrot.calls == []
        assert second.transcription.reused == 20
        assert same(second, first)
        other = fakes.Parrot("parrot-2")
        evaluator(store).evaluate(other, fakes.corpus(20))
        assert sum(map(len, other.calls)) == 20


def test_changed_audio_is_recognised_again(tmp_path):
    corpus = fakes.corpus(5)
    with EvaluationStore(tmp_path / "e.sqlite") as store:
        evaluator(store).evaluate(fakes.Parrot(), corpus)
        corpus[3] = replace(corpus[3], audio=fakes.Tone(3, version="2"))
        parrot = fakes.Parrot()
        evaluator(store).evaluate(parrot, corpus)
        assert parrot.calls == [[3]]


@pytest.mark.parametrize("call", [1, 4, 7])
def test_killed_run_repeats_at_most_one_chunk(tmp_path, call):
    database, log = tmp_path / "e.sqlite", tmp_path / "log"
    script = [sys.executable, fakes.__file__, str(database), str(log), str(call)]
    killed = subprocess.run(script, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    before = log.read_text().split()
    with EvaluationStore(database) as store:
        resumed = evaluator(store).evaluate(fakes.Parrot(log=log), fakes.corpus(100))
    times = Counter(log.read_text().split())
    assert set(times) == {str(i) for i in range(100)}
    assert sum(count - 1 for count in times.values()) == len(before) - resumed.transcription.reused <= 16
    whole = evaluator().evaluate(fakes.Parrot(), fakes.corpus(100))
    assert same(resumed, whole)


def test_finished_chunks_survive_an_exception(tmp_path):
    class Fails(fakes.Parrot):
        def recognize(self, waves):
            if len(self.calls) == 2:
                raise KeyboardInterrupt
            return super().recognize(waves)

    with EvaluationStore(tmp_path / "e.sqlite") as store:
        with pytest.raises(KeyboardInterrupt):
            evaluator(store).evaluate(Fails(), fakes.corpus(40))
        assert evaluator(store).evaluate(fakes.Parrot(), fakes.corpus(40)).transcription.reused == 32


def test_bad_utterances_are_skipped_and_counted_also_when_resumed(tmp_path):
    corpus = [*fakes.corpus(3), Utterance("bad", fakes.Tone(1), text="X")]
    seen = []
    with EvaluationStore(tmp_path / "e.sqlite") as store:
        first = evaluator(store).evaluate(
            fakes.Parrot(), corpus, lambda done, total: seen.append((done, total))
        )
        second = evaluator(store).evaluate(fakes.Parrot(), corpus)
    assert [(s.id, s.reason) for s in first.skipped] == [("bad", "silent")]
    assert first.errors.words == 9
    assert (second.skipped, second.transcription.reused) == (first.skipped, 3)
    assert seen[0] == (0, 4)
    assert seen[-1] == (4, 4)
    with pytest.raises(DataError, match="'bad' is bad"):
        evaluator(strict=True).evaluate(fakes.Parrot(), corpus)
    with pytest.raises(
        DataError, match=r"no usable speech in the evaluation set: 1 of 1 skipped, .*: silent"
    ):
        evaluator().evaluate(fakes.Parrot(), corpus[3:])
    named = Corpus("dev", (Utterance("bad1", fakes.Tone(1)), Utterance("bad2", fakes.Tone(1))))
    with pytest.raises(DataError, match="in the dev set: 2 of 2 skipped, the first: silent"):
        evaluator().transcribe(fakes.Parrot(), named)


def test_missing_texts_are_refused():
    with pytest.raises(
        DataError, match=r"evaluation: none of its 3 utterances has a transcript; write them down$"
    ):
        evaluator().evaluate(fakes.Parrot(), fakes.corpus(3, text=False))


def test_rows_without_text_are_counted_skips_also_when_their_transcript_is_stored(tmp_path):
    whole = fakes.corpus(5)
    corpus = [replace(whole[0], text=None), *whole[1:3], replace(whole[3], text=" "), whole[4]]
    with EvaluationStore(tmp_path / "e.sqlite") as store:
        evaluator(store).evaluate(fakes.Parrot(), whole)
        parrot = fakes.Parrot()
        found = evaluator(store).evaluate(parrot, corpus)
    assert parrot.calls == []
    assert list(found.transcripts) == ["u1", "u2", "u4"]
    assert [(skip.id, "no transcript" in skip.reason) for skip in found.skipped] == [
        ("u0", True),
        ("u3", True),
    ]
    assert same(found, replace(evaluator().evaluate(fakes.Parrot(), corpus)))
    parrot = fakes.Parrot()
    with pytest.raises(
        DataError, match=r"2 of 5 skipped, the first: utterance 'u0' has no transcript.*--strict"
    ):
        evaluator(strict=True).evaluate(parrot, corpus)
    assert parrot.calls == []


def test_float_model_as_reference():
    corpus = [*fakes.corpus(10, text=False), Utterance("bad", fakes.Tone(1))]

    class Perfect(fakes.Parrot):
        def _say(self, number):
            return fakes.Transcript(fakes.SAID[number % 4])

    said = evaluator().transcribe(Perfect(), corpus)
    assert said.texts == {f"u{i}": fakes.SAID[i % 4] for i in range(10)}
    assert [skipped.id for skipped in said.skipped] == ["bad"]
    result = evaluator(references=said.texts).evaluate(fakes.Parrot(), corpus)
    assert result.references == "float model"
    assert result.errors.deletions == 2
    with pytest.raises(DataError, match="'u1' has no reference from the float model"):
        evaluator(references={"u0": "X"}).evaluate(fakes.Parrot(), corpus)


def test_loader_that_gives_up_half_way_is_not_taken_for_the_end(tmp_path):
    def gives_up(utterances, *, strict, on_skip):
        yield from fakes.load(list(utterances)[:20], strict=strict, on_skip=on_skip)
        raise DataError("the disk went away")

    with EvaluationStore(tmp_path / "e.sqlite") as store:
        evaluator(store).evaluate(fakes.Parrot(), fakes.corpus(3))
        with pytest.raises(DataError, match="went away"):
            Evaluator("none", store, loader=gives_up).evaluate(fakes.Parrot(), fakes.corpus(40))


def test_compare():
    corpus = fakes.corpus(40)
    good = evaluator(references={u.id: fakes.Parrot._say(i).text for i, u in enumerate(corpus)})
    perfect = good.evaluate(fakes.Parrot(), corpus)
    assert perfect.wer == 0

    class Mute(fakes.Parrot):
        def _say(self, number):
            return replace(fakes.Parrot._say(number), text="")

    mute = good.evaluate(Mute(), corpus)
    assert mute.wer == 100
    assert perfect.compare(mute).better == "first"
    assert mute.compare(perfect).better == "second"
    assert perfect.compare(perfect).p_value == 1
    with pytest.raises(DataError, match="cannot compare"):
        perfect.compare(evaluator().evaluate(fakes.Parrot(), corpus))


def test_refusals():
    with pytest.raises(RecipeError, match="unknown text normaliser"):
        Evaluator("nothing", loader=fakes.load)
    with pytest.raises(DataError, match="occurs more than once"):
        evaluator().evaluate(fakes.Parrot(), fakes.corpus(2) + fakes.corpus(1))
    with pytest.raises(DataError, match="nothing to score"):
        evaluator().evaluate(fakes.Parrot(), [])

    class Short(fakes.Parrot):
        def recognize(self, waves):
            return super().recognize(waves)[1:]

    with pytest.raises(EngineError, match="returned 1 transcripts for 2"):
        evaluator().evaluate(Short(), fakes.corpus(2))


def test_real_files_through_the_default_loader(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.wav" for i in range(3)]
    for path in paths:
        soundfile.write(path, rng.normal(0, 0.1, 16000), 16000)
    corpus = [Utterance(path.stem, path, text="A B") for path in paths]

    class Fixed(fakes.Parrot):
        def recognize(self, waves):
            self.calls.append([len(wave) for wave in waves])
            return [fakes.Transcript("A B") for _ in waves]

    with EvaluationStore(tmp_path / "e.sqlite") as store:
        assert Evaluator("none", store).evaluate(Fixed(), corpus).wer == 0
        copy = tmp_path / "copy.wav"
        copy.write_bytes(paths[0].read_bytes())
        os.utime(copy, (1, 1))
        corpus[0] = Utterance("0", copy, text="A B")
        soundfile.write(paths[1], rng.normal(0, 0.1, 16000), 16000)
        again = Fixed()
        assert Evaluator("none", store).evaluate(again, corpus).transcription.reused == 2
        assert again.calls == [[16000]]
