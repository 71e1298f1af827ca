"""A tiny random CTC model and noise whose transcripts are what the model hears, so that rates mean something."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
import torch

from speechquant.models import load_model
from speechquant.models.random import random_model

torch.set_num_threads(1)


def add_role(model, folder, rng, count):
    folder.mkdir()
    waves = [(0.1 * rng.standard_normal(9000 + 2000 * i)).astype(np.float32) for i in range(count)]
    for i, wave in enumerate(waves):
        soundfile.write(folder / f"{i}.wav", wave, 16_000, subtype="FLOAT")
        words = model.recognizer().recognize([wave])[0].text.split()
        # Every seventh word is wrong, so that the float model errs as well.
        (folder / f"{i}.txt").write_text(" ".join("XX" if not n % 7 else w for n, w in enumerate(words)))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Settings of a comparison: the model's folder and three roles of speech."""
    root, rng = tmp_path_factory.mktemp("tiny"), np.random.default_rng(5)
    random_model("wav2vec2-large-lv60", root / "model", tiny=True)
    path = root / "model" / "vocab.json"
    ids = json.loads(path.read_text())
    # The token it writes most often becomes the blank between words.
    ids["|"], ids["Z"] = ids["Z"], ids["|"]
    path.write_text(json.dumps(ids))
    model = load_model(str(root / "model"))
    for role, count in (("calibration", 2), ("dev", 4), ("test", 4)):
        add_role(model, root / role, rng, count)
    roles = {role: str(root / role) for role in ("calibration", "dev", "test")}
    return {"model": str(root / "model"), "threads": 1, "cutoffs": "0:0.4:0.2", **roles}


@pytest.fixture(scope="session", autouse=True)
def short_latencies():
    """Half a minute of audio says no more about the job than a second does."""
    from speechquant.jobs.comparison import latency

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "LENGTHS", (0.3, 0.6))
        patch.setattr(latency, "REPEATS", 2)
        yield
