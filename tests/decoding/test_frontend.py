from __future__ import annotations

import numpy as np
import pytest
from transformers import Wav2Vec2FeatureExtractor

from speechquant.decoding import prepare_wave
from speechquant.errors import AudioError


@pytest.mark.parametrize("normalize", [True, False])
def test_equals_the_feature_extractor_of_transformers(normalize):
    wave = np.random.default_rng(0).normal(0.1, 0.02, 5000).astype(np.float32)
    oracle = Wav2Vec2FeatureExtractor(do_normalize=normalize)(wave, sampling_rate=16_000)["input_values"][0]
    ours = prepare_wave(wave, normalize=normalize, minimum=400)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, oracle, atol=1e-5)


def test_a_short_wave_is_padded_with_zeros():
    ours = prepare_wave(np.ones(10, dtype=np.float32), normalize=False, minimum=400)
    assert ours.shape == (400,)
    assert ours.sum() == 10


def test_silence_stays_finite():
    assert not prepare_wave(np.zeros(500, dtype=np.float32), normalize=True, minimum=400).any()


@pytest.mark.parametrize(
    "wave", [np.zeros(0), np.zeros((2, 100)), np.array([0.0, np.nan]), np.array([np.inf, 0.0])]
)
def test_unusable_waves_are_refused(wave):
    with pytest.raises(AudioError):
        prepare_wave(wave.astype(np.float32), normalize=True, minimum=400)
