from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import soundfile

from speechquant.report.recordings import audio_uri, embed

RATE = 16_000
TONE = (0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)


def decoded(address):
    kind, _, data = address.partition(";base64,")
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(data)))
    return kind, samples, rate


@pytest.mark.parametrize(("formats", "kind"), [({"MP3": ""}, "data:audio/mpeg"), ({}, "data:audio/flac")])
def test_a_recording_sounds_as_before(monkeypatch, formats, kind):
    monkeypatch.setattr(soundfile, "available_formats", lambda: formats)
    found, samples, rate = decoded(audio_uri(TONE, RATE))
    assert (found, rate) == (kind, RATE)
    assert samples.size == pytest.approx(RATE, abs=3000)
    spectrum = np.abs(np.fft.rfft(samples[2000 : 2000 + RATE // 2]))
    assert np.argmax(spectrum) * 2 == pytest.approx(440, abs=4)


def test_the_page_grows_no_further_than_the_limit_and_nothing_is_read_in_vain():
    one = len(audio_uri(TONE, RATE))
    read = []

    def recordings():
        for name in "abcd":
            read.append(name)
            yield name, TONE

    found = embed(recordings(), RATE, limit=int(2.5 * one))
    assert list(found) == ["a", "b"]
    assert read == ["a", "b", "c"]
    assert sum(map(len, found.values())) <= 2.5 * one
