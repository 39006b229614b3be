"""Curves behind the scores: what one number of `forecasts` sums up, spread out again.

Each function returns a DataFrame to look at or to draw. A curve asks a yes-or-no question: the
probability of True against boolean labels, or, with `outcome`, the probability of one outcome
against the rest. Lesson 04 derives them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from course_lib.errors import CourseError, unknown_name
from course_lib.metrics.forecasts import align

BINNINGS = ("uniform", "quantile")


def precision_recall_f1(forecast: object, labels: object) -> pd.DataFrame:
    """Precision, recall and F1 of each outcome, if the likeliest outcome is the answer.

    Precision: of the rows where this outcome was the answer, the share where it happened.
    Recall: of the rows where it happened, the share where it was the answer. F1: their
    harmonic mean, ``2 hits / (answered + happened)``. Where nothing is to be divided by (an
    outcome that was never the answer, or never happened) the value is 0, as in
    scikit-learn's ``precision_recall_fscore_support``. `macro_f1` is the mean of the F1 over
    the outcomes that were answered or happened at all.

    Args:
        forecast: As in `course_lib.metrics.align`; ties go to the first outcome.
        labels: As in `course_lib.metrics.align`; rows without a label do not count.

    Returns:
        One row an outcome: precision, recall, f1, answered (rows), happened (rows).

    Raises:
        CourseError: As `course_lib.metrics.align`.
    """
    table, codes, outcomes = align(forecast, labels)
    scored = codes >= 0
    chosen, codes = table[scored].argmax(axis=1), codes[scored]
    size = len(outcomes)
    hits = np.bincount(codes[chosen == codes], minlength=size)
    answered, happened = np.bincount(chosen, minlength=size), np.bincount(codes, minlength=size)

    def share(of: np.ndarray, among: np.ndarray) -> np.ndarray:
        return np.divide(of, among, out=np.zeros(size), where=among > 0)

    return pd.DataFrame(
        {
            "precision": share(hits, answered),
            "recall": share(hits, happened),
            "f1": share(2 * hits, answered + happened),
            "answered": answered,
            "happened": happened,
        },
        index=pd.Index(outcomes, name="outcome"),
    )


def _question(
    forecast: object, labels: object, outcome: object
) -> tuple[np.ndarray, np.ndarray, object]:
    """Probability of the outcome and whether it happened, in the rows that have a label."""
    table, codes, outcomes = align(forecast, labels)
    if outcome is None and outcomes != [False, True]:
        raise CourseError(
            f"A curve asks a yes-or-no question, but the labels have {len(outcomes)} outcomes: "
            f"name one of them, outcome={outcomes[0]!r}, to set it against the rest."
        )
    outcome = True if outcome is None else outcome
    if outcome not in outcomes:
        raise unknown_name("outcome", str(outcome), map(str, outcomes))
    column = outcomes.index(outcome)
    scored = codes >= 0
    return table[scored, column], codes[scored] == column, outcome


def _at_thresholds(
    forecast: object, labels: object, outcome: object
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thresholds, descending from infinity, and hits and false alarms at or above each."""
    scores, truth, outcome = _question(forecast, labels, outcome)
    if truth.all() or not truth.any():
        happened = "always" if truth.all() else "never"
        raise CourseError(
            f"The curve needs rows of both kinds, but {outcome} {happened} happened here: score "
            "more rows."
        )
    levels, rank = np.unique(scores, return_inverse=True)
    hits = np.bincount(rank[truth], minlength=len(levels))[::-1].cumsum()
    alarms = np.bincount(rank[~truth], minlength=len(levels))[::-1].cumsum()
    start = np.zeros(1)
    return (
        np.concatenate([[np.inf], levels[::-1]]),
        np.concatenate([start, hits]),
        np.concatenate([start, alarms]),
    )


