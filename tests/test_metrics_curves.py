"""Curves equal scikit-learn's on random and tied scores, and sum up to the library's scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

from course_lib import metrics
from course_lib.errors import CourseError

OUTCOMES = ["view", "cart", "purchase", "leave"]
LEVELS = st.sampled_from([None, 1, 5, 40])


def _yes_no(seed: int, levels: int | None, n: int = 200):
    random = np.random.default_rng(seed)
    scores = random.random(n)
    truth = random.random(n) < 0.1 + 0.7 * scores
    truth[:2] = [True, False]
    return np.round(scores * levels) / levels if levels else scores, pd.Series(truth)


def _many(seed: int, levels: int | None = None, n: int = 300):
    random = np.random.default_rng(seed)
    table = random.dirichlet(np.ones(4), size=n)
    if levels:
        table = np.round(table * levels) + 1
        table /= table.sum(axis=1, keepdims=True)
    codes = random.integers(0, 4, n)
    return table, codes, pd.Series(pd.Categorical.from_codes(codes, OUTCOMES))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), LEVELS)
def test_roc_and_precision_recall_equal_scikit_learn_and_their_areas_the_library(seed, levels):
    scores, truth = _yes_no(seed, levels)
    curve = metrics.roc_curve(scores, truth)
    alarms, hits, threshold = reference.roc_curve(truth, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve["false_positive_rate"], alarms, atol=1e-6)
    np.testing.assert_allclose(curve["true_positive_rate"], hits, atol=1e-6)
    np.testing.assert_allclose(curve["threshold"], threshold, atol=1e-6)
    area = np.trapezoid(curve["true_positive_rate"], curve["false_positive_rate"])
    assert metrics.roc_auc(scores, truth) == pytest.approx(area, abs=1e-9)

    curve = metrics.precision_recall_curve(scores, truth)
    precision, recall, threshold = reference.precision_recall_curve(truth, scores)
    np.testing.assert_allclose(curve["precision"], precision[::-1], atol=1e-6)
    np.testing.assert_allclose(curve["recall"], recall[::-1], atol=1e-6)
    np.testing.assert_allclose(curve["threshold"][1:], threshold[::-1], atol=1e-6)
    steps = (curve["precision"] * curve["recall"].diff().fillna(0)).sum()
    assert metrics.average_precision(scores, truth) == pytest.approx(steps, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), LEVELS, st.integers(1, 12), st.sampled_from(["uniform", "quantile"]))
def test_reliability_equals_scikit_learn(seed, levels, bins, binning):
    scores, truth = _yes_no(seed, levels)
    curve = metrics.reliability_curve(scores, truth, bins, binning=binning)
    happened, forecast = calibration_curve(truth, scores, n_bins=bins, strategy=binning)
    np.testing.assert_allclose(curve["happened"], happened, atol=1e-6)
    np.testing.assert_allclose(curve["forecast"], forecast, atol=1e-6)
    assert curve["rows"].sum() == len(truth)
    assert (curve["forecast"] <= curve["high"] + 1e-12).all()
    assert (curve["forecast"] >= curve["low"] - 1e-12).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), LEVELS)
def test_precision_recall_and_f1_of_each_outcome_equal_scikit_learn(seed, levels):
    table, codes, labels = _many(seed, levels)
    table[:, 3] = 0  # an outcome that is never the answer
    table += 1e-9
    table /= table.sum(axis=1, keepdims=True)
    got = metrics.precision_recall_f1(table, labels)
    wanted = reference.precision_recall_fscore_support(
        codes, table.argmax(axis=1), labels=range(4), zero_division=0
    )
    columns = got[["precision", "recall", "f1", "happened"]].to_numpy().T
    np.testing.assert_allclose(columns, wanted, atol=1e-6)
    assert got.index.tolist() == OUTCOMES
    assert got["f1"].mean() == pytest.approx(metrics.macro_f1(table, labels))
    assert got["answered"].sum() == len(labels)


def test_one_outcome_against_the_rest():
    table, codes, labels = _many(4)
    frame = pd.DataFrame(table, columns=OUTCOMES)[OUTCOMES[::-1]]
    curve = metrics.roc_curve(frame, labels, outcome="cart")
    pd.testing.assert_frame_equal(curve, metrics.roc_curve(table[:, 1], pd.Series(codes == 1)))
    honest = metrics.reliability_curve(frame, labels, outcome="leave")
    assert honest["rows"].sum() == len(labels)


def test_rows_without_label_are_left_out_of_every_curve():
    scores, truth = _yes_no(3, None, n=50)
    labels = truth.astype("boolean").mask(np.arange(50) % 5 == 4)
    kept = labels.notna().to_numpy()
    for curve in (
        metrics.roc_curve,
        metrics.precision_recall_curve,
        metrics.reliability_curve,
        metrics.precision_recall_f1,
    ):
        got = curve(scores, labels)
        pd.testing.assert_frame_equal(got, curve(scores[kept], truth[kept].reset_index(drop=True)))


def test_reliability_of_a_forecast_that_is_honest_by_construction():
    random = np.random.default_rng(0)
    scores = random.random(50_000)
    curve = metrics.reliability_curve(scores, pd.Series(random.random(50_000) < scores))
    assert (curve["forecast"] - curve["happened"]).abs().max() < 0.03
    assert curve["low"].tolist() == pytest.approx(np.arange(10) / 10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.roc_curve(*_many(0)[::2]), "name one of them, outcome='view'"),
        (lambda: metrics.roc_curve(*_many(0)[::2], outcome="crat"), "did you mean"),
        (lambda: metrics.roc_curve([0.1, 0.2], pd.Series([True, True])), "always happened"),
        (
            lambda: metrics.precision_recall_curve([0.1, 0.2], pd.Series([False, False])),
            "never happened",
        ),
        (lambda: metrics.reliability_curve([0.1], pd.Series([True]), 0), "1 bin or more"),
        (lambda: metrics.reliability_curve([0.1], pd.Series([True]), binning="equal"), "binning"),
        (lambda: metrics.precision_recall_f1([], pd.Series(dtype="category")), "empty"),
    ],
)
def test_one_sentence_for_what_has_no_curve(call, message):
    with pytest.raises(CourseError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
