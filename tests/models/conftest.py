from __future__ import annotations

import json

import pytest
import soundfile
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def clips(speech):
    """The four shortest test clips: real speech of 2 to 5 seconds."""
    lines = (speech / "test.jsonl").read_text().splitlines()
    rows = sorted((json.loads(line) for line in lines), key=lambda row: row["seconds"])[:4]
    return [soundfile.read(speech / row["path"], dtype="float32")[0] for row in rows]
