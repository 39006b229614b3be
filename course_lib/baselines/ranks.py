"""The rank of the true item among all items, by counting: no sort, no sample, ties settled.

Whoever has scored a whole catalogue for each row and only wants to know where the item stands
that really came next need not sort anything: its rank is one more than the number of items
scored above it. Lesson 04 derives it, and shows what goes wrong when the item is ranked among
a sample of others instead (Krichene and Rendle, On sampled metrics for item recommendation,
KDD 2020).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from course_lib.errors import CourseError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_CHUNK = 4_000_000
"""Numbers that are looked at in one go: what bounds the memory."""


def rank_of_target(
    scores: np.ndarray | csr_array,
    targets: np.ndarray,
    tie_break: np.ndarray | None = None,
    exclude: np.ndarray | csr_array | None = None,
) -> np.ndarray:
    """Return the rank of each row's true item among all candidates, 1 is best.

    ``rank = 1 + #(scored above the target) + #(other items that tie with it) / 2``: a tie is
    settled by the *mean rank*, the average over all orders of the tied items. So a model that
    scores all items alike gets the rank in the middle of the catalogue, whether its target
    happens to stand first in the table or last. Scores tie if they are equal to the last digit.

    Nothing is sorted and sparse scores stay sparse: beyond the scores themselves it takes
    some tens of megabytes.

    Args:
        scores: One score an item, higher is better: an array [n, items], or a SciPy sparse
            matrix of that shape, whose entries are at least 0 and whose absent entries are 0.
            Infinite scores are fine.
        targets: The position of each row's true item, int [n]; -1 where there is none.
        tie_break: A number an item, [items], higher is better (its popularity, say): it orders
            items of equal score, and the mean rank settles only what ties in both. For sparse
            scores that includes all items that the model did not touch.
        exclude: Items that are no candidates in a row, bool [n, items] or sparse (any entry but
            0 excludes): those bought already, say. The target always is a candidate.

    Returns:
        Ranks, float64 [n], from 1 to the number of candidates; NaN where the target is -1.

    Raises:
        CourseError: If shapes disagree, a target is not in the catalogue, a score is missing,
            or a sparse score is negative.
    """
    sparse = hasattr(scores, "tocsr")
    scores = _canonical(scores) if sparse else np.asarray(scores)
    if scores.ndim != 2 or not scores.shape[1] or scores.dtype.kind not in "fiub":
        raise CourseError(
            f"Scores are numbers of shape [rows, items], not {scores.dtype} of shape "
            f"{scores.shape}."
        )
    targets = _targets(targets, *scores.shape)
    order = _tie_break(tie_break, scores.shape[1])
    exclude = _exclude(exclude, scores.shape)
    ranks = np.full(len(targets), np.nan)
    count = _sparse_counts if sparse else _dense_counts
    for rows in _chunks(scores, exclude, sparse):
        part, wanted = scores[rows], targets[rows]
        asked = wanted >= 0
        if not asked.any():
            continue
        above, ties = count(part, np.where(asked, wanted, 0), order, rows.start)
        if exclude is not None:
            gone = _excluded_counts(part, exclude[rows], wanted, order, sparse)
            above, ties = above - gone[0], ties - gone[1]
        ranks[rows] = np.where(asked, 1 + above + (ties - 1) / 2, np.nan)
    return ranks


# --- counting ------------------------------------------------------------------------------
# Each function returns, for each row of a chunk, how many items are scored above the target
# and how many, the target among them, tie with it.


def _dense_counts(
    scores: np.ndarray, targets: np.ndarray, order: np.ndarray | None, start: int
) -> tuple[np.ndarray, np.ndarray]:
    if scores.dtype.kind == "f" and np.isnan(scores.max(axis=1)).any():
        row = int(np.argmax(np.isnan(scores.max(axis=1))))
        raise CourseError(
            f"A score is missing (NaN) in row {start + row}: every item needs a score."
        )
    own = scores[np.arange(len(targets)), targets][:, None]
    above = np.count_nonzero(scores > own, axis=1)
    ties = np.count_nonzero(scores == own, axis=1)
    tied = np.flatnonzero(ties > 1)
    if order is not None and len(tied):
        equal = scores[tied] == own[tied]
        place = order[targets[tied]][:, None]
        above[tied] += np.count_nonzero(equal & (order > place), axis=1)
        ties[tied] = np.count_nonzero(equal & (order == place), axis=1)
    return above, ties


def _sparse_counts(
    scores: csr_array, targets: np.ndarray, order: np.ndarray | None, start: int
) -> tuple[np.ndarray, np.ndarray]:
    rows, items, values = _entries(scores)
    if not (values >= 0).all():
        row = start + int(rows[np.argmin(values >= 0)])
        raise CourseError(
            f"A sparse score is negative or missing in row {row}: an item without an entry "
            "scores 0, so entries are at least 0."
        )
    own = look_up(scores, np.arange(len(targets)), targets)
    above, ties = _tally(rows, items, values, targets, own, order)
    # Where the target scores 0, all items without an entry tie with it, but for the tie-break.
    touched = _tally(rows, items, np.zeros_like(values), targets, np.zeros_like(own), order)
    if order is None:
        pool = np.zeros(len(targets), np.int64), np.full(len(targets), scores.shape[1])
    else:
        ascending = np.sort(order)
        left = np.searchsorted(ascending, order[targets], "left")
        right = np.searchsorted(ascending, order[targets], "right")
        pool = scores.shape[1] - right, right - left
    zero = own == 0
    return above + zero * (pool[0] - touched[0]), ties + zero * (pool[1] - touched[1])


def _excluded_counts(
    scores: np.ndarray | csr_array,
    exclude: np.ndarray | csr_array,
    targets: np.ndarray,
    order: np.ndarray | None,
    sparse: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Count what the excluded items had contributed."""
    rows, items = exclude.nonzero()
    keep = (items != targets[rows]) & (targets[rows] >= 0)
    rows, items = rows[keep], items[keep]
    own = np.arange(len(targets))
    targets = np.maximum(targets, 0)
    if sparse:
        values, own = look_up(scores, rows, items), look_up(scores, own, targets)
    else:
        values, own = scores[rows, items], scores[own, targets]
    return _tally(rows, items, values, targets, own, order)


