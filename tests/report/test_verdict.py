from __future__ import annotations

from dataclasses import replace

import pytest

from speechquant.report import Coverage, LatencyRow, ReportData, Sizes, System, judge


def run(wer: float, p: float | None, words: int = 1684, **changes) -> ReportData:
    systems = (
        System("float", "Float", words, 28, 6, 5, 2.32, 1.6, 3.1),
        System("quantized", "Int8", words, 31, 7, 5, wer, 1.8, 3.4, p),
    )
    data = ReportData("t", "m", "stablequant", "W8A8", "transcripts", systems)
    return replace(data, **changes)


@pytest.mark.parametrize(
    ("wer", "p", "words", "level", "headline"),
    [
        (2.55, 0.31, 1684, "good", "Same accuracy"),
        (2.10, 0.31, 1684, "good", "Same accuracy"),
        (3.60, 0.03, 1684, "bad", "Significantly worse"),
        (1.10, 0.03, 1684, "good", "Significantly better"),
        (3.30, 0.08, 1684, "unclear", "No significant difference"),
        (2.55, 0.31, 399, "unclear", "Cannot tell: too few words"),
        (2.55, 0.31, 400, "good", "Same accuracy"),
        (9.90, 0.001, 100, "bad", "Significantly worse"),
        (2.32, None, 1684, "unclear", "Cannot tell: no test"),
    ],
)
def test_accuracy_verdicts(wer, p, words, level, headline):
    verdict = judge(run(wer, p, words))
    assert (verdict.level, verdict.headline) == (level, headline)


def test_sentence_states_every_gain():
    # The ratio of the medians would be 3.0.
    latency = (LatencyRow(10, 300.0, 100.0, 2.1), LatencyRow(1, 20.0, 10.0, 1.5))
    verdict = judge(run(2.55, 0.31, sizes=Sizes(1000, 253), latency=latency, coverage=Coverage(60, 60)))
    assert verdict.sentence.replace("\N{NARROW NO-BREAK SPACE}", " ") == (
        "WER 2.55 % against 2.32 % in float (p = 0.31, 1,684 words), 25.3 % of the size, "
        "2.1\N{MULTIPLICATION SIGN} faster."
    )
    assert verdict.caveats == ()
    assert verdict.level == "good"


def test_slower_is_called_slower():
    assert (
        "2.0\N{MULTIPLICATION SIGN} slower"
        in judge(run(2.55, 0.31, latency=(LatencyRow(1, 10.0, 20.0, 0.5),))).sentence
    )


def test_float_fallback_is_never_good():
    verdict = judge(run(2.55, 0.31, coverage=Coverage(58, 60, ("a", "b"))))
    assert verdict.level == "unclear"
    assert "not int8 everywhere" in verdict.headline
    assert any("2 of 60 operators" in c for c in verdict.caveats)


@pytest.mark.parametrize(
    ("on_purpose", "headline"),
    [
        ({"a": "conv.1"}, "Same accuracy with conv.1 in float"),
        ({"a": "conv.1", "b": "conv.1"}, "Same accuracy with conv.1 in float"),
        ({"a": "conv.1", "b": "head"}, "Same accuracy with conv.1 and head in float"),
        ({"a": "conv.0", "b": "conv.1", "c": "head"}, "Same accuracy with 3 layers in float"),
    ],
)
def test_layers_left_in_float_on_purpose_are_named_and_no_fault(on_purpose, headline):
    coverage = Coverage(60 - len(on_purpose), 60, tuple(on_purpose), on_purpose=on_purpose)
    verdict = judge(run(2.55, 0.31, coverage=coverage))
    assert (verdict.level, verdict.headline) == ("good", headline)
    assert verdict.caveats == ()


