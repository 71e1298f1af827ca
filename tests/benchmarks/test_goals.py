import pytest
from engines_page import page
from goals import GOALS, fastest, goal_rows, joined, ratio

TURNS = {
    "ort-f32": [400.0, 420.0, 410.0],
    "ov-f32": [300.0, 360.0, 330.0],
    "ov-bf16": [200.0, 210.0, 190.0],
    "ort-int8": [150.0, 120.0, 110.0],
    "ov-int8-f32": [120.0, 130.0, 125.0],
    "ov-int8-bf16": [100.0, 100.0, 100.0],
    "ort-dynamic": [900.0, 900.0, 900.0],
    "ort-dynamic-best": [300.0, 240.0, 220.0],
    "nncf-bf16": [90.0, 110.0, 105.0],
}


def by_name(model="wav2vec2-base", **changes):
    settings = {
        "turns": TURNS,
        "size": {"ort-int8": 95_000_000},
        "memory": {"ort-int8": 450_000_000},
    } | changes
    return {row.what: row for row in goal_rows(model, **settings)}


def test_a_ratio_is_the_median_of_ratios_within_turns_not_of_medians():
    turns = {"slow": [100.0, 200.0, 400.0], "fast": [100.0, 50.0, 200.0]}
    assert ratio(turns, "slow", "fast") == 2.0  # medians would say 200 / 100, turns say 1, 4, 2
    turns = {"slow": [10.0, 100.0, 1000.0], "fast": [1.0, 100.0, 500.0]}
    assert ratio(turns, "slow", "fast") == 2.0  # medians would say 1


def test_ours_is_held_against_the_fastest_of_the_peers():
    row = by_name()["int8 on ONNX Runtime against the best float32 engine"]
    assert (row.ours, row.peer) == ("ort-int8", "ov-f32")
    assert row.value == pytest.approx(3.0)  # 2, 3, 3
    assert row.reached == "aim"
    row = by_name()["int8 on ONNX Runtime against ORT quantize_dynamic"]
    assert row.peer == "ort-dynamic-best"
    assert row.value == pytest.approx(2.0)
    assert row.reached == "least"


def test_a_goal_that_is_missed_is_said_to_be():
    row = by_name()["int8 on OpenVINO against NNCF int8"]
    assert (row.ours, row.peer) == ("ov-int8-bf16", "nncf-bf16")
    assert row.value == pytest.approx(1.05)
    assert row.reached == "least"
    slower = TURNS | {"nncf-bf16": [80.0, 80.0, 80.0]}
    assert by_name(turns=slower)["int8 on OpenVINO against NNCF int8"].reached == "missed"


def test_a_faster_system_that_loses_words_does_not_count():
    row = by_name(refused=["ov-int8-bf16"])["int8 on OpenVINO against OpenVINO bf16"]
    assert row.ours == "ov-int8-f32"
    assert row.value == pytest.approx(1.615, abs=1e-3)  # 200/120, 210/130, 190/125
    none = by_name(refused=["ov-int8-bf16", "ov-int8-f32"])["int8 on OpenVINO against OpenVINO bf16"]
    assert (none.value, none.reached) == (None, "not measured")


def test_a_faster_peer_that_loses_words_is_no_bar_but_is_shown():
    turns = TURNS | {"nncf-transformer-bf16": [120.0, 150.0, 130.0]}
    what = "int8 on OpenVINO against NNCF int8"
    row = by_name(turns=turns, refused=["nncf-bf16"])[what]
    assert (row.peer, row.value, row.reached) == ("nncf-transformer-bf16", 1.3, "aim")
    assert (row.faster, row.against_faster) == ("nncf-bf16", pytest.approx(1.05))
    row = by_name(turns=turns, refused=["nncf-transformer-bf16"])[what]
    assert (row.peer, row.faster, row.against_faster) == ("nncf-bf16", "", None)


def test_without_a_peer_that_keeps_its_words_there_is_no_verdict():
    row = by_name(refused=["nncf-bf16"])["int8 on OpenVINO against NNCF int8"]
    assert (row.value, row.reached) == (None, "no peer keeps its words")
    assert (row.faster, row.against_faster) == ("nncf-bf16", pytest.approx(1.05))
    row = by_name(refused=["nncf-bf16", "ov-int8-bf16", "ov-int8-f32"])["int8 on OpenVINO against NNCF int8"]
    assert (row.ours, row.reached, row.against_faster) == ("", "not measured", None)


