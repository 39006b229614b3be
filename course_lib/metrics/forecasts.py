"""Scores for forecasts, each with an interval: the ruler that every model is held against.

A *forecast* gives, for each row, one probability per outcome; *labels* say what happened.
Rows whose label is missing (nothing left to predict there) are not scored. Intervals come
from the bootstrap by group: whole sessions are drawn with replacement, because the rows of
one session resemble one another and would otherwise be counted as independent evidence
(Efron and Tibshirani, An Introduction to the Bootstrap, 1993). Lesson 04 derives each score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from course_lib.baselines import outcomes_and_codes
from course_lib.errors import CourseError, unknown_name

CLIP = float(np.finfo(np.float64).eps)
"""Smallest probability that is scored, 2.2e-16 as in scikit-learn: an outcome that a model
called impossible costs it 36 nats, not infinitely many."""
_TOLERANCE = 1e-4
_CHUNK = 4_000_000


# --- forecasts beside labels ---------------------------------------------------------------


def _table(forecast: object, labels: pd.Series, outcomes: list) -> np.ndarray:
    """Return the forecast as float64 [n, outcomes], in the labels' order of outcomes."""
    if isinstance(forecast, pd.DataFrame | pd.Series) and not forecast.index.equals(labels.index):
        raise CourseError(
            "The forecast and the labels are not about the same rows: their indexes differ; "
            "select the same rows from both."
        )
    if isinstance(forecast, pd.DataFrame):
        absent = [str(outcome) for outcome in outcomes if outcome not in forecast.columns]
        if absent:
            raise CourseError(
                f"The forecast has no column for the outcome {', '.join(absent)}: give one "
                "probability for each outcome of the labels."
            )
        forecast = forecast[outcomes]
    table = np.asarray(forecast, dtype=np.float64)
    if table.ndim == 1 and outcomes == [False, True]:
        table = np.column_stack([1.0 - table, table])
    if table.ndim != 2 or table.shape != (len(labels), len(outcomes)):
        raise CourseError(
            f"The forecast has the shape {np.shape(forecast)}, but there are {len(labels)} "
            f"labels and {len(outcomes)} outcomes: give one row a label and one column an outcome."
        )
    return table


def align(forecast: object, labels: object) -> tuple[np.ndarray, np.ndarray, list]:
    """Check a forecast against its labels and bring both into one order.

    Args:
        forecast: Probabilities: a DataFrame with one column an outcome (other columns are
            ignored), an array [n, outcomes] in the order of the label's categories, or, for
            boolean labels, the probability of True, [n].
        labels: What happened, [n]: category or boolean; missing rows are not scored.

    Returns:
        The forecast as float64 [n, outcomes]; the labels as positions among the outcomes,
        int64 [n], -1 where missing; the outcomes.

    Raises:
        CourseError: If nothing is left to score, the two are misaligned, or a scored row of
            the forecast is missing or is no probability distribution.
    """
    labels = labels if isinstance(labels, pd.Series) else pd.Series(labels)
    if not len(labels):
        raise CourseError("There are no rows to score: the labels are empty.")
    outcomes, codes = outcomes_and_codes(labels)
    table = _table(forecast, labels, outcomes)
    scored = codes >= 0
    if not scored.any():
        raise CourseError("There are no rows to score: every label is missing.")
    with np.errstate(invalid="ignore"):
        wrong = ~(
            (table >= -_TOLERANCE).all(axis=1) & (np.abs(table.sum(axis=1) - 1) <= _TOLERANCE)
        )
    wrong &= scored
    if wrong.any():
        first = int(np.argmax(wrong))
        row = np.array2string(table[first, :4], precision=3, separator=", ")
        raise CourseError(
            f"The forecast is no probability distribution in {int(wrong.sum())} rows, first at "
            f"position {first} with {row}: probabilities are at least 0 and add up to 1."
        )
    return table, codes, outcomes


