from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import soundfile

from speechquant.audio import load_audio
from speechquant.data import AudioSource, Corpus, Segment, Skipped, Utterance, divide, iter_loaded, segmented
from speechquant.data.segments import Unusable, plan_cuts
from speechquant.errors import AudioError, DataError

RATE = 16_000


def speech(seconds, seed=0, rate=RATE):
    """Noise with a pause of a quarter second, 50 dB lower, every two and a half seconds."""
    wave = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate))
    second = np.arange(wave.size) / rate
    return np.where(second % 2.5 < 0.25, wave * 0.003, wave).astype(np.float32)


@pytest.fixture
def write(tmp_path):
    def make(name, wave, rate=RATE):
        path = tmp_path / name
        soundfile.write(path, wave, rate)
        return Utterance(path.stem, path, "SOME WORDS", "s1")

    return make


def corpus(*items):
    return Corpus("calls", tuple(items))


def loaded(whole):
    skipped = []
    return list(iter_loaded(whole, strict=False, on_skip=skipped.append)), skipped


@pytest.mark.parametrize("rate", [16_000, 8_000, 44_100])
def test_a_long_file_is_cut_in_its_pauses_and_nothing_is_lost(write, rate):
    item = write("call.wav", speech(130, rate=rate), rate)
    found = segmented(corpus(item))
    assert [u.id for u in found] == [f"call#{n:04}" for n in range(1, len(found) + 1)]
    assert {(u.text, u.speaker) for u in found} == {(None, "s1")}
    spans = [(u.audio.start, u.audio.end) for u in found]
    assert all(one[1] == two[0] for one, two in pairwise(spans))
    assert all(20 <= u.seconds <= 30 for u in found[:-1])
    assert 1 <= found[-1].seconds <= 30
    assert all(0 <= end / RATE % 2.5 <= 0.25 for _, end in spans[:-1])
    whole = load_audio(item.audio)
    pieces, skipped = loaded(found)
    assert skipped == []
    assert [x.size / RATE for _, x in pieces] == [u.seconds for u in found]
    np.testing.assert_allclose(
        np.concatenate([x for _, x in pieces]), whole[spans[0][0] : spans[-1][1]], atol=1e-5
    )
    assert spans[0][0] == 0
    assert whole.size - spans[-1][1] <= 480


def test_short_recordings_stay_as_they_are(write):
    item = write("a.wav", speech(29))
    (found,) = segmented(corpus(item))
    assert (found.id, found.audio, found.text) == ("a", item.audio, None)
    assert len(segmented(corpus(item), maximum_seconds=10)) >= 3
    with pytest.raises(ValueError, match="too short"):
        segmented(corpus(item), maximum_seconds=2)


def test_long_silence_is_left_out_and_short_silence_stays(write):
    quiet = 1e-4 * np.random.default_rng(3).standard_normal(60 * RATE).astype(np.float32)
    item = write(
        "a.wav", np.concatenate([quiet, speech(10), quiet, speech(12, 1), quiet[: 2 * RATE], speech(5, 2)])
    )
    found = segmented(corpus(item))
    spans = [(u.audio.start / RATE, u.audio.end / RATE) for u in found]
    expected = [(60.25 - 0.3, 70 + 0.3), (130.25 - 0.3, 149)]
    np.testing.assert_allclose(spans, expected, atol=0.07)


@pytest.mark.parametrize("seed", range(20))
def test_plans_are_disjoint_bounded_and_without_crumbs(seed):
    rng = np.random.default_rng(seed)
    power = rng.random(rng.integers(990, 9000)) * np.repeat(10.0 ** rng.uniform(-6, 0, 90), 100)[:9000][:1]
    spans = plan_cuts(power, 30.0)
    assert spans[0][0] == 0
    assert spans[-1][1] == power.size
    assert all(one[1] == two[0] for one, two in pairwise(spans))
    assert all(33 <= end - start <= 1000 for start, end in spans)


def test_what_is_just_over_the_limit_leaves_no_crumb():
    (one, two) = plan_cuts(np.append(np.ones(1000), 1.0), 30.0)
    assert one[1] == two[0]
    assert two[1] - two[0] >= 33


