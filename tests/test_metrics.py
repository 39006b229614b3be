"""Metrics equal scikit-learn's and a naive bootstrap, and refuse what cannot be scored."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from course_lib import metrics
from course_lib.errors import CourseError

OUTCOMES = ["view", "cart", "purchase", "leave"]


def _many(seed: int, n: int = 400, levels: int | None = None):
    """Forecasts over four outcomes; `levels` rounds them, so that probabilities tie."""
    random = np.random.default_rng(seed)
    table = random.dirichlet(np.ones(4), size=n)
    if levels:
        table = np.maximum(np.round(table * levels), 0) + 1
        table /= table.sum(axis=1, keepdims=True)
    codes = random.integers(0, 4, n)
    labels = pd.Series(pd.Categorical.from_codes(codes, OUTCOMES))
    return table, codes, labels


def _yes_no(seed: int, n: int = 300, levels: int | None = None):
    random = np.random.default_rng(seed)
    scores = random.random(n)
    truth = random.random(n) < 0.2 + 0.6 * scores
    truth[:2] = [True, False]
    return (np.round(scores * levels) / levels if levels else scores), pd.Series(truth)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([None, 3, 10]))
def test_multiclass_metrics_equal_scikit_learn(seed, levels):
    table, codes, labels = _many(seed, levels=levels)
    table[0], table[1] = [0, 1, 0, 0], [1, 0, 0, 0]
    wanted = {
        "log_loss": reference.log_loss(codes, table, labels=range(4)),
        "accuracy": reference.accuracy_score(codes, table.argmax(axis=1)),
        "macro_f1": reference.f1_score(codes, table.argmax(axis=1), average="macro"),
        "brier": reference.brier_score_loss(codes, table, labels=range(4)),
    }
    for name, value in wanted.items():
        assert getattr(metrics, name)(table, labels) == pytest.approx(value, abs=1e-9), name


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([None, 1, 5]))
def test_yes_no_metrics_equal_scikit_learn_with_ties(seed, levels):
    scores, truth = _yes_no(seed, levels=levels)
    wanted = {
        "log_loss": reference.log_loss(truth, np.column_stack([1 - scores, scores])),
        "brier": reference.brier_score_loss(truth, scores),
        "roc_auc": reference.roc_auc_score(truth, scores),
        "average_precision": reference.average_precision_score(truth, scores),
        "macro_f1": reference.f1_score(truth, scores > 0.5, average="macro"),
    }
    for name, value in wanted.items():
        assert getattr(metrics, name)(scores, truth) == pytest.approx(value, abs=1e-9), name


def test_auc_by_hand():
    truth = pd.Series([False, False, True, True])
    assert metrics.roc_auc(np.array([0.1, 0.4, 0.4, 0.8]), truth) == pytest.approx(3.5 / 4)
    assert metrics.average_precision(np.array([0.1, 0.4, 0.4, 0.8]), truth) == pytest.approx(
        0.5 * 1 + 0.5 * 2 / 3
    )


def test_impossible_outcome_costs_a_finite_fine():
    labels = pd.Series(pd.Categorical(["leave"], OUTCOMES))
    loss = metrics.per_row_log_loss(np.array([[1.0, 0, 0, 0]]), labels)
    assert loss[0] == pytest.approx(-np.log(metrics.CLIP))


def test_rows_without_label_are_not_scored():
    labels = pd.Series([True, pd.NA, False], dtype="boolean")
    scores = np.array([0.8, np.nan, 0.3])
    losses = metrics.per_row_log_loss(scores, labels)
    assert np.isnan(losses[1])
    assert metrics.log_loss(scores, labels) == pytest.approx(-np.log([0.8, 0.7]).mean())


def test_columns_are_matched_by_name_and_extra_ones_ignored():
    table, _, labels = _many(3)
    frame = pd.DataFrame(table, columns=OUTCOMES)
    shuffled = frame[OUTCOMES[::-1]].assign(purchase_later=0.5)
    assert metrics.log_loss(shuffled, labels) == metrics.log_loss(table, labels)


def _naive_samples(values, groups, statistic, resamples, seed):
    """The bootstrap spelled out: draw sessions, concatenate their rows, compute."""
    random = np.random.default_rng(seed)
    names = np.unique(groups)
    rows_of = {name: np.flatnonzero(groups == name) for name in names}
    samples = []
    for _ in range(resamples):
        drawn = names[random.integers(0, len(names), len(names))]
        samples.append(statistic(values[np.concatenate([rows_of[name] for name in drawn])]))
    return np.array(samples)


def test_interval_is_the_bootstrap_of_whole_sessions():
    random = np.random.default_rng(5)
    groups = np.sort(random.integers(0, 60, 900))
    values = random.normal(size=900) + random.normal(size=60)[groups]
    got = metrics.interval(values, groups, resamples=500, seed=9)
    naive = _naive_samples(values, groups, np.mean, 500, seed=9)
    assert (got.low, got.high) == pytest.approx(tuple(np.quantile(naive, [0.025, 0.975])))
    by_row = metrics.interval(values, np.arange(900), resamples=500)
    assert got.high - got.low > 1.5 * (by_row.high - by_row.low)
    assert (got.value, got.n, got.groups) == (pytest.approx(values.mean()), 900, 60)


@pytest.mark.parametrize("name", ["roc_auc", "average_precision", "macro_f1", "brier"])
def test_scorecard_resamples_every_metric_as_if_recomputed(name):
    scores, truth = _yes_no(11, n=240, levels=8)
    groups = np.random.default_rng(2).integers(0, 40, 240)
    got = metrics.scorecard(scores, truth, groups, [name], resamples=200, seed=4)[name]
    both = np.column_stack([scores, truth])

    def one(sample):
        return getattr(metrics, name)(sample[:, 0], pd.Series(sample[:, 1].astype(bool)))

    naive = _naive_samples(both, groups, one, 200, seed=4)
    assert (got.low, got.high) == pytest.approx(tuple(np.quantile(naive, [0.025, 0.975])))


@pytest.mark.parametrize("name", ["roc_auc", "average_precision", "macro_f1", "log_loss"])
def test_a_paired_difference_of_scores_draws_the_same_sessions_for_both(name):
    scores, truth = _yes_no(11, n=240, levels=8)
    random = np.random.default_rng(2)
    other = np.clip(scores + random.normal(size=240) * 0.2, 0, 1)
    groups = random.integers(0, 40, 240)
    got = metrics.paired_score_difference(scores, other, truth, groups, name, resamples=200, seed=4)
    three = np.column_stack([scores, other, truth])

    def difference(sample):
        labels = pd.Series(sample[:, 2].astype(bool))
        score = getattr(metrics, name)
        return score(sample[:, 0], labels) - score(sample[:, 1], labels)

    naive = _naive_samples(three, groups, difference, 200, seed=4)
    assert (got.low, got.high) == pytest.approx(tuple(np.quantile(naive, [0.025, 0.975])))
    assert got.value == pytest.approx(difference(three))
    assert (got.n, got.groups) == (240, len(np.unique(groups)))


def test_pairing_settles_what_two_intervals_leave_open():
    random = np.random.default_rng(3)
    truth = pd.Series(random.random(600) < 0.3)
    hint = truth + random.normal(size=600)
    better = 1 / (1 + np.exp(-hint))
    worse = np.clip(better + random.normal(size=600) * 0.08, 0, 1)
    groups = np.arange(600)
    alone = [metrics.scorecard(p, truth, groups, ["roc_auc"])["roc_auc"] for p in (better, worse)]
    assert alone[0].low < alone[1].high
    assert metrics.paired_score_difference(better, worse, truth, groups).low > 0


def test_interval_covers_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        effect = random.normal(size=80)
        values = np.repeat(effect, 5) + random.normal(size=400) * 0.3
        got = metrics.interval(values, np.repeat(np.arange(80), 5), resamples=200, seed=trial)
        hits += got.low <= 0 <= got.high
    assert 0.88 <= hits / 200 <= 0.99


def test_pairing_takes_shared_luck_out():
    random = np.random.default_rng(1)
    groups = np.repeat(np.arange(50), 10)
    hard = np.repeat(random.normal(size=50), 10)
    worse = hard + 0.1 + random.normal(size=500) * 0.05
    better = hard + random.normal(size=500) * 0.05
    paired = metrics.paired_difference(worse, better, groups)
    assert paired.low > 0
    alone = metrics.interval(worse, groups)
    assert alone.high - alone.low > 5 * (paired.high - paired.low)


def test_gap_closed_by_hand():
    groups = np.repeat(np.arange(30), 4)
    best = np.random.default_rng(3).random(120)
    got = metrics.gap_closed(best + 0.4, best + 0.1, best, groups, resamples=50)
    assert (got.value, got.low, got.high) == pytest.approx((0.75, 0.75, 0.75))
    with pytest.raises(CourseError, match="no gap to close"):
        metrics.gap_closed(best, best, best, groups)


def test_an_interval_over_twenty_thousand_sessions():
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(20_000), 3)
    got = metrics.interval(random.random(60_000), groups, resamples=1000)
    assert got.low < 0.5 < got.high


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.log_loss(np.empty((0, 4)), pd.Series(dtype="category")), "empty"),
        (lambda: metrics.log_loss([0.5], pd.Series([pd.NA], dtype="boolean")), "missing"),
        (lambda: metrics.roc_auc([0.1, 0.2], pd.Series([True, True])), "both outcomes"),
        (lambda: metrics.log_loss([0.1, 0.2, 0.3], pd.Series([True, False])), "shape"),
        (lambda: metrics.log_loss([[0.9, 0.9]], pd.Series([True])), "add up to 1"),
        (lambda: metrics.log_loss([np.nan], pd.Series([True])), "no probability"),
        (lambda: metrics.log_loss([1.7], pd.Series([True])), "no probability"),
        (lambda: metrics.log_loss([0.5], pd.Series(["yes"])), "category or boolean"),
        (
            lambda: metrics.log_loss(pd.Series([0.5], index=[7]), pd.Series([True], index=[8])),
            "not about the same rows",
        ),
        (lambda: metrics.roc_auc(*_many(0)[::2]), "yes-or-no"),
        (
            lambda: metrics.log_loss(
                pd.DataFrame({"view": [1.0]}), pd.Series(pd.Categorical(["view"], OUTCOMES))
            ),
            "no column for the outcome cart",
        ),
        (lambda: metrics.scorecard(*_yes_no(0), np.arange(300), ["roc"]), "did you mean"),
        (lambda: metrics.interval([1.0, 2.0], [1, 1]), "at least two groups"),
        (lambda: metrics.interval([1.0, np.nan], [1, 2]), "missing or infinite"),
        (lambda: metrics.interval([1.0, 2.0], [1]), "groups"),
        (lambda: metrics.interval([], []), "empty"),
        (lambda: metrics.paired_difference([1.0], [1.0, 2.0], [1, 2]), "same rows"),
        (
            lambda: metrics.paired_score_difference([0.1, 0.2], [0.1], [True, False], [1, 2]),
            "shape",
        ),
        (
            lambda: metrics.paired_score_difference(
                [0.1, 0.2], [0.1, 0.3], [True, False], [1, 2], "auc"
            ),
            "did you mean",
        ),
    ],
)
def test_one_sentence_for_what_cannot_be_scored(call, message):
    with pytest.raises(CourseError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith((".", "?"))
