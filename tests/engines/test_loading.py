"""What a user sees when a folder of engine files is not what it should be."""

from __future__ import annotations

import json
import shutil

import pytest
from engine_checks import assert_threads_may_share

from speechquant.engines import Coverage, Manifest, engine_names, load_recognizer, read_coverage
from speechquant.engines.export import dialect_names, export_onnx
from speechquant.errors import ArtifactError, EngineError, ModelError, StorageError


@pytest.fixture(scope="module")
def original(models, table_for, tmp_path_factory):
    model = models("hubert-large")
    folder = tmp_path_factory.mktemp("artifact")
    export_onnx(model, table_for(model), folder / "onnx")
    for path in model.kept_files:
        shutil.copy(path, folder)
    return folder


@pytest.fixture
def artifact(original, tmp_path):
    return shutil.copytree(original, tmp_path / "copy")


def one_line(caught):
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_artifact_and_its_graphs_are_the_same_model(original, noise):
    both = [load_recognizer(original), load_recognizer(original / "onnx", threads=2)]
    assert both[0].signature == both[1].signature
    assert both[0].recognize([noise(6000)]) == both[1].recognize([noise(6000)])


def test_a_missing_graph_is_named(artifact):
    (artifact / "onnx" / "model.onnx").unlink()
    with pytest.raises(ArtifactError) as caught:
        load_recognizer(artifact)
    assert "model.onnx is missing" in one_line(caught)


@pytest.mark.parametrize("content", [b"", b"not a graph", None])
def test_a_broken_graph_is_named(artifact, content):
    path = artifact / "onnx" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-5000] if content is None else content)
    with pytest.raises(EngineError) as caught:
        load_recognizer(artifact)
    assert str(path) in one_line(caught)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format=99), "format 99"),
        (lambda m: m.pop("files"), "damaged"),
        (lambda m: m["runtime"].update(colour="red"), "damaged"),
        (lambda m: m["files"][0].update(name="../model.onnx"), "not a plain file name"),
        (lambda m: m["files"].clear(), "lists no 'model' graph"),
        (lambda m: m.update(operators=7), "damaged"),
        (lambda m: m.update(runtime=None), "damaged"),
        (lambda m: m.update(surprise=1), "surprise"),
        (lambda m: m["runtime"].update(sampling_rate="abc"), "runtime.sampling_rate"),
        (lambda m: m["runtime"].update(sampling_rate="16000"), "runtime.sampling_rate"),
        (lambda m: m["runtime"].update(sampling_rate=0), "runtime.sampling_rate"),
        (lambda m: m["runtime"].update(normalize="no"), "runtime.normalize"),
        (lambda m: m["runtime"].update(task="translate"), "runtime.task"),
        (lambda m: m["runtime"].update(tokens_per_second=1e9), "runtime.tokens_per_second"),
        (lambda m: m["runtime"].update(tokens_per_second=float("nan")), "runtime.tokens_per_second"),
        (lambda m: m["runtime"].update(extra_tokens=10**9), "runtime.extra_tokens"),
        (lambda m: m["runtime"].update(minimum_samples=10**12), "runtime.minimum_samples"),
        (lambda m: m["runtime"].update(frame_seconds=-0.02), "runtime.frame_seconds"),
        (lambda m: m["runtime"].update(frame_seconds=1e-300), "runtime.frame_seconds"),
        (lambda m: m["runtime"].update(blank=-1), "runtime.blank"),
        (lambda m: m["files"][0].update(name=".."), "not a plain file name"),
        (lambda m: m["files"][0].update(size="1"), "files.0.size"),
        (lambda m: m["operators"][0].update(modules="abc"), "operators.0.modules"),
        (lambda m: m["operators"][0].update(modules=[1]), "operators.0.modules"),
        (lambda m: m["coverage"].update(int8=-1), "coverage.int8"),
        (lambda m: m.update(dialect="\ud800"), "damaged"),
    ],
)
def test_a_damaged_manifest_is_refused(artifact, change, message):
    path = artifact / "onnx" / "engine.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ArtifactError) as caught:
        load_recognizer(artifact)
    assert message in one_line(caught)


@pytest.mark.parametrize("content", [b"", b"[]", b"[" * 100_000, b" " * (64 * 1024 * 1024 + 1)])
def test_a_manifest_that_is_no_object_of_sensible_size(tmp_path, content):
    (tmp_path / "engine.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"engine\.json") as caught:
        Manifest.load(tmp_path)
    one_line(caught)


def test_other_mistakes_are_named(artifact, tmp_path, models):
    with pytest.raises(ArtifactError, match=r"no engine\.json"):
        load_recognizer(tmp_path)
    with pytest.raises(EngineError, match=r"unknown engine 'tpu'.*onnxruntime"):
        load_recognizer(artifact, engine="tpu")
    with pytest.raises(EngineError, match="0 threads"):
        load_recognizer(artifact, threads=0)
    with pytest.raises(EngineError, match="unknown dialect 'tpu'"):
        export_onnx(models("hubert-large"), None, tmp_path, dialect="tpu")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        export_onnx(models("hubert-large"), None, tmp_path / "file")
    (artifact / "vocab.json").unlink()
    with pytest.raises(ModelError, match="no vocabulary"):
        load_recognizer(artifact)
    assert "onnxruntime" in engine_names()
    assert "onnxruntime" in dialect_names()


def test_a_manifest_survives_writing(original, tmp_path):
    manifest = Manifest.load(original / "onnx")
    manifest.save(tmp_path)
    assert Manifest.load(tmp_path) == manifest
    assert manifest.coverage is not None
    assert manifest.coverage == read_coverage(original / "onnx")


def test_coverage_does_not_trust_the_manifest(original, models, tmp_path):
    """A float graph under the manifest of a quantized one: every operator is a fallback, and a defect."""
    shutil.copytree(original / "onnx", tmp_path, dirs_exist_ok=True)
    promised = Manifest.load(tmp_path)
    export_onnx(models("hubert-large"), None, tmp_path)
    found = read_coverage(tmp_path, promised)
    assert promised.coverage == Coverage(len(found.broken), len(found.broken))
    assert found.int8 == 0
    assert found.fallbacks == found.broken


def test_threads_may_share_a_recogniser(original, noise):
    recognizer = load_recognizer(original, threads=1)
    assert_threads_may_share(recognizer, [noise(4000 + 777 * i, seed=i) for i in range(6)])
