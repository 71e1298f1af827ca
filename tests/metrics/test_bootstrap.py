from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from speechquant.metrics import bootstrap_interval, score


def make(errors: np.ndarray, words: np.ndarray):
    references = {str(i): " ".join(["w"] * n) for i, n in enumerate(words)}
    hypotheses = {
        str(i): " ".join(["x"] * e + ["w"] * (n - e))
        for i, (e, n) in enumerate(zip(errors, words, strict=True))
    }
    return score(references, hypotheses)


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(3)
    words = rng.integers(5, 30, 120)
    return rng.binomial(words, 0.1), rng.binomial(words, 0.14), words


def test_interval_agrees_with_scipy(counts):
    errors, _, words = counts
    theirs = stats.bootstrap(
        (errors, words),
        lambda e, w, axis: 100 * e.sum(axis=axis) / w.sum(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=20000,
        confidence_level=0.9,
        rng=np.random.default_rng(0),
    ).confidence_interval
    ours = bootstrap_interval(make(errors, words), confidence=0.9, resamples=20000, seed=5)
    # The Monte Carlo error of a 5 % quantile from 20000 draws is about 0.015 standard deviations.
    assert (ours.low, ours.high) == pytest.approx(
        (theirs.low, theirs.high), abs=0.04 * (theirs.high - theirs.low)
    )
    assert ours.low < 100 * errors.sum() / words.sum() < ours.high


def test_seed_decides_everything(counts):
    result = make(counts[0], counts[2])
    assert bootstrap_interval(result, seed=1) == bootstrap_interval(result, seed=1)
    assert bootstrap_interval(result, seed=1) != bootstrap_interval(result, seed=2)


def test_work_in_parts_changes_no_draw_count(counts, monkeypatch):
    from speechquant.metrics import bootstrap

    monkeypatch.setattr(bootstrap, "_DRAWS_AT_ONCE", 1000)
    interval = bootstrap_interval(make(counts[0], counts[2]), resamples=501)
    assert 0 < interval.low < interval.high < 100


def test_edges():
    perfect = make(np.zeros(4, int), np.full(4, 3))
    assert (bootstrap_interval(perfect).low, bootstrap_interval(perfect).high) == (0, 0)
    empty = score({}, {})
    assert (bootstrap_interval(empty).low, bootstrap_interval(empty).high) == (0, 0)
    silent = score({"a": "", "b": "x"}, {"a": "uh", "b": "x"})
    assert np.isfinite(bootstrap_interval(silent).high)
