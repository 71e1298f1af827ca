import json

import pytest

pytest.importorskip("onnxruntime")
from engines_page import page
from fidelity import Parity
from peer_files import Case, applicable, artifacts_of, describe, folders, made
from peers import SYSTEMS, find

from engines import Notebook, heats

WHERE = {
    "about": "About.",
    "threads": 2,
    "repeats": 3,
    "command": "python benchmarks/engines.py",
    "commit": "0" * 40,
    "machine": "a machine",
    "versions": {"python": "3"},
}


def system(key, **changes):
    return {
        "system": key,
        "label": find(key).label,
        "ours": find(key).ours,
        "error": "",
        "bytes": 10_000_000,
        "coverage": [3, 4, ["lm_head"]],
        "footprint": {"load_s": 0.5, "first_ms": 70.0, "loaded_bytes": 1, "peak_bytes": 123_000_000},
        "check": {"sqnr_db": 31.26, "agreement": 99.0, "suspect": False},
    } | changes


def model(**changes):
    turns = {"ort-f32": [300.0, 300.0, 300.0], "ort-int8": [100.0, 100.0, 100.0]}
    return {
        "model": "wav2vec2-base",
        "systems": [system("ort-f32"), system("ort-int8")],
        "latency": {"1": {"turns": turns, "tokens": {}}, "10": {"turns": turns, "tokens": {}}},
        "encoder": {},
        "realtime": {},
        "fidelity": {},
    } | changes


def line(text, start):
    return next(one for one in text if one.startswith(f"| {start}"))


def test_a_page_has_goals_ratios_and_systems():
    text = page([model()], WHERE)
    goal = line(text, "int8 on ONNX Runtime against the best float32 engine | **3.00x**")
    assert "| 2.20x | 3.00x | aim | speechquant int8, ONNX Runtime / ONNX Runtime f32 |" in goal
    row = line(text, "**speechquant int8, ONNX Runtime**")
    assert (
        row == "| **speechquant int8, ONNX Runtime** | 10.0 | 3 of 4 | 100 | 100 | 123 | 0.50 | 70 | 31.3 |"
    )


def test_every_line_of_a_table_has_its_columns():
    lost = {"source": "demo", "sqnr_db": None, "agreement": 9.0, "wer": 7.0, "p_value": 0.01, "worse": True}
    realtime = {"demo:dev": {"factor": {"ort-int8": 0.02}}}
    failed = system("nncf-bf16", error="ValueError: a | b", footprint={}, check=None)
    whole = model(fidelity={"ort-int8": lost}, realtime=realtime)
    text = page([whole | {"systems": [*whole["systems"], failed]}], WHERE)
    tables = [one.count("|") for one in text if one.startswith("|")]
    assert len(set(tables)) == 3
    assert "ValueError: a / b" in "\n".join(text)
    assert "worse than float" in line(text, "**speechquant int8, ONNX Runtime** | 10.0")


def test_a_system_that_computes_something_else_is_flagged():
    wrong = system("ort-int8", check={"sqnr_db": -3.0, "agreement": 1.0, "suspect": True})
    text = page([model(systems=[system("ort-f32"), wrong])], WHERE)
    assert "-3.0: another result" in "\n".join(text)


def test_measurements_are_resumed_only_for_the_same_files_and_settings(tmp_path):
    path = tmp_path / "measured.json"
    first = Notebook(path, {"repeats": 3, "files": {"a": (1, 2)}}, resume=True)
    assert not first.has("latency", "10")
    first.put("latency", "10", {"turns": {}})
    same = {"repeats": 3, "files": {"a": (1, 2)}}
    assert Notebook(path, same, resume=True).has("latency", "10")
    assert not Notebook(path, same, resume=False).has("latency", "10")
    assert not Notebook(path, same | {"repeats": 4}, resume=True).has("latency", "10")
    assert not Notebook(path, same | {"files": {"a": (1, 3)}}, resume=True).has("latency", "10")
    assert not path.with_suffix(".part").exists()


def test_figures_of_another_heat_are_added(tmp_path):
    notes = Notebook(tmp_path / "measured.json", {}, resume=True)
    notes.add("latency", "10", {"turns": {"a": [1.0]}, "tokens": {}})
    notes.add("latency", "10", {"turns": {"b": [2.0]}, "tokens": {}})
    assert Notebook(tmp_path / "measured.json", {}, resume=True).content["latency"]["10"] == {
        "turns": {"a": [1.0], "b": [2.0]},
        "tokens": {},
    }