def test_an_operator_in_float_beyond_those_on_purpose_is_a_fault():
    coverage = Coverage(58, 60, ("a", "b"), on_purpose={"a": "conv.1"})
    verdict = judge(run(2.55, 0.31, coverage=coverage))
    assert (verdict.level, verdict.headline) == ("unclear", "Same accuracy, but not int8 everywhere")
    assert verdict.caveats == (
        "Not int8 everywhere: 2 of 60 operators still run in float, 1 of them on purpose.",
    )


def test_what_is_worse_stays_worse_with_layers_in_float():
    verdict = judge(run(3.60, 0.03, coverage=Coverage(59, 60, ("a",), on_purpose={"a": "conv.1"})))
    assert (verdict.level, verdict.headline) == ("bad", "Significantly worse")


def test_simulation_alone_is_never_good():
    data = run(2.55, 0.31)
    systems = (data.systems[0], replace(data.systems[1], key="simulated"))
    verdict = judge(replace(data, systems=systems))
    assert (verdict.level, verdict.headline) == ("unclear", "Same accuracy, in simulation")


def test_dev_results_say_that_they_are_optimistic():
    data = run(2.55, 0.31)
    verdict = judge(replace(data, systems=tuple(replace(s, dataset="dev") for s in data.systems)))
    assert any("dev set" in c for c in verdict.caveats)


def test_test_set_wins_over_dev_set():
    data = run(2.55, 0.31)
    dev = tuple(replace(s, dataset="dev", wer=50.0) for s in data.systems)
    assert "50.00" not in judge(replace(data, systems=dev + data.systems)).sentence


def test_without_transcripts_no_accuracy_is_claimed():
    verdict = judge(run(0.2, 0.5, references="float model"))
    assert (verdict.level, verdict.headline) == ("unclear", "Agrees with the float model")
    assert "accuracy" not in verdict.sentence
    assert any("not known" in c for c in verdict.caveats)


def test_runaway_decoding_is_mentioned():
    data = run(2.55, 0.31)
    systems = (data.systems[0], replace(data.systems[1], capped=3))
    assert any("length limit on 3" in c for c in judge(replace(data, systems=systems)).caveats)


@pytest.mark.parametrize(
    ("wer", "p", "words", "plain"),
    [
        (2.55, 0.31, 1684, "The quantized model is as accurate as the original"),
        (3.62, 0.03, 1684, "less accurate than the original, with about 13 errors more in 1,000 words"),
        (1.10, 0.03, 1684, "more accurate than the original, with about 12 errors fewer in 1,000 words"),
        (
            2.33,
            0.03,
            90_000,
            "less accurate than the original, with less than one error more in 1,000 words",
        ),
        (3.32, 0.08, 1684, "made about 10 errors more in 1,000 words than the original, which may be chance"),
        (2.55, 0.31, 399, "Too few words were tested"),
        (2.32, None, 1684, "Nobody tested whether"),
    ],
)
def test_the_plain_sentence_says_it_without_terms(wer, p, words, plain):
    verdict = judge(run(wer, p, words))
    assert plain in verdict.plain
    assert verdict.plain.endswith(".")
    assert not any(term in verdict.plain for term in ("WER", "p =", "int8", "float"))


def test_the_plain_sentence_names_the_gains_and_losses():
    fast = judge(run(2.55, 0.31, sizes=Sizes(1000, 253), latency=(LatencyRow(10, 300.0, 100.0, 2.1),)))
    assert fast.plain.endswith(
        "the original; it takes 25\N{NARROW NO-BREAK SPACE}% of the space and is 2.1 times as fast."
    )
    slow = judge(run(2.55, 0.31, latency=(LatencyRow(10, 100.0, 300.0, 0.5),)))
    assert slow.plain.endswith("the original; it takes 2.0 times as long.")


def test_without_transcripts_the_plain_sentence_claims_no_accuracy():
    assert (
        "hears what the original hears, but for 0.20" in judge(run(0.2, 0.5, references="float model")).plain
    )
    assert "differently from the original" in judge(run(9.0, 0.5, references="float model")).plain