def roc_curve(forecast: object, labels: object, outcome: object = None) -> pd.DataFrame:
    """Return the ROC curve: what is caught, and what is bothered for it, at each threshold.

    Its area by the trapezoid rule is `roc_auc`. Equals ``sklearn.metrics.roc_curve`` with
    ``drop_intermediate=False``; equal scores share one threshold.

    Args:
        forecast: As in `course_lib.metrics.align`.
        labels: As in `course_lib.metrics.align`.
        outcome: The outcome in question, for labels that are not boolean.

    Returns:
        One row a threshold, falling from infinity (nobody) to the lowest score (everybody):
        threshold, false_positive_rate, true_positive_rate.

    Raises:
        CourseError: As `course_lib.metrics.align`; if the outcome always or never happened.
    """
    threshold, hits, alarms = _at_thresholds(forecast, labels, outcome)
    return pd.DataFrame(
        {
            "threshold": threshold,
            "false_positive_rate": alarms / alarms[-1],
            "true_positive_rate": hits / hits[-1],
        }
    )


def precision_recall_curve(
    forecast: object, labels: object, outcome: object = None
) -> pd.DataFrame:
    """Return precision and recall of "at least this score" at each threshold.

    `average_precision` is the sum of the precisions, each weighted by the recall that its
    threshold adds; no straight line is drawn between them, which would promise too much (Davis
    and Goadrich 2006). Equals ``sklearn.metrics.precision_recall_curve`` read backwards.

    Args:
        forecast: As in `course_lib.metrics.align`.
        labels: As in `course_lib.metrics.align`.
        outcome: The outcome in question, for labels that are not boolean.

    Returns:
        One row a threshold, falling from infinity (nobody; precision is set to 1 there) to the
        lowest score: threshold, precision, recall.

    Raises:
        CourseError: As `roc_curve`.
    """
    threshold, hits, alarms = _at_thresholds(forecast, labels, outcome)
    shown = hits + alarms
    return pd.DataFrame(
        {
            "threshold": threshold,
            "precision": np.divide(hits, shown, out=np.ones_like(hits), where=shown > 0),
            "recall": hits / hits[-1],
        }
    )


def reliability_curve(
    forecast: object,
    labels: object,
    bins: int = 10,
    *,
    binning: str = "uniform",
    outcome: object = None,
) -> pd.DataFrame:
    """Return how often it happened where the forecast said about so much: is 0.3 three in ten?

    Rows are put into bins by their probability. Of an honest forecast, `happened` is about
    `forecast` in every bin, as far as so few `rows` can tell (Murphy and Winkler 1977).
    Equals ``sklearn.calibration.calibration_curve``; bins without rows are left out.

    Args:
        forecast: As in `course_lib.metrics.align`.
        labels: As in `course_lib.metrics.align`.
        bins: How many, at least 1.
        binning: ``uniform``: of equal width between 0 and 1; ``quantile``: with about equally
            many rows each.
        outcome: The outcome in question, for labels that are not boolean.

    Returns:
        One row a bin: low, high (its ends; the lower one does not belong to it, except 0),
        forecast (mean probability), happened (share), rows.

    Raises:
        CourseError: As `course_lib.metrics.align`; for fewer than one bin or another binning.
    """
    if not isinstance(bins, int | np.integer) or bins < 1:
        raise CourseError(f"A reliability curve has 1 bin or more, not {bins!r}.")
    if binning not in BINNINGS:
        raise unknown_name("binning", binning, BINNINGS)
    scores, truth, _ = _question(forecast, labels, outcome)
    edges = np.linspace(0, 1, bins + 1)
    if binning == "quantile":
        edges = np.percentile(scores, edges * 100)
    place = np.searchsorted(edges[1:-1], scores)
    rows = np.bincount(place, minlength=bins)
    filled = rows > 0
    counts = rows[filled]
    return pd.DataFrame(
        {
            "low": edges[:-1][filled],
            "high": edges[1:][filled],
            "forecast": np.bincount(place, weights=scores, minlength=bins)[filled] / counts,
            "happened": np.bincount(place, weights=truth, minlength=bins)[filled] / counts,
            "rows": counts,
        }
    )
