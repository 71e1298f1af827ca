from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechquant.audio import check_speech, normalise
from speechquant.errors import AudioError

GOOD = np.linspace(-0.5, 0.5, 16_000, dtype=np.float32)


def with_one(value):
    samples = GOOD.copy()
    samples[8000] = value
    return samples


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(0, np.float32), "no samples"),
        (GOOD[:100], "too short"),
        (np.tile(GOOD, 11), "longer than 10"),
        (with_one(np.nan), "NaN or infinite sample at 0.500 s"),
        (with_one(np.inf), "NaN or infinite"),
        (with_one(1e38), r"a sample of 1e\+38 at 0.500 s, where full scale is 1"),
        (np.zeros(16_000, np.float32), "silent"),
        (np.zeros((16_000, 2), np.float32), "shape"),
    ],
)
def test_what_cannot_be_speech_is_refused(samples, message):
    with pytest.raises(AudioError, match=f"^call 3: .*{message}"):
        check_speech(samples, "call 3", maximum_seconds=10)


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (50, "0.003 seconds is too short; at least 0.1 are needed"),
        (1599, "0.0999 seconds is too short; at least 0.1 are needed"),
        (16_001, "1.0001 seconds is longer than 1; cut it"),
        (40_000, "2.500 seconds is longer than 1; cut it"),
    ],
)
def test_a_length_is_told_apart_from_the_limit(size, said):
    with pytest.raises(AudioError, match=f"^call: {said}"):
        check_speech(np.resize(GOOD, size), "call", maximum_seconds=1)


def test_limits_are_inclusive():
    check_speech(GOOD, "one second", minimum_seconds=1.0, maximum_seconds=1.0)


def test_a_single_sample_of_sound_is_not_silence():
    samples = np.zeros(16_000, np.float32)
    samples[77] = 1e-6
    check_speech(samples, "click")


@settings(max_examples=25, deadline=None)
@given(st.integers(400, 20_000), st.floats(1e-4, 1.0), st.floats(-0.5, 0.5), st.integers(0, 99))
def test_normalise_agrees_with_transformers(size, spread, offset, seed):
    extractor = pytest.importorskip("transformers").Wav2Vec2FeatureExtractor
    samples = (np.random.default_rng(seed).normal(offset, spread, size)).astype(np.float32)
    expected = extractor(do_normalize=True)(samples, sampling_rate=16_000).input_values[0]
    result = normalise(samples)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=1e-3, atol=2e-4)


def test_normalise_keeps_accuracy_over_an_hour():
    samples = (0.001 * np.sin(np.arange(16_000 * 600)) + 0.9).astype(np.float32)
    result = normalise(samples).astype(np.float64)
    assert abs(result.mean()) < 1e-6
    assert result.var() == pytest.approx(5e-7 / (5e-7 + 1e-7), rel=1e-2)