def test_systems_of_which_ratios_are_taken_race_together():
    first, second = heats([one.key for one in SYSTEMS])
    assert {"ort-int8", "ov-int8-bf16", "ov-bf16", "ort-f32", "nncf-bf16", "ort-dynamic-best"} <= set(first)
    assert not set(first) & set(second)
    assert len(first) + len(second) == len(SYSTEMS)
    assert heats(["torch-f32"]) == [["torch-f32"]]


def test_files_are_made_once_and_their_failure_is_remembered(tmp_path):
    case = Case("demo:hubert-mini", tmp_path)
    assert made(case, "nncf") is None
    case.folder("nncf").mkdir(parents=True)
    coverage = {"int8": 1, "total": 2, "fallbacks": ["a"], "broken": []}
    record = {"files": "nncf", "bytes": 5, "seconds": 1.0, "error": "", "coverage": coverage}
    (case.folder("nncf") / "files.json").write_text(json.dumps(record))
    found = made(case, "nncf")
    assert (found.bytes, found.coverage.int8, found.coverage.fallbacks) == (5, 1, ("a",))


def test_the_size_of_a_graph_includes_its_weights_beside_it(tmp_path):
    (tmp_path / "model.xml").write_bytes(b"12")
    (tmp_path / "model.bin").write_bytes(b"345")
    (tmp_path / "other.bin").write_bytes(b"6789")
    before = describe("model", tmp_path / "model.xml")
    assert (before.name, before.size) == ("model.xml", 5)
    (tmp_path / "model.bin").write_bytes(b"346")
    assert describe("model", tmp_path / "model.xml").sha256 != before.sha256


def test_parity_sums_over_utterances():
    np = pytest.importorskip("numpy")
    parity = Parity()
    parity.add(np.array([[3.0, 0.0], [0.0, 4.0]], np.float32), np.array([[3.0, 0.5], [4.5, 4.0]], np.float32))
    parity.add(np.array([[0.0, 5.0]], np.float32), np.array([[0.0, 5.0]], np.float32))
    assert parity.agreement == pytest.approx(100 * 2 / 3)
    assert parity.sqnr == pytest.approx(10 * np.log10(50 / 20.5))
    assert not parity.suspect


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 9.0])
def test_numbers_that_are_none_or_noise_are_suspect(bad):
    np = pytest.importorskip("numpy")
    parity = Parity()
    parity.add(np.array([[3.0, 1.0]], np.float32), np.array([[bad, 1.0]], np.float32))
    assert parity.suspect
    with pytest.raises(ValueError, match="shape"):
        parity.add(np.zeros((2, 2), np.float32), np.zeros((1, 2), np.float32))


def test_artifacts_are_named_by_models_that_may_have_colons():
    named = folders(["demo:hubert-mini=build/x", "demo=y", "demo@w4=z"])
    assert {kind: str(folder) for kind, folder in artifacts_of("demo", named).items()} == {
        "int8": "y",
        "w4": "z",
    }
    assert {kind: str(one) for kind, one in artifacts_of("demo:hubert-mini", named).items()} == {
        "int8": "build/x"
    }
    assert artifacts_of("wav2vec2-base", named) == {}


def test_four_bits_of_a_trained_model_need_an_artifact(tmp_path):
    def small(name, **artifacts):
        return [one.key for one in applicable(Case(name, tmp_path, artifacts), SYSTEMS) if "w4" in one.key]

    assert small("demo") == []
    assert small("demo", int8=tmp_path) == []
    assert small("demo", w4=tmp_path) == small("wav2vec2-base") == ["ort-w4", "ov-w4-f32", "ov-w4-bf16"]


def test_systems_have_names_of_their_own():
    assert len({one.key for one in SYSTEMS}) == len({one.label for one in SYSTEMS}) == len(SYSTEMS)


def test_accuracy_is_controlled_only_where_there_is_some(tmp_path):
    def controlled(name):
        return [one.key for one in applicable(Case(name, tmp_path), SYSTEMS) if one.files == "nncf-control"]

    assert controlled("demo:hubert-mini") == ["nncf-control-f32", "nncf-control-bf16"]
    assert controlled("wav2vec2-base") == []