def test_a_recording_that_cannot_be_read_to_its_end_is_one_skip_with_its_reason(write, tmp_path):
    wave = speech(70)
    wave[-100] = np.nan
    soundfile.write(tmp_path / "nan.wav", wave, RATE, subtype="FLOAT")
    cut = write("cut.flac", speech(70)).audio
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    bad = [
        Utterance("nan", tmp_path / "nan.wav"),
        Utterance("cut", cut),
        write("silent.wav", np.zeros(60 * RATE)),
        Utterance("gone", tmp_path / "gone.wav"),
        write("zero.wav", np.zeros(0)),
    ]
    found = segmented(corpus(*bad, write("good.wav", speech(40))))
    pieces, skipped = loaded(found)
    assert [u.id for u, _ in pieces] == ["good#0001", "good#0002"]
    reasons = [
        "NaN or infinite sample at 69.99",
        "truncated",
        "silent from beginning to end",
        "not found",
        "no samples",
    ]
    assert [item.id for item in skipped] == [u.id for u in bad]
    for item, reason in zip(skipped, reasons, strict=True):
        assert isinstance(item, Skipped)
        assert reason in item.reason
    with pytest.raises(AudioError, match="NaN"):
        list(iter_loaded(found, strict=True, on_skip=print))


def test_a_fingerprint_is_of_the_contents_and_the_part(write, tmp_path):
    one, two = segmented(corpus(write("a.wav", speech(45))))
    assert isinstance(one.audio, AudioSource)
    assert one.audio.fingerprint() != two.audio.fingerprint()
    copy = tmp_path / "copy.wav"
    copy.write_bytes((tmp_path / "a.wav").read_bytes())
    assert Segment(copy, one.audio.start, one.audio.end).fingerprint() == one.audio.fingerprint()
    write("a.wav", speech(45, seed=9))
    assert (
        Segment(copy, one.audio.start, one.audio.end).fingerprint()
        != Segment(tmp_path / "a.wav", one.audio.start, one.audio.end).fingerprint()
    )


def test_ids_stay_unique(write):
    found = segmented(corpus(write("a.wav", speech(40)), write("a#0001.wav", speech(2))))
    assert [u.id for u in found] == ["a##0001", "a##0002", "a#0001"]


def test_sources_that_are_no_files_are_cut_too():
    class Source:
        def samples(self):
            return speech(65)

        def fingerprint(self):
            return "f"

    found = segmented(corpus(Utterance("row", Source())))
    assert len(found) >= 3
    assert {u.audio.fingerprint().split(":")[0] for u in found} == {"f"}
    np.testing.assert_array_equal(
        np.concatenate([x for _, x in loaded(found)[0]]), speech(65)[: found[-1].audio.end]
    )


def test_memory_does_not_grow_with_the_file(write):
    item = write("a.wav", np.tile(speech(60), 20))
    tracemalloc.start()
    try:
        found = segmented(corpus(item))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found) >= 40
    assert peak < 0.25 * 4 * 1200 * RATE


def roles(*items, **options):
    parts, warnings = divide(segmented(corpus(*items)), **options)
    return [[u.id for u in part] for part in parts], warnings


@pytest.mark.parametrize("seed", range(4))
def test_the_segments_of_a_file_serve_in_one_role(write, seed):
    items = [write(f"{n}.wav", speech(35 + 5 * n, seed=n)) for n in range(6)]
    parts, warnings = roles(*items, seed=seed)
    files = [{name.split("#")[0] for name in part} for part in parts]
    assert [len(part) for part in files] == [1, 3, 2]
    assert set.union(*files) == {str(n) for n in range(6)}
    assert sum(map(len, parts)) == len(segmented(corpus(*items)))
    assert warnings == []


def test_one_long_call_is_divided_by_time_with_a_warning(write):
    parts, warnings = roles(write("call.wav", speech(150)))
    joined = [name for part in parts for name in part]
    assert all(parts)
    assert joined == sorted(joined)
    assert len(warnings) == 1
    assert "1 recording for three roles" in warnings[0]


def test_unusable_recordings_do_not_take_a_role(write, tmp_path):
    bad = [Utterance(str(n), tmp_path / f"{n}.wav") for n in range(4)]
    bad.append(write("4.wav", np.zeros(RATE)))
    good = [write(f"good{n}.wav", speech(3, n)) for n in range(3)]
    parts, _ = roles(*bad, *good)
    assert [len([name for name in part if name.startswith("good")]) for part in parts] == [1, 1, 1]
    assert parts[0][1:] == ["0", "1", "2", "3", "4"]
    with pytest.raises(DataError, match=r"calls set: 5 of 5 skipped, the first: .*0\.wav.*not found"):
        roles(*bad)
    with pytest.raises(DataError, match=r"at least 3 audio files.*over a minute \(5 of 6 skipped, the first"):
        roles(*bad, good[0])
    assert isinstance(segmented(corpus(bad[0]))[0].audio, Unusable)
