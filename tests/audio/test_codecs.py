from __future__ import annotations

import numpy as np
import pytest

from speechquant.audio import audio_info, decode_audio, load_audio, stream_audio
from speechquant.errors import AudioError

av = pytest.importorskip("av")

FORMATS = [("a.m4a", "aac"), ("a.mp4", "aac"), ("a.webm", "libopus"), ("a.aac", "aac"), ("a.mka", "aac")]


def encode(path, codec, seconds=2.0, rate=48_000):
    wave = (0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)).astype(np.float32)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
        frame.sample_rate = rate
        for part in av.AudioResampler(format=stream.format.name, layout="stereo", rate=rate).resample(frame):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("name", "codec"), FORMATS)
def test_the_tone_comes_back(tmp_path, name, codec):
    path = encode(tmp_path / name, codec)
    samples = load_audio(path)
    assert samples.dtype == np.float32
    assert samples.size / 16_000 == pytest.approx(2.0, abs=0.1)
    spectrum = np.abs(np.fft.rfft(samples[4000:20_000]))
    assert np.argmax(spectrum) == 440
    assert np.abs(samples[4000:20_000]).max() == pytest.approx(0.3, abs=0.03)
    info = audio_info(path)
    assert (info.sampling_rate, info.channels) == (48_000, 2)
    assert info.seconds == pytest.approx(2.0, abs=0.1)
    np.testing.assert_array_equal(np.concatenate(list(stream_audio(path, 0.3))), samples)
    np.testing.assert_array_equal(decode_audio(path.read_bytes(), "bytes"), samples)


@pytest.mark.parametrize(("name", "codec"), FORMATS)
@pytest.mark.parametrize("part", [0.05, 0.5])
def test_truncated(tmp_path, name, codec, part):
    path = encode(tmp_path / name, codec)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(AudioError, match=r"truncated|no samples") as caught:
        load_audio(path)
    assert "\n" not in str(caught.value)


def test_a_film_without_sound(tmp_path):
    path = tmp_path / "silent.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))))
        container.mux(stream.encode(None))
    with pytest.raises(AudioError, match="no audio track"):
        load_audio(path)


def test_an_unknown_codec(tone):
    path = tone()
    data = bytearray(path.read_bytes())
    data[20:22] = b"\xfe\x77"
    path.write_bytes(data)
    with pytest.raises(AudioError, match=r"unknown codec|damaged"):
        load_audio(path)