# --- groups and resampling -----------------------------------------------------------------


@dataclass(frozen=True)
class Interval:
    """A score with the interval in which it would fall if other sessions had been drawn.

    Attributes:
        value: The score on the rows themselves.
        low: Lower end of the percentile interval.
        high: Upper end.
        n: Rows scored.
        groups: Groups (sessions) that were resampled.
        level: Share of the resamples inside the interval.
    """

    value: float
    low: float
    high: float
    n: int
    groups: int
    level: float = 0.95

    def __format__(self, spec: str) -> str:
        """Format as ``1.086 [1.075, 1.097]``; the spec (default ``.3f``) is each number's."""
        spec = spec or ".3f"
        value, low, high = (format(x + 0.0, spec) for x in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"

    def __str__(self) -> str:
        return format(self, "")


def _group_codes(groups: object, n: int) -> tuple[np.ndarray, int]:
    """Number the groups 0, 1, ..; a missing group is an error, as is a single one."""
    groups = np.asarray(groups)
    if groups.shape != (n,):
        raise CourseError(
            f"There are {n} rows but groups of shape {groups.shape}: give one group (session) a "
            "row, for example log.loc[rows, 'session_id']."
        )
    codes, names = pd.factorize(groups, sort=True)
    if (codes < 0).any():
        raise CourseError(
            f"The group is missing at position {int(np.argmax(codes < 0))}: every scored row "
            "needs its session."
        )
    if len(names) < 2:
        raise CourseError(
            f"An interval needs at least two groups (sessions), but there are {len(names)}."
        )
    return codes, len(names)


def _draws(groups: int, resamples: int, seed: int, width: int = 1) -> Iterator[np.ndarray]:
    """Yield how often each group is drawn, float64 [chunk, groups], `resamples` rows in all.

    Each row is an exact bootstrap sample: `groups` draws with replacement, counted. `width`
    is how many numbers the caller holds per resample; it bounds the size of a chunk only.
    """
    random = np.random.default_rng(seed)
    step = max(1, _CHUNK // max(groups, width))
    for start in range(0, resamples, step):
        chunk = min(step, resamples - start)
        drawn = random.integers(0, groups, size=(chunk, groups), dtype=np.int64)
        drawn += np.arange(chunk)[:, None] * groups
        counts = np.bincount(drawn.ravel(), minlength=chunk * groups)
        yield counts.reshape(chunk, groups).astype(np.float64)


def _finish(value: float, samples: np.ndarray, *, n: int, groups: int, level: float) -> Interval:
    """Percentile interval; resamples in which the score is undefined are left out."""
    samples = samples[np.isfinite(samples)]
    if not np.isfinite(value) or not len(samples):
        raise CourseError("The score is undefined on these rows, so it has no interval.")
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value), float(low), float(high), n, groups, level)


def _check_resampling(level: float, resamples: int) -> None:
    if not 0 < level < 1 or resamples < 1:
        raise CourseError(
            f"The level {level} must lie between 0 and 1 and the resamples {resamples} be at "
            "least 1."
        )


