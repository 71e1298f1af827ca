"""What the tests of several engines measure alike."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import onnxruntime

from speechquant.engines.cpu import read_cpu

CTC = ["wav2vec2-base", "hubert-large", "wavlm-base", "data2vec-audio-base"]
ALL = [*CTC, "moonshine-tiny"]


def plain_session(model):
    """A session of anybody's, which asks for exact products where docs/engines.md says that it has to."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if read_cpu().saturates:
        options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(model, options)


def torch_outputs(model, features):
    """Logits of a CTC model; for Moonshine what a decoder is fed with."""
    out = model.parts()[0].module(features)
    return [t.numpy() for t in (out if isinstance(out, list) else [out])]


def noise_ratio(expected, got):
    """Energy of the difference over energy of the signal."""
    wrong = sum(float(((a - b) ** 2).sum()) for a, b in zip(expected, got, strict=True))
    return wrong / sum(float((a**2).sum()) for a in expected)


def assert_threads_may_share(recognizer, waves):
    """Every wave in a thread of its own, all at once, gives what it gives alone."""
    alone = [recognizer.recognize([wave])[0] for wave in waves]
    start = Barrier(len(waves))

    def work(wave):
        start.wait()
        return recognizer.recognize([wave])[0]

    with ThreadPoolExecutor(len(waves)) as pool:
        assert list(pool.map(work, waves)) == alone
