"""Scores for rankings of a whole catalogue: where did the item stand that really came next?

A *rank* is one number a row, 1 for the best of all items (`rank_of_target`); NaN where nothing
was asked. As one item is right in each row, every score here is the mean of a function of that
rank, so it has a value in each row, and its interval is `metrics.interval` of those.

Metrics have names with their k: ``hit_rate@10``, ``ndcg@20``, ``mrr@20``. Lesson 04 derives them.

**Ties.** Items with the same score get their mean rank, which need not be whole: two items
tied for first place have rank 1.5 each. All three metrics are functions of that one number.
Other libraries settle ties otherwise, and agree with these exactly where nothing ties with the
target (checked to 1e-6 in the tests):

- ``sklearn.metrics.ndcg_score`` averages the *gain* over the orders of tied items, not the
  rank. As the gain is convex in the rank its value is a little higher inside the first k, and
  at the edge it counts a partial hit. With ``ignore_ties=True`` the order of columns decides.
- ``sklearn.metrics.top_k_accuracy_score`` lets the order of columns decide: among tied items
  the last ones win. A model that scores all items alike is right or wrong by its table.
- ``sklearn.metrics.label_ranking_average_precision_score`` (for one right item the MRR without
  a k), ``coverage_error`` (the rank) and ``label_ranking_loss`` (``(rank - 1) / (items - 1)``)
  give tied items the *worst* rank of them all.
- ``keras_rs.metrics`` (RecallAtK, NDCG, MeanReciprocalRank) shuffle ties before they sort, even
  with ``shuffle_ties=False``, so a tied score is that of one random order; averaged over many
  seeds it is the mean of ``1 / rank``, which is above one over the mean rank. Their mask takes
  items out of the ranking as `exclude` does here, but a row whose right item is masked counts
  as 0; here the target always stays a candidate, and a row is left out by its rank, NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from course_lib.baselines.ranks import rank_of_target
from course_lib.errors import CourseError, unknown_name
from course_lib.metrics.forecasts import Interval, interval

__all__ = [
    "RANKING",
    "RankingMetric",
    "coverage",
    "hit_rate",
    "mrr",
    "ndcg",
    "per_row_ranking",
    "popularity_of",
    "rank_of_target",
    "ranking_metric",
    "ranking_scorecard",
]


def _hits(ranks: np.ndarray, k: int) -> np.ndarray:
    return (ranks <= k).astype(np.float64)


def _gains(ranks: np.ndarray, k: int) -> np.ndarray:
    return np.where(ranks <= k, 1 / np.log2(1 + ranks), 0.0)


def _reciprocals(ranks: np.ndarray, k: int) -> np.ndarray:
    return np.where(ranks <= k, 1 / ranks, 0.0)


@dataclass(frozen=True)
class RankingMetric:
    """How one metric of ranks is named and computed; all are better higher.

    Attributes:
        name: As in `RANKING`, without its k.
        title: As a table's column says it, without its k.
        values: The value of each rank, from (ranks [n], k).
        k: How many places count; None in `RANKING`, where it is not chosen yet.
    """

    name: str
    title: str
    values: Callable[[np.ndarray, int], np.ndarray] = field(repr=False)
    k: int | None = None
    lower_is_better: bool = False

    def per_row(self, ranks: object) -> np.ndarray:
        """Value of each rank, float64 [n]; NaN where the rank is."""
        ranks = _ranks(ranks)
        with np.errstate(invalid="ignore"):
            return np.where(np.isnan(ranks), np.nan, self.values(ranks, self.k))


RANKING: dict[str, RankingMetric] = {
    "hit_rate": RankingMetric("hit_rate", "HR", _hits),
    "ndcg": RankingMetric("ndcg", "NDCG", _gains),
    "mrr": RankingMetric("mrr", "MRR", _reciprocals),
}
"""The metrics of ranks by name; `ranking_metric` adds the k, as in ``hit_rate@10``."""


def ranking_metric(name: str, k: int | None = None) -> RankingMetric:
    """Return the metric of that name with its k: ``hit_rate@10``, or ``hit_rate`` and 10.

    Raises:
        CourseError: If there is no such metric, or no k, or one below 1.
    """
    stem, _, places = name.partition("@")
    if stem not in RANKING:
        raise unknown_name("metric of ranks", stem, RANKING)
    if places.isdigit():
        k = int(places)
    if (places and not places.isdigit()) or not isinstance(k, int | np.integer) or k < 1:
        raise CourseError(
            f"A metric of ranks needs its k, a whole number of places from 1, but {name!r} came "
            f"with {places or k!r}: say {stem}@10."
        )
    metric = RANKING[stem]
    return RankingMetric(metric.name, f"{metric.title}@{k}", metric.values, int(k))


def _ranks(ranks: object) -> np.ndarray:
    ranks = np.asarray(ranks, dtype=np.float64)
    if ranks.ndim != 1:
        raise CourseError(f"Ranks are one number a row, not an array of shape {ranks.shape}.")
    if (ranks < 1).any():
        first = int(np.argmax(ranks < 1))
        raise CourseError(
            f"The rank at position {first} is {ranks[first]:g}, but the best rank is 1: give "
            "ranks as rank_of_target counts them, not positions from 0 or scores."
        )
    return ranks


def per_row_ranking(ranks: object, metric: str, k: int | None = None) -> np.ndarray:
    """Return the metric's value in each row, float64 [n], NaN where the rank is NaN.

    Args:
        ranks: Rank of each row's true item, [n], from 1.
        metric: ``hit_rate@10``, or ``hit_rate`` with `k`.
        k: How many places count, where the name does not say.

    Raises:
        CourseError: If a rank is below 1, or there is no such metric.
    """
    return ranking_metric(metric, k).per_row(ranks)


def _mean(ranks: object, metric: str, k: int) -> float:
    values = per_row_ranking(ranks, metric, k)
    values = values[~np.isnan(values)]
    if not len(values):
        raise CourseError("There are no ranks to score: every one is missing.")
    return float(values.mean())


def hit_rate(ranks: object, k: int) -> float:
    """HR@k: share of the rows whose item stands among the first k, ``mean(rank <= k)``.

    With one right item a row it is also called recall@k and top-k accuracy. A mean rank on a
    tie is a hit if it is at most k: of items tied for places k and k + 1 none is hit. Rows
    without a rank do not count.

    Raises:
        CourseError: If no rank is there, or one is below 1, or k is.
    """
    return _mean(ranks, "hit_rate", k)


def ndcg(ranks: object, k: int) -> float:
    """NDCG@k: mean of ``1 / log2(1 + rank)`` where the rank is at most k, else 0.

    The normalised discounted cumulative gain (Järvelin and Kekäläinen 2002) of one right item:
    the best order would have it first, with gain 1, so there is nothing left to divide by.

    Raises:
        CourseError: As `hit_rate`.
    """
    return _mean(ranks, "ndcg", k)


def mrr(ranks: object, k: int) -> float:
    """MRR@k: mean of ``1 / rank`` where the rank is at most k, else 0.

    Raises:
        CourseError: As `hit_rate`.
    """
    return _mean(ranks, "mrr", k)


def ranking_scorecard(
    ranks: object,
    groups: object,
    metrics: Iterable[str] = ("hit_rate@20", "ndcg@20", "mrr@20"),
    **options,
) -> dict[str, Interval]:
    """Score ranks by several metrics, each with its interval by group.

    Args:
        ranks: Rank of each row's true item, [n]; rows without a rank are not scored.
        groups: The row's session or user, [n].
        metrics: Names with their k.
        **options: ``level``, ``resamples`` and ``seed`` of `course_lib.metrics.interval`.

    Raises:
        CourseError: As `hit_rate` and `course_lib.metrics.interval`.
    """
    ranks, groups = _ranks(ranks), np.asarray(groups)
    if groups.shape != ranks.shape:
        raise CourseError(
            f"There are {len(ranks)} ranks but groups of shape {groups.shape}: give one group "
            "(session or user) a row."
        )
    asked = ~np.isnan(ranks)
    return {
        name: interval(per_row_ranking(ranks[asked], name), groups[asked], **options)
        for name in metrics
    }


# --- what is recommended -------------------------------------------------------------------


def _recommended(recommended: object, items: int) -> np.ndarray:
    """The items in all lists, int64 [m], without empty places (-1)."""
    shown = np.asarray(recommended)
    if shown.dtype.kind not in "iu":
        raise CourseError(
            f"Recommendations are positions of items, int [rows, k], not {shown.dtype}."
        )
    shown = shown.ravel()
    shown = shown[shown != -1].astype(np.int64)
    if not len(shown):
        raise CourseError("Nothing is recommended: there is no item in any list.")
    wrong = (shown < 0) | (shown >= items)
    if wrong.any():
        raise CourseError(
            f"Item {shown[np.argmax(wrong)]} is recommended, but the catalogue has items 0 to "
            f"{items - 1}."
        )
    return shown


def coverage(recommended: object, items: int) -> float:
    """Share of the catalogue that is recommended to anyone at all, from 0 to 1.

    Args:
        recommended: Positions of the recommended items, int [rows, k]; -1 is an empty place.
        items: How many items the catalogue has.

    Raises:
        CourseError: If nothing is recommended, or an item that the catalogue does not have.
    """
    return len(np.unique(_recommended(recommended, items))) / items


def popularity_of(recommended: object, counts: object) -> float:
    """Mean popularity of what is recommended, as a percentile of the catalogue, 0 to 1.

    An item's percentile is the share of the catalogue that is less popular, items as popular
    as itself counting half. Recommending every item equally often gives exactly 1/2, always
    the most popular ones nearly 1.

    Args:
        recommended: Positions of the recommended items, int [rows, k]; -1 is an empty place.
        counts: How popular each item is (training rows it is in), [items].

    Raises:
        CourseError: As `coverage`.
    """
    counts = np.asarray(counts)
    shown = _recommended(recommended, len(counts))
    ascending = np.sort(counts)
    fewer = np.searchsorted(ascending, counts[shown], "left")
    up_to = np.searchsorted(ascending, counts[shown], "right")
    return float(((fewer + up_to) / 2).mean() / len(counts))
