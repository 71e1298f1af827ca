"""One recogniser in the hands of several threads gives the results that it gives to one."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from speechquant.engines import EngineOptions, load_recognizer
from speechquant.engines.export import export_onnx
from speechquant.engines.recognizers import CTCRecognizer

THREADS = 4


def outputs(recognizer, wave):
    """The transcript, and what came out of the first graph, in which a foreign utterance would show."""
    heard = recognizer.recognize([wave])[0]
    if isinstance(recognizer, CTCRecognizer):
        return heard, [recognizer.logits(wave)]
    return heard, recognizer.encode([wave])[1][0]


@pytest.mark.parametrize("arch", ["hubert-large", "moonshine-tiny"])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_four_threads_and_several_utterances(models, noise, tmp_path, engine, arch):
    export_onnx(models(arch), None, tmp_path, engine)
    recognizer = load_recognizer(
        tmp_path, engine=engine, vocabulary=models(arch).folder, options=EngineOptions(1, "f32")
    )
    waves = [noise(3000 + 1311 * (i % 3), seed=i) for i in range(6)]
    alone = [outputs(recognizer, wave) for wave in waves]
    start = threading.Barrier(THREADS)

    def work(number):
        start.wait(20)
        for i in [(number + i) % len(waves) for i in range(len(waves))] * 2:
            heard, arrays = outputs(recognizer, waves[i])
            assert heard == alone[i][0]
            for got, expected in zip(arrays, alone[i][1], strict=True):
                np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
