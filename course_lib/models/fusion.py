"""Rank fusion: one list of recommendations from several models' lists (lesson 08).

A network's scores and counted ones have no common unit, but their lists have: places. Each
model gives an item credit for its place in that model's list, the fewer the further down, and
the weights say how much each model's word counts (reciprocal rank fusion: Cormack, Clarke and
Buettcher, SIGIR 2009). The weights are chosen on the validation part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from course_lib.baselines.ranks import rank_of_target
from course_lib.errors import CourseError
from course_lib.metrics import per_row_ranking, ranking_metric

if TYPE_CHECKING:
    from scipy.sparse import csr_array

CONSTANTS = (1, 5, 20, 60)
"""The smaller, the more the first places count; the paper has 60."""


@dataclass(frozen=True)
class Fusion:
    """How lists are fused.

    Attributes:
        weights: How much each model's list counts, by name; they add up to 1.
        constant: Added to each place before it divides the weight.
        score: What the validation part scored with them.
    """

    weights: dict[str, float]
    constant: float
    score: float = np.nan

    def scores(self, lists: Mapping[str, np.ndarray], items: int) -> csr_array:
        """Return `fused_scores` with these weights."""
        return fused_scores(lists, self.weights, items, self.constant)


def fused_scores(
    lists: Mapping[str, np.ndarray],
    weights: Mapping[str, float],
    items: int,
    constant: float = 60,
) -> csr_array:
    """Score items by their places in several lists: ``sum of weight / (constant + place)``.

    Args:
        lists: For each model the places of items in the catalogue, best first, int [rows, k];
            -1 where a model lists nothing. `k` may differ, the rows may not.
        weights: For each of these models a number, 0 or more.
        items: Items of the catalogue.
        constant: Added to a place (counted from 1); above -1.

    Returns:
        Sparse scores [rows, items]: what `rank_of_target` takes. An item that no model lists
        has no entry.

    Raises:
        CourseError: If names or rows differ, or a weight is negative.
    """
    from scipy.sparse import csr_array

    if set(lists) != set(weights):
        raise CourseError(
            f"There are lists of {', '.join(lists)} and weights of {', '.join(weights)}: give one "
            "weight for each list."
        )
    rows = {len(listed) for listed in lists.values()}
    if len(rows) != 1:
        raise CourseError(
            f"The lists have {' and '.join(map(str, sorted(rows)))} rows: fuse lists of the same "
            "rows."
        )
    if min(weights.values()) < 0 or constant <= -1:
        raise CourseError("Weights are 0 or more, and the constant is above -1.")
    shape = (rows.pop(), items)
    total = csr_array(shape, dtype=np.float64)
    for name, listed in lists.items():
        row, place = np.nonzero(listed >= 0)
        credit = weights[name] / (constant + place + 1)
        total = total + csr_array((credit, (row, listed[row, place])), shape)
    total.eliminate_zeros()
    return total


def fusion_weights(
    lists: Mapping[str, np.ndarray],
    targets: np.ndarray,
    items: int,
    *,
    metric: str = "ndcg@10",
    tie_break: np.ndarray | None = None,
    steps: int = 10,
    constants: Sequence[float] = CONSTANTS,
) -> Fusion:
    """Choose weights and constant by trying all: on rows of the validation part, never of test.

    Args:
        lists: As `fused_scores` takes them, of validation rows.
        targets: The place of the item that came next in the catalogue, int [rows]; -1: none.
        items: Items of the catalogue.
        metric: What must be high, as ``ndcg@10``, ``hit_rate@20`` or ``mrr@20``.
        tie_break: As in `rank_of_target`; popularity, say.
        steps: Weights are multiples of ``1 / steps`` that add up to 1.
        constants: Those to try.

    Raises:
        CourseError: As `fused_scores`, or if there is no such metric, or nothing to score.
    """
    ranking_metric(metric)
    if not (np.asarray(targets) >= 0).any():
        raise CourseError("No row has a next item: there is nothing to choose weights by.")
    best: Fusion | None = None
    for constant in constants:
        for parts in _compositions(steps, len(lists)):
            weights = {name: part / steps for name, part in zip(lists, parts, strict=True)}
            scores = fused_scores(lists, weights, items, constant)
            ranks = rank_of_target(scores, targets, tie_break)
            value = float(np.nanmean(per_row_ranking(ranks, metric)))
            if best is None or value > best.score:
                best = Fusion(weights, constant, value)
    return best


def _compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """All ways to write `total` as a sum of so many whole numbers, order counts."""
    if parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _compositions(total - first, parts - 1):
            yield (first, *rest)
