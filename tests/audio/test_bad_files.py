from __future__ import annotations

import os
import struct
import sys

import numpy as np
import pytest
import soundfile

from speechquant.audio import audio_info, decode_audio, load_audio, load_part, stream_audio
from speechquant.audio.container import sniff
from speechquant.errors import AudioError, MissingExtraError

OPUS = {"format": "OGG", "subtype": "OPUS"}


def refused(path, match):
    with pytest.raises(AudioError, match=match) as caught:
        load_audio(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message


def test_missing(tmp_path):
    refused(tmp_path / "no.wav", "not found")


def test_folder(tmp_path):
    refused(tmp_path, "is a folder")


def test_impossible_names(tmp_path):
    refused(tmp_path / ("x" * 300 + ".wav"), "cannot be opened")
    refused(tmp_path / "a\0b.wav", "cannot be opened")


def test_empty(tmp_path):
    (tmp_path / "e.wav").touch()
    refused(tmp_path / "e.wav", "0 bytes")


def test_no_samples(tone):
    refused(tone(seconds=0), "no samples")


@pytest.mark.parametrize("name", ["text.wav", "text.flac", "text.raw", "text", "text.mp3"])
def test_not_audio(tmp_path, name):
    (tmp_path / name).write_text("this is not audio\n" * 50)
    refused(tmp_path / name, "not an audio file")


def test_random_bytes(tmp_path):
    (tmp_path / "r.wav").write_bytes(np.random.default_rng(3).bytes(5000))
    refused(tmp_path / "r.wav", "not an audio file|damaged")


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.wav", {}), ("a.flac", {}), ("a.aiff", {}), ("a.ogg", {}), ("a.opus", OPUS), ("a.mp3", {})],
)
@pytest.mark.parametrize("part", [0.3, 0.8])
def test_truncated(tone, name, options, part):
    path = tone(name, seconds=3, **options)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    refused(path, "truncated")
    with pytest.raises(AudioError, match="truncated"):
        list(stream_audio(path))


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.aiff", "a.mp3", "a.ogg"])
def test_cut_inside_the_header(tone, name):
    path = tone(name)
    path.write_bytes(path.read_bytes()[:20])
    refused(path, "truncated|damaged")


def test_wrong_bytes_in_the_middle(tone):
    path = tone("a.flac", seconds=3)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 300] = b"\xa5" * 300
    path.write_bytes(data)
    refused(path, "damaged")


def test_a_wav_from_a_pipe_states_no_length(tone):
    path = tone()
    data = bytearray(path.read_bytes())
    data[data.index(b"data") + 4 : data.index(b"data") + 8] = b"\xff" * 4
    path.write_bytes(data)
    assert load_audio(path).size == 16_000


def test_absurd_sampling_rate(tone):
    path = tone()
    data = bytearray(path.read_bytes())
    data[24:28] = struct.pack("<I", 1)
    path.write_bytes(data)
    refused(path, "states 1 Hz")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_non_finite(tmp_path, bad, rate):
    samples = np.full((rate, 2), 0.1, np.float32)
    samples[rate // 2, 1] = bad
    soundfile.write(tmp_path / "n.wav", samples, rate, subtype="FLOAT")
    refused(tmp_path / "n.wav", "NaN or infinite sample at 0.500 s")


@pytest.mark.parametrize(("largest", "shown"), [(1e38, "1e\\+38"), (-3e30, "3e\\+30"), (3e9, "3e\\+09")])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_beyond_any_scale(tmp_path, largest, shown, rate):
    samples = np.full((rate, 2), 0.1, np.float32)
    samples[rate // 2, 1] = largest
    path = tmp_path / "loud.wav"
    soundfile.write(path, samples, rate, subtype="FLOAT")
    refused(path, f"a sample of {shown} at 0.500 s, where full scale is 1; ")
    with pytest.raises(AudioError, match=r"loud\.wav: .* at 0\.500 s"):
        load_part(path, 6_000, 9_000)
    assert load_part(path, 0, 2_000).size == 2_000


def test_integers_as_floats_are_loaded(tmp_path):
    samples = (32_767 * np.sin(np.arange(16_000))).astype(np.float32)
    soundfile.write(tmp_path / "scale.wav", samples, 16_000, subtype="FLOAT")
    np.testing.assert_array_equal(load_audio(tmp_path / "scale.wav"), samples)


def test_bytes_are_named_by_the_caller():
    with pytest.raises(AudioError, match=r"^row 7: .*not an audio file"):
        decode_audio(b"plain text, long enough", "row 7")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable for root")
def test_no_permission(tone):
    path = tone()
    path.chmod(0)
    refused(path, "[Pp]ermission")


CONTAINERS = [b"\0\0\0\x20ftypM4A \0\0\0\0", b"\x1aE\xdf\xa3" + b"\0" * 12, b"\xff\xf1" + b"\0" * 14]


@pytest.mark.parametrize("head", CONTAINERS)
def test_without_pyav_the_extra_is_named(tmp_path, monkeypatch, head):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.bin").write_bytes(head * 20)
    for call in (load_audio, audio_info):
        with pytest.raises(MissingExtraError, match=r"pip install 'speechquant\[codecs\]'"):
            call(tmp_path / "a.bin")


def test_without_pyav_damage_is_still_damage(tone, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    path = tone("a.flac")
    path.write_bytes(b"fLaC" + b"\0" * 100)
    refused(path, "damaged")


def test_signatures_are_told_apart():
    assert sniff(b"\xff\xfb\x90\x64") == "native"
    assert sniff(b"\xff\xf1\x50\x80") == "codec"
    assert sniff(b"RIFF\0\0\0\0AVI LIST") == "codec"
    assert sniff(b"RIFF\0\0\0\0WAVEfmt ") == "native"
    assert sniff(b"") is None