def _tally(
    rows: np.ndarray,
    items: np.ndarray,
    values: np.ndarray,
    targets: np.ndarray,
    own: np.ndarray,
    order: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Count which of the listed items stand above their row's target, and which tie with it."""
    above, ties = values > own[rows], values == own[rows]
    if order is not None:
        place = order[targets][rows]
        above |= ties & (order[items] > place)
        ties &= order[items] == place
    size = len(targets)
    return np.bincount(rows[above], minlength=size), np.bincount(rows[ties], minlength=size)


def _entries(matrix: csr_array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, column and value of each stored entry."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    return rows, matrix.indices, matrix.data


def look_up(matrix: csr_array, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Values at the given places, 0 where there is no entry; entries stand in order."""
    stored, columns, values = _entries(matrix)
    keys = stored * np.int64(matrix.shape[1]) + columns
    wanted = rows * np.int64(matrix.shape[1]) + items
    found = np.zeros(len(wanted), values.dtype)
    if len(keys):
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        there = keys[at] == wanted
        found[there] = values[at[there]]
    return found


# --- checking and chunking -----------------------------------------------------------------


def _canonical(matrix: object) -> csr_array:
    """The matrix as CSR with sorted columns and no duplicates; copied only if it was not."""
    matrix = matrix.tocsr()
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    return matrix


def _targets(targets: object, rows: int, items: int) -> np.ndarray:
    targets = np.asarray(targets)
    if targets.shape != (rows,) or targets.dtype.kind not in "iu":
        raise CourseError(
            f"There are {rows} rows of scores but targets of shape {targets.shape} and type "
            f"{targets.dtype}: give one item's position a row, -1 where there is none."
        )
    wrong = (targets < -1) | (targets >= items)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise CourseError(
            f"The target of row {first} is item {targets[first]}, but the scores are about "
            f"items 0 to {items - 1}."
        )
    return targets.astype(np.int64, copy=False)


def _tie_break(tie_break: object, items: int) -> np.ndarray | None:
    if tie_break is None:
        return None
    order = np.asarray(tie_break)
    if order.shape != (items,) or (order.dtype.kind == "f" and np.isnan(order).any()):
        raise CourseError(
            f"tie_break is one number for each of the {items} items, not an array of shape "
            f"{order.shape} or one with missing numbers."
        )
    return order


def _exclude(exclude: object, shape: tuple[int, int]) -> np.ndarray | csr_array | None:
    if exclude is None:
        return None
    exclude = _canonical(exclude) if hasattr(exclude, "tocsr") else np.asarray(exclude)
    if exclude.shape != shape or (isinstance(exclude, np.ndarray) and exclude.dtype != bool):
        raise CourseError(
            f"exclude is a boolean or sparse table of the scores' shape {shape}, not "
            f"{exclude.dtype} of shape {exclude.shape}."
        )
    return exclude


def _chunks(scores: object, exclude: object, sparse: bool) -> Iterator[slice]:
    """Cut the rows so that no piece has more than `_CHUNK` numbers, or is a single row."""
    n, items = scores.shape
    work = np.zeros(n + 1, np.int64)
    for table, stored in ((scores, sparse), (exclude, hasattr(exclude, "indptr"))):
        if table is not None:
            work += table.indptr if stored else np.arange(n + 1) * items
    work += np.arange(n + 1)
    start = 0
    while start < n:
        stop = int(np.searchsorted(work, work[start] + _CHUNK, "right")) - 1
        stop = max(stop, start + 1)
        yield slice(start, stop)
        start = stop
