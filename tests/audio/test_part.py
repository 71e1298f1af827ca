from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import soundfile

from speechquant.audio import load_audio, load_part, stream_audio
from speechquant.audio import part as module
from speechquant.errors import AudioError

FORMATS = [
    ("a.wav", 16_000, {}),
    ("a.wav", 8_000, {}),
    ("a.flac", 44_100, {}),
    ("a.wav", 11_025, {"subtype": "PCM_24"}),
    ("a.wav", 15_999, {}),
    ("a.mp3", 44_100, {}),
    ("a.ogg", 22_050, {"format": "OGG", "subtype": "OPUS"}),
]


def write(path, rate, seconds=8, channels=2, **options):
    noise = np.random.default_rng(1).normal(0, 0.05, (seconds * rate, channels))
    rate = 24_000 if options.get("subtype") == "OPUS" else rate
    with soundfile.SoundFile(path, "w", rate, channels, **options) as file:
        for block in np.array_split(noise, 100):
            file.write(block)
    return path


@pytest.mark.parametrize(("name", "rate", "options"), FORMATS)
def test_parts_are_those_of_the_whole(tmp_path, name, rate, options):
    path = write(tmp_path / name, rate, **options)
    whole = load_audio(path)
    for start, end in [(0, 8000), (16_001, 16_002), (37_777, 90_000), (100_000, len(whole)), (5, 5)]:
        found = load_part(path, start, end)
        assert found.shape == (end - start,)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, whole[start:end], atol=2e-5)
    tail = load_part(path, len(whole) - 100, len(whole) + 5000)
    assert 99 <= len(tail) <= 101
    assert load_part(path, len(whole) + 16_000, len(whole) + 20_000).size == 0


@pytest.fixture
def unseekable(monkeypatch):
    """Every file counts as one that libsndfile does not read; returns how often one was opened to decode."""
    opened = []

    def stream(*arguments):
        opened.append(arguments[0])
        return stream_audio(*arguments)

    monkeypatch.setattr(module, "NativeReader", type(None))
    monkeypatch.setattr(module, "stream_audio", stream)
    monkeypatch.setattr(module, "_CURSOR", module._Cursor())
    return opened


def test_other_formats_are_decoded_once_for_parts_in_order(tmp_path, unseekable):
    path = write(tmp_path / "a.wav", 8000, seconds=23)
    whole = load_audio(path)
    edges = [0, 1, 70_000, 80_000, 80_000, 170_001, 250_000, len(whole) + 9]
    for start, end in pairwise(edges):
        np.testing.assert_array_equal(load_part(path, start, end), whole[start:end])
    assert len(unseekable) == 1
    np.testing.assert_array_equal(load_part(path, 200_000, 200_100), whole[200_000:200_100])
    np.testing.assert_array_equal(load_part(path, 200_050, 330_000), whole[200_050:330_000])
    assert len(unseekable) == 3
    other = write(tmp_path / "b.wav", 16_000)
    np.testing.assert_array_equal(load_part(other, 9, 99), load_audio(other)[9:99])
    assert load_part(path, 10**6, 10**6 + 9).size == 0


def test_codec_files(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "a.m4a"
    noise = np.random.default_rng(2).normal(0, 0.1, 16_000 * 7).astype(np.float32)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(noise[None], format="fltp", layout="mono")
        frame.sample_rate = 16_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    whole = load_audio(path)
    np.testing.assert_array_equal(load_part(path, 30_000, 90_000), whole[30_000:90_000])


def test_refusals(tmp_path):
    with pytest.raises(AudioError, match="not found"):
        load_part(tmp_path / "gone.wav", 0, 10)
    for start, end in [(-1, 5), (5, 4)]:
        with pytest.raises(ValueError, match="no part"):
            load_part(tmp_path / "gone.wav", start, end)
