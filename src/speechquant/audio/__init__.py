"""Decode audio files to 16 kHz mono float32, refuse what holds no speech, normalise the rest."""

from __future__ import annotations

from speechquant.audio.ahead import read_ahead
from speechquant.audio.check import check_length, check_speech, normalise
from speechquant.audio.container import is_audio_name
from speechquant.audio.load import (
    SAMPLING_RATE,
    AudioInfo,
    audio_info,
    decode_audio,
    load_audio,
    stated_seconds,
    stream_audio,
)
from speechquant.audio.part import load_part

__all__ = [
    "SAMPLING_RATE",
    "AudioInfo",
    "audio_info",
    "check_length",
    "check_speech",
    "decode_audio",
    "is_audio_name",
    "load_audio",
    "load_part",
    "normalise",
    "read_ahead",
    "stated_seconds",
    "stream_audio",
]
