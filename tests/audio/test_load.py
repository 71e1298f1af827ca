from __future__ import annotations

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from speechquant.audio import audio_info, decode_audio, load_audio, stream_audio
from speechquant.errors import AudioError


def sine(seconds, rate, hertz=440.0, amplitude=0.3):
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def middle(x, edge=1600):
    return x[edge:-edge]


def test_sixteen_kilohertz_wav_is_read_unchanged(tone):
    path = tone(subtype="FLOAT")
    samples = load_audio(path)
    assert samples.dtype == np.float32
    assert samples.shape == (16_000,)
    np.testing.assert_array_equal(samples, soundfile.read(path, dtype="float32")[0])


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_resampling_gives_the_sine_that_was_sampled(tone, rate):
    samples = load_audio(tone(rate=rate, seconds=2, subtype="FLOAT"))
    assert samples.shape == (32_000,)
    np.testing.assert_allclose(middle(samples), middle(sine(2, 16_000)), atol=2e-4)


def test_resampling_removes_what_the_new_rate_cannot_hold(tone):
    samples = load_audio(tone(rate=48_000, hertz=11_000, subtype="FLOAT"))
    assert np.abs(middle(samples)).max() < 1e-3


def test_resampled_noise_agrees_with_scipy(tmp_path):
    rng = np.random.default_rng(0)
    # Noise below 3 kHz: the two filters differ only near the band's edge.
    noise = resample_poly(rng.standard_normal(6_000), 8, 1)[:48_000] * 0.05
    soundfile.write(tmp_path / "n.wav", noise, 48_000, subtype="FLOAT")
    expected = resample_poly(noise, 1, 3, window=("kaiser", 12.0))
    np.testing.assert_allclose(middle(load_audio(tmp_path / "n.wav")), middle(expected), atol=2e-3)


def test_channels_are_averaged(tmp_path):
    left, right = sine(1, 16_000), sine(1, 16_000, 1000.0)
    soundfile.write(tmp_path / "s.wav", np.stack([left, right, 0 * left], axis=1), 16_000, subtype="FLOAT")
    np.testing.assert_allclose(load_audio(tmp_path / "s.wav"), (left + right) / 3, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("a.flac", {}, 1e-4),
        ("a.aiff", {}, 1e-4),
        ("a.ogg", {}, 0.02),
        ("a.opus", {"format": "OGG", "subtype": "OPUS"}, 0.02),
        ("a.mp3", {}, 0.02),
    ],
)
def test_every_native_format_keeps_the_tone(tone, name, options, tolerance):
    path = tone(name, seconds=2, **options)
    samples = load_audio(path)
    assert samples.size == 32_000
    np.testing.assert_allclose(middle(samples, 4000), middle(sine(2, 16_000), 4000), atol=tolerance)
    np.testing.assert_array_equal(samples, decode_audio(path.read_bytes(), "bytes"))
    assert audio_info(path).seconds == pytest.approx(2.0)


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("block", [0.01, 0.37, 1.0, 60.0])
def test_streamed_blocks_put_together_are_the_whole(tone, rate, block):
    path = tone(rate=rate, seconds=5.3, channels=2)
    blocks = list(stream_audio(path, block))
    assert all(len(part) == round(block * 16_000) for part in blocks[:-1])
    assert 0 < len(blocks[-1]) <= round(block * 16_000)
    np.testing.assert_array_equal(np.concatenate(blocks), load_audio(path))


def test_streaming_does_not_read_ahead(tone, monkeypatch):
    path = tone(rate=44_100, seconds=60)
    read = []
    original = soundfile.SoundFile.read
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *a, **k: read.append(1) or original(*a, **k))
    next(stream_audio(path, 1.0))
    assert len(read) <= 2


def test_a_limit_stops_decoding(tone, monkeypatch):
    path = tone(seconds=120)
    read = []
    original = soundfile.SoundFile.read
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *a, **k: read.append(1) or original(*a, **k))
    with pytest.raises(AudioError, match="longer than 2 seconds"):
        load_audio(path, maximum_seconds=2.0)
    assert len(read) == 1


def test_info_is_of_the_file_not_of_the_result(tone):
    info = audio_info(tone(rate=44_100, seconds=2, channels=2))
    assert (info.seconds, info.sampling_rate, info.channels) == (2.0, 44_100, 2)


def test_a_block_must_have_a_length(tone):
    with pytest.raises(ValueError, match="positive"):
        next(stream_audio(tone(), 0.0))


def test_real_speech_has_the_stated_length(speech):
    path = min((speech / "test").glob("*.flac"))
    samples = load_audio(path)
    assert samples.size == soundfile.info(path).frames
    assert 0.01 < samples.std() < 0.5