def interval(
    values: object,
    groups: object,
    statistic: Callable[[np.ndarray], np.ndarray] | None = None,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Bootstrap a statistic of per-row values by group.

    Args:
        values: One number a row, [n], or several, [n, m].
        groups: The row's group, [n]: its session, or its user.
        statistic: Function of the m column means, [..., m] -> [...]; by default the first
            column's mean.
        level: Share of the resamples inside the interval.
        resamples: How many times the groups are drawn anew.
        seed: Of the draws: the same seed draws the same sessions, so scores are comparable.

    Raises:
        CourseError: If there are no rows, a value is missing, the groups do not fit the
            rows, or there are fewer than two groups.
    """
    _check_resampling(level, resamples)
    table = np.asarray(values, dtype=np.float64)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or not len(table):
        raise CourseError("There are no rows to score: the values are empty.")
    if not np.isfinite(table).all():
        first = int(np.argmax(~np.isfinite(table).all(axis=1)))
        raise CourseError(
            f"The value at position {first} is missing or infinite: select the rows to score "
            "before resampling them."
        )
    codes, count = _group_codes(groups, len(table))
    columns = [np.bincount(codes, weights=column, minlength=count) for column in table.T]
    sums = np.column_stack([*columns, np.bincount(codes, minlength=count)])
    statistic = statistic or (lambda means: means[..., 0])
    with np.errstate(divide="ignore", invalid="ignore"):
        value = statistic(sums.sum(axis=0)[:-1] / len(table))
        samples = np.concatenate(
            [
                statistic(drawn[:, :-1] / drawn[:, -1:])
                for drawn in (weights @ sums for weights in _draws(count, resamples, seed))
            ]
        )
    return _finish(value, samples, n=len(table), groups=count, level=level)


def paired_difference(first: object, second: object, groups: object, **options) -> Interval:
    """Interval of the mean of ``first - second`` over the same rows, resampled together.

    Two models are nearly always unsure about the same sessions; pairing them takes that
    shared luck out of the comparison. Options are those of `interval`.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape:
        raise CourseError(
            f"The two models have {first.shape} and {second.shape} values: compare them on the "
            "same rows."
        )
    return interval(first - second, groups, **options)


def gap_closed(
    baseline: object, model: object, best: object, groups: object, **options
) -> Interval:
    """Share of the way from a baseline to the best possible score that a model has gone.

    ``(L_baseline - L_model) / (L_baseline - L_best)`` of the mean losses: 0 is the baseline,
    1 the best possible, below 0 worse than the baseline. Resampled by group, all three
    together.

    Args:
        baseline: Loss of the baseline in each row, [n], e.g. from `per_row_log_loss`.
        model: Loss of the model in the same rows, [n].
        best: Loss of the best possible forecast in the same rows, [n].
        groups: The row's group (session), [n].
        **options: ``level``, ``resamples`` and ``seed`` of `interval`.

    Raises:
        CourseError: As `interval`, or if the best possible is no better than the baseline.
    """
    losses = [np.asarray(loss, np.float64) for loss in (baseline, model, best)]
    if len({loss.shape for loss in losses}) > 1:
        shapes = ", ".join(str(loss.shape) for loss in losses)
        raise CourseError(
            f"Baseline, model and best possible have the shapes {shapes}: score them on the "
            "same rows."
        )
    if losses[0].size and not losses[0].mean() > losses[2].mean():
        raise CourseError(
            "There is no gap to close: the baseline is as good as the best possible forecast "
            "on these rows."
        )

    def share(means: np.ndarray) -> np.ndarray:
        return (means[..., 0] - means[..., 1]) / (means[..., 0] - means[..., 2])

    return interval(np.column_stack(losses), groups, share, **options)


# --- the metrics ---------------------------------------------------------------------------
# Each additive metric is a function of sums over rows, so that a resample is a weighted sum
# of per-group sums. Each ranking metric is a function of how many positives and negatives
# stand at each threshold, so that a resample is a weighted count.


def _sum_by(group: np.ndarray, groups: int, values: np.ndarray) -> np.ndarray:
    return np.bincount(group, weights=values, minlength=groups)[:, None]


def _loss(table: np.ndarray, codes: np.ndarray) -> np.ndarray:
    chosen = table[np.arange(len(codes)), codes]
    return -np.log(np.clip(chosen, CLIP, 1 - CLIP))


def _log_loss_sums(table, codes, group, groups):
    return _sum_by(group, groups, _loss(table, codes))


def _accuracy_sums(table, codes, group, groups):
    return _sum_by(group, groups, table.argmax(axis=1) == codes)


def _brier_sums(table, codes, group, groups):
    squares = np.einsum("ij,ij->i", table, table)
    squares += 1 - 2 * table[np.arange(len(codes)), codes]
    return _sum_by(group, groups, squares / 2 if table.shape[1] == 2 else squares)


def _f1_sums(table, codes, group, groups):
    outcomes = table.shape[1]
    chosen = table.argmax(axis=1)

    def count(rows: np.ndarray, of: np.ndarray) -> np.ndarray:
        cells = np.bincount(group[rows] * outcomes + of[rows], minlength=groups * outcomes)
        return cells.reshape(groups, outcomes)

    everywhere = np.ones(len(codes), bool)
    return np.hstack(
        [count(chosen == codes, codes), count(everywhere, chosen), count(everywhere, codes)]
    )


def _mean_of(sums: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return sums[..., 0] / rows


def _mean_f1_of(sums: np.ndarray, rows: np.ndarray) -> np.ndarray:
    hits, chosen, happened = np.split(sums, 3, axis=-1)
    seen = chosen + happened
    f1 = np.divide(2 * hits, seen, out=np.zeros_like(seen, dtype=np.float64), where=seen > 0)
    return f1.sum(axis=-1) / (seen > 0).sum(axis=-1)


def _roc_area(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """Chance that a positive outranks a negative, ties half; [thresholds, b] ascending -> [b]."""
    below = np.cumsum(negatives, axis=0) - negatives / 2
    pairs = positives.sum(axis=0) * negatives.sum(axis=0)
    return (positives * below).sum(axis=0) / pairs


def _average_precision(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """Precision at each threshold, weighted by the recall it adds; shapes as `_roc_area`."""
    hits = np.cumsum(positives[::-1], axis=0)
    shown = hits + np.cumsum(negatives[::-1], axis=0)
    precision = np.divide(hits, shown, out=np.zeros_like(hits), where=shown > 0)
    return (precision * positives[::-1]).sum(axis=0) / hits[-1]


@dataclass(frozen=True)
class Metric:
    """How one metric is named, read and computed.

    Attributes:
        title: As a table's column says it.
        lower_is_better: Which way is up.
        binary: Whether it needs yes-or-no labels.
        sums: Per-group sums from (forecast, label codes, group codes, number of groups).
        finish: The score from sums [..., m] and rows [...].
        area: For ranking metrics instead: the score from the positives and negatives at each
            distinct score, ascending, [thresholds, resamples].
    """

    title: str
    lower_is_better: bool = False
    binary: bool = False
    sums: Callable | None = field(default=None, repr=False)
    finish: Callable = field(default=_mean_of, repr=False)
    area: Callable | None = field(default=None, repr=False)


METRICS: dict[str, Metric] = {
    "log_loss": Metric("log-loss", lower_is_better=True, sums=_log_loss_sums),
    "accuracy": Metric("accuracy", sums=_accuracy_sums),
    "macro_f1": Metric("macro F1", sums=_f1_sums, finish=_mean_f1_of),
    "brier": Metric("Brier", lower_is_better=True, sums=_brier_sums),
    "roc_auc": Metric("ROC AUC", binary=True, area=_roc_area),
    "average_precision": Metric("average precision", binary=True, area=_average_precision),
}


def _metric(name: str, outcomes: list) -> Metric:
    if name not in METRICS:
        raise unknown_name("metric", name, METRICS)
    metric = METRICS[name]
    if metric.binary and outcomes != [False, True]:
        raise CourseError(
            f"{metric.title} needs yes-or-no labels, but these have {len(outcomes)} outcomes: "
            "compare one outcome with the rest, labels == outcome."
        )
    return metric


def _thresholds(table: np.ndarray, codes: np.ndarray, title: str) -> tuple[np.ndarray, int]:
    """Rank of each row's score among the distinct scores, ascending, and their number."""
    if codes.min() == codes.max():
        only = bool(codes[0])
        raise CourseError(
            f"{title} needs both outcomes, but every label here is {only}: score more rows."
        )
    scores, rank = np.unique(table[:, 1], return_inverse=True)
    return rank, len(scores)


Samples = tuple[float, np.ndarray]
"""A score, and what it would have been in each resample, [resamples]."""


def _area_samples(
    metric: Metric,
    table: np.ndarray,
    codes: np.ndarray,
    group: np.ndarray,
    groups: int,
    *,
    resamples: int,
    seed: int,
) -> Samples:
    """Resample a ranking metric: each resample weights the rows by their session's draws."""
    from scipy.sparse import csr_array

    rank, size = _thresholds(table, codes, metric.title)

    def by_group(rows: np.ndarray) -> csr_array:
        cells = (np.ones(int(rows.sum())), (rank[rows], group[rows]))
        return csr_array(cells, shape=(size, groups))

    positives, negatives = by_group(codes == 1), by_group(codes == 0)
    once = np.ones((groups, 1))
    value = metric.area(positives @ once, negatives @ once)[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        samples = [
            metric.area(positives @ weights, negatives @ weights)
            for weights in (
                np.ascontiguousarray(drawn.T)
                for drawn in _draws(groups, resamples, seed, width=size)
            )
        ]
    return value, np.concatenate(samples)


def _samples(
    chosen: dict[str, Metric],
    table: np.ndarray,
    codes: np.ndarray,
    group: np.ndarray,
    groups: int,
    *,
    resamples: int,
    seed: int,
) -> dict[str, Samples]:
    """Score and resample by each metric; one seed draws the same groups for all of them."""
    sums = {
        name: metric.sums(table, codes, group, groups).astype(np.float64)
        for name, metric in chosen.items()
        if metric.sums
    }
    rows = np.bincount(group, minlength=groups).astype(np.float64)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in sums}
    for weights in _draws(groups, resamples, seed) if sums else ():
        for name, samples in parts.items():
            samples.append(chosen[name].finish(weights @ sums[name], weights @ rows))
    scored: dict[str, Samples] = {}
    for name, metric in chosen.items():
        if metric.area:
            scored[name] = _area_samples(
                metric, table, codes, group, groups, resamples=resamples, seed=seed
            )
        else:
            value = metric.finish(sums[name].sum(axis=0), np.float64(len(codes)))
            scored[name] = value, np.concatenate(parts[name])
    return scored


def scorecard(
    forecast: object,
    labels: object,
    groups: object,
    metrics: Iterable[str] = ("log_loss", "accuracy", "macro_f1"),
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Score one forecast by several metrics, each with its interval by group.

    Args:
        forecast: As in `align`.
        labels: As in `align`; rows without a label are not scored.
        groups: The row's session, [n].
        metrics: Names out of `METRICS`.
        level: Share of the resamples inside an interval.
        resamples: How many times the groups are drawn anew; the same draws for each metric.
        seed: Of the draws.

    Raises:
        CourseError: As `align` and `interval`; for an unknown metric; for a ranking metric
            on labels that are not yes-or-no, or all the same.
    """
    _check_resampling(level, resamples)
    table, codes, outcomes = align(forecast, labels)
    chosen = {name: _metric(name, outcomes) for name in metrics}
    table, codes, group, count = _grouped(table, codes, groups)
    scores = _samples(chosen, table, codes, group, count, resamples=resamples, seed=seed)
    return {
        name: _finish(value, samples, n=len(codes), groups=count, level=level)
        for name, (value, samples) in scores.items()
    }


def paired_score_difference(
    first: object,
    second: object,
    labels: object,
    groups: object,
    metric: str = "roc_auc",
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Interval of one forecast's score less another's on the same rows, resampled together.

    `paired_difference` does it for scores that are means over rows. An area under a curve or
    the macro F1 is none, so both forecasts are scored anew in each resample, on the same drawn
    sessions, and the interval is that of the differences.

    Args:
        first: As in `align`.
        second: As in `align`, of the same rows.
        labels: As in `align`; rows without a label are not scored.
        groups: The row's session, [n].
        metric: A name out of `METRICS`.
        level: Share of the resamples inside the interval.
        resamples: How many times the groups are drawn anew.
        seed: Of the draws.

    Raises:
        CourseError: As `scorecard`.
    """
    _check_resampling(level, resamples)
    scores = []
    for forecast in (first, second):
        table, codes, outcomes = align(forecast, labels)
        chosen = {metric: _metric(metric, outcomes)}
        table, codes, group, count = _grouped(table, codes, groups)
        resampled = _samples(chosen, table, codes, group, count, resamples=resamples, seed=seed)
        scores.append(resampled[metric])
    (value, samples), (other, others) = scores
    return _finish(value - other, samples - others, n=len(codes), groups=count, level=level)


def _grouped(
    table: np.ndarray, codes: np.ndarray, groups: object
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """The labelled rows alone, with their groups numbered."""
    groups = np.asarray(groups)
    if groups.shape != codes.shape:
        _group_codes(groups, len(codes))
    scored = codes >= 0
    group, count = _group_codes(groups[scored], int(scored.sum()))
    return table[scored], codes[scored], group, count


def _score(name: str, forecast: object, labels: object) -> float:
    table, codes, outcomes = align(forecast, labels)
    metric = _metric(name, outcomes)
    scored = codes >= 0
    table, codes = table[scored], codes[scored]
    if metric.area:
        rank, size = _thresholds(table, codes, metric.title)
        counts = [np.bincount(rank[codes == side], minlength=size)[:, None] for side in (1, 0)]
        return float(metric.area(*(count.astype(np.float64) for count in counts))[0])
    sums = metric.sums(table, codes, np.zeros(len(codes), np.int64), 1)
    return float(metric.finish(sums[0], np.float64(len(codes))))


def per_row_log_loss(forecast: object, labels: object) -> np.ndarray:
    """Nats of surprise in each row, ``-log(probability of what happened)``; float64 [n].

    Rows without a label give NaN. Probabilities are clipped to [`CLIP`, 1 - `CLIP`].

    Raises:
        CourseError: As `align`.
    """
    table, codes, _ = align(forecast, labels)
    losses = np.full(len(codes), np.nan)
    scored = codes >= 0
    losses[scored] = _loss(table[scored], codes[scored])
    return losses


def log_loss(forecast: object, labels: object) -> float:
    """Mean surprise in nats, lower is better; clipped as `per_row_log_loss`. See `align`."""
    return _score("log_loss", forecast, labels)


def accuracy(forecast: object, labels: object) -> float:
    """Share of rows whose likeliest outcome happened; ties go to the first outcome."""
    return _score("accuracy", forecast, labels)


def macro_f1(forecast: object, labels: object) -> float:
    """F1 of each outcome, averaged alike over the outcomes that were forecast or happened."""
    return _score("macro_f1", forecast, labels)


def brier(forecast: object, labels: object) -> float:
    """Mean squared distance between probabilities and what happened, lower is better.

    With two outcomes it is ``(p - y)^2`` of the second, from 0 to 1; with more it is the sum
    over the outcomes, from 0 to 2 (Brier 1950), as scikit-learn's ``scale_by_half="auto"``.
    """
    return _score("brier", forecast, labels)


def roc_auc(forecast: object, labels: object) -> float:
    """Chance that a True row is ranked above a False one, ties counting half.

    Raises:
        CourseError: As `align`; if the labels are not boolean or are all the same.
    """
    return _score("roc_auc", forecast, labels)


def average_precision(forecast: object, labels: object) -> float:
    """Mean precision over the recall gained at each threshold; tied scores share one threshold.

    Raises:
        CourseError: As `align`; if the labels are not boolean or are all the same.
    """
    return _score("average_precision", forecast, labels)
