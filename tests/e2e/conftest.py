from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

torch.set_num_threads(1)

PER_ROLE = 4


def write_manifest(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="session")
def speech(tmp_path_factory):
    """Short real speech as JSONL manifests by role; `wavs` is a folder of the same without transcripts."""
    from speechquant_demo import corpus

    root = tmp_path_factory.mktemp("speech")
    (root / "wavs").mkdir()
    manifest = corpus("calibration")
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    rows = sorted(rows, key=lambda row: row["seconds"])[: 3 * PER_ROLE]
    found = {}
    for index, role in enumerate(("calibration", "dev", "test")):
        chosen = []
        for row in rows[index::3]:
            samples, rate = soundfile.read(manifest.parent / row["path"], dtype="float32")
            path = root / "wavs" / f"{row['id']}.wav"
            soundfile.write(path, samples[: 3 * rate], rate)
            chosen.append({"id": row["id"], "path": str(path), "text": row["text"], "speaker": f"{role}-1"})
        found[role] = root / f"{role}.jsonl"
        write_manifest(found[role], chosen)
    return SimpleNamespace(root=root, wavs=root / "wavs", **found)


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A folder with a tiny CTC model of random weights."""
    from speechquant.models.random import random_model

    folder = tmp_path_factory.mktemp("models") / "tiny-ctc"
    random_model("wav2vec2-large-lv60", folder, tiny=True)
    return folder


@pytest.fixture(scope="session")
def roles(speech):
    """The options that name the data, and one thread."""
    return [
        *("--calibration", speech.calibration, "--dev", speech.dev, "--test", speech.test),
        *("--threads", 1, "--cutoffs", "0:0.5:0.25"),
    ]


@pytest.fixture(scope="session")
def known_exports(tmp_path_factory):
    return {}, tmp_path_factory.mktemp("exports")


@pytest.fixture
def cli(monkeypatch, known_exports):
    """Runs the program in this process. Equal models and tables give equal files, so each is exported once."""
    import shutil
    from dataclasses import replace

    from speechquant.jobs.quantization import measure

    known, place = known_exports
    real = measure.export_onnx
    # pytest would have torch describe every step of its tracing.
    logging.getLogger("torch.__trace").setLevel(logging.WARNING)

    def export(model, table, folder, **options):
        key = hashlib.sha256(f"{model.signature}{table and table.signature}".encode()).hexdigest()
        if key not in known:
            known[key] = real(model, table, place / key, **options)
        shutil.copytree(place / key, folder, copy_function=shutil.copyfile)
        return replace(known[key], folder=folder)

    monkeypatch.setattr(measure, "export_onnx", export)
    # The median of one is enough where nobody reads the figure.
    monkeypatch.setattr(measure, "LATENCY_REPEATS", 1)

    def run(*arguments):
        from speechquant.cli import app

        threads = torch.get_num_threads()
        try:
            return CliRunner().invoke(app, [str(argument) for argument in arguments])
        finally:
            torch.set_num_threads(threads)

    return run


@pytest.fixture
def run(cli, model, roles):
    """Quantizes the tiny model with its data; what is given here overrides that."""
    return lambda *options, source=model: cli("quantize", source, *roles, *options)


@pytest.fixture(scope="session")
def program():
    """Runs the program in a process of its own, after `prelude` (Python code) if there is one."""

    def run(*arguments, prelude="", **options):
        code = f"{prelude}\nfrom speechquant.cli import main\nmain()"
        command = [sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=900, **options)

    return run


@pytest.fixture(scope="session")
def start(program, model, roles):
    """As `run`, in a process of its own."""
    return lambda *options, prelude="": program("quantize", model, *roles, *options, prelude=prelude)


@pytest.fixture(scope="session")
def failed():
    """Checks for exit code 2 and exactly one line on stderr that starts with `error:` and has all words."""

    def check(result, *words):
        assert result.exit_code == 2, (result.exit_code, result.output, result.exception)
        lines = [line for line in result.stderr.splitlines() if line.startswith("error:")]
        assert len(lines) == 1, result.stderr
        assert result.stderr.rstrip().endswith(lines[0])
        assert "Traceback" not in result.output
        for word in words:
            assert word in lines[0], lines[0]

    return check


@pytest.fixture(scope="session")
def figures():
    """What must not differ between two runs of the same: everything in `metrics.json` but time and memory."""

    def read(folder):
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        for name in ("seconds", "latency_ms", "peak_rss_mb"):
            del metrics[name]
        return metrics

    return read


@pytest.fixture(scope="session")
def first(program, speech, model, roles, tmp_path_factory):
    """One whole run in a process of its own, with the naive baseline."""
    folder = tmp_path_factory.mktemp("first") / "out"
    done = program("quantize", model, *roles, "-o", folder, "--naive")
    assert done.returncode == 0, done.stderr
    return SimpleNamespace(folder=folder, stdout=done.stdout, stderr=done.stderr)


@pytest.fixture
def noise():
    def make(seconds, seed=0, rate=16_000):
        return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate))).astype(np.float32)

    return make