def test_both_ratios_stand_in_the_tables():
    turns = {key: TURNS[key] for key in ("ov-int8-bf16", "nncf-bf16")} | {"nncf-f32": [120.0, 120.0, 120.0]}
    systems = [
        {"system": key, "label": key.upper(), "bytes": 0, "footprint": {}, "ours": False, "error": "none"}
        for key in turns
    ]
    lost = {"source": "demo:hubert-mini", "worse": True}
    model = {
        "model": "wav2vec2-base",
        "systems": systems,
        "latency": {"10": {"turns": turns, "tokens": {}}},
        "encoder": {},
        "realtime": {},
        "fidelity": {"nncf-bf16": lost},
    }
    where = dict.fromkeys(("about", "threads", "repeats", "command", "commit", "machine"), "") | {
        "versions": {}
    }
    text = "\n".join(page([model], where))
    goal = "| **1.20x** († 1.05x) | 1.00x | 1.20x | aim | OV-INT8-BF16 / NNCF-F32; † NNCF-BF16 |"
    assert f"| int8 on OpenVINO against NNCF int8 {goal}" in text
    assert "| int8 on OpenVINO against NNCF int8 | 1.20x († 1.05x) |" in text


def test_sizes_and_memory_are_to_be_below_their_goals():
    rows = by_name()
    assert (rows["file, int8"].value, rows["file, int8"].reached) == (95.0, "least")
    assert rows["peak RSS at 10 s, ORT int8"].reached == "least"
    rows = by_name(size={"ort-int8": 94_000_000}, memory={"ort-int8": 501_000_000})
    assert rows["file, int8"].reached == "aim"
    assert rows["peak RSS at 10 s, ORT int8"].reached == "missed"
    assert by_name(memory={"ort-int8": None})["peak RSS at 10 s, ORT int8"].reached == "not measured"


def test_models_without_goals_get_figures_and_no_verdict():
    rows = by_name("demo")
    assert {row.reached for row in rows.values()} == {"", "not measured"}
    assert rows["file, int8"].value == 95.0


def test_what_was_not_measured_is_a_row_without_a_figure():
    rows = by_name(turns={}, size={}, memory={})
    assert len(rows) == len(GOALS)
    assert {(row.value, row.reached) for row in rows.values()} == {(None, "not measured")}


def test_the_fastest_is_that_of_the_lowest_median():
    turns = {"a": [1.0, 9.0, 9.0], "b": [5.0, 5.0, 5.0]}
    assert fastest(turns, ["a", "b", "c"]) == "b"
    assert fastest(turns, ["c"]) is None


def row(system, wer, p_value=None, *, model="demo:hubert-mini", suspect=False):
    figures = {"wer": wer} | ({} if p_value is None else {"p_value": p_value})
    return {
        "model": model,
        "system": system,
        "sqnr_db": 20.0,
        "agreement": 99.0,
        "suspect": suspect,
        "dev": figures,
    }


def test_fidelity_of_an_architecture_is_that_of_the_trained_model_of_its_task():
    rows = [row("torch-f32", 60.0), row("ort-int8", 61.0, 0.2), row("ort-int8", 9.0, 0.001, model="demo")]
    found = joined(rows, "wav2vec2-base", task="ctc")
    assert found["ort-int8"]["source"] == "demo:hubert-mini"
    assert found["ort-int8"]["wer"] == 61.0
    assert joined(rows, "demo", task="seq2seq")["ort-int8"]["wer"] == 9.0


def test_worse_means_significantly_more_errors():
    rows = [
        row("torch-f32", 60.0),
        row("more", 62.0, 0.01),
        row("within chance", 62.0, 0.2),
        row("fewer", 58.0, 0.01),
        row("nonsense", 60.0, 0.9, suspect=True),
        {"model": "demo:hubert-mini", "system": "failed", "error": "no"},
    ]
    found = joined(rows, "demo:hubert-mini", task="ctc")
    assert [name for name, figures in found.items() if figures["worse"]] == ["more", "nonsense"]
    assert "failed" not in found
