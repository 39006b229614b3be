"""Rankers of the next item that only count: popularity, chains, rules, nearest sessions.

All are shaped alike and aligned with the rows of the log: `fit` counts what stands in the rows
that a mask selects (the training part); `rank` says for each row where the item that really
came next stands in the full catalogue; `recommend` names the best items. Row i sees the items
of its session up to and including row i; rows without an item (a search, say) are passed over.

Scores are sparse: an item that a ranker never touched scores 0, and items of equal score are
ordered by how often they were seen in training, then share the mean rank
(`course_lib.baselines.ranks`). Lesson 04 derives the rankers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd

from course_lib.baselines.ranks import rank_of_target
from course_lib.errors import CourseError, unknown_name
from course_lib.sessions import session_ids

if TYPE_CHECKING:
    from scipy.sparse import csr_array

DIRECTIONS = ("forward", "backward", "both")
NORMS = ("none", "source", "cosine")
_CHUNK = 4096
"""Rows that are scored in one go: what bounds the memory."""


class Visits:
    """The rows of a log that have an item, and where each row of the log stands among them.

    Args:
        log: An event log with sessions and items.
        items: The catalogue, in the order of its codes; by default the log's categories.

    Attributes:
        items: The catalogue.
        item: Item code of each visit, int64 [visits].
        session: Session of each visit, int64 [visits].
        row: Row of the log of each visit, int64 [visits].
        last: For each row of the log its latest visit in the session so far, -1 if none.

    Raises:
        CourseError: If the log has no sessions or items, or an item that the catalogue lacks.
    """

    def __init__(self, log: pd.DataFrame, items: pd.Index | None = None):
        if "item_id" not in log or not isinstance(log["item_id"].dtype, pd.CategoricalDtype):
            raise CourseError(
                "Ranking items needs a category column 'item_id': a clean log of a shop that "
                "records items has it."
            )
        sessions, column = session_ids(log), log["item_id"]
        if items is not None and not items.equals(column.cat.categories):
            unknown = column.cat.categories.difference(items)
            unknown = unknown[unknown.isin(column.dropna().unique())]
            if len(unknown):
                raise CourseError(
                    f"{len(unknown)} items of this log are in no catalogue that the ranker knows, "
                    f"first {unknown[0]!r}: fit it on a log with the same item categories (unseen "
                    "items may be among them)."
                )
            column = column.cat.set_categories(items)
        codes = column.cat.codes.to_numpy(np.int64)
        self.items = column.cat.categories
        self.row = np.flatnonzero(codes >= 0)
        self.item, self.session = codes[self.row], sessions[self.row]
        before = np.cumsum(codes >= 0) - 1
        same = before >= 0
        same[same] = self.session[before[same]] == sessions[same]
        self.last = np.where(same, before, -1)

    def back(self, latest: np.ndarray, distance: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the visits so many steps before others, and which there are.

        Args:
            latest: Visits, int64 [n]; -1 for none.
            distance: Steps back, 0 or more.

        Returns:
            Positions among the visits, int64 [found], and a mask of those found, bool [n].
        """
        earlier = latest - distance
        found = (latest >= 0) & (earlier >= 0)
        found[found] = self.session[earlier[found]] == self.session[latest[found]]
        return earlier[found], found

    def history(self, latest: np.ndarray, length: int) -> csr_array:
        """Weights of the last items of each context: 1 for the last, 1/2 for the one before, ..

        Args:
            latest: Latest visit of each context, int64 [n]; -1 for none.
            length: How many visits back it reaches.

        Returns:
            Sparse float64 [n, items]; weights of an item that occurs again add up.
        """
        cells = []
        for distance in range(length):
            visits, found = self.back(latest, distance)
            if not len(visits):
                break
            weight = np.full(len(visits), 1 / (distance + 1))
            cells.append((weight, np.flatnonzero(found), self.item[visits]))
        return _sparse(cells, (len(latest), len(self.items)))

    def seen(self, latest: np.ndarray) -> csr_array:
        """Say which items each context shows: sparse [n, items] of ones."""
        first = np.searchsorted(self.session, self.session[latest], "left")
        lengths = np.where(latest >= 0, latest - first + 1, 0)
        rows = np.repeat(np.arange(len(latest)), lengths)
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        shown = self.item[np.repeat(first, lengths) + within]
        result = _sparse([(np.ones(len(rows)), rows, shown)], (len(latest), len(self.items)))
        result.data[:] = 1.0
        return result


def _sparse(cells: list[tuple], shape: tuple[int, int]) -> csr_array:
    """Add up (values, rows, columns) into one sparse table."""
    from scipy.sparse import csr_array

    if not cells:
        return csr_array(shape, dtype=np.float64)
    values, rows, columns = (np.concatenate(parts) for parts in zip(*cells, strict=True))
    return csr_array((values, (rows, columns)), shape=shape)


def selected(log: pd.DataFrame, rows: object) -> np.ndarray:
    """Return the mask of rows, checked; bool [len(log)], all True where there is none."""
    mask = np.ones(len(log), bool) if rows is None else np.asarray(rows)
    if mask.dtype != bool or mask.shape != (len(log),):
        raise CourseError(
            f"rows must be a boolean mask over the {len(log)} rows of the log, as "
            "split.rows(log, 'train') gives it."
        )
    return mask


class ItemRanker:
    """What all rankers share: a catalogue, popularity, ranking and recommending in chunks.

    Args:
        exclude_seen: Whether the items that a session has shown are no candidates any more
            (right where nothing is taken twice, as among reviews; wrong among clicks).

    Attributes:
        items_: The catalogue: every item that the log knows, unseen ones included.
        counts_: How often each item stands in the training rows, int64 [items].
        parameters_: Numbers that were counted.
    """

    items_: pd.Index
    counts_: np.ndarray
    parameters_: int

    def __init__(self, exclude_seen: bool = False):
        self.exclude_seen = bool(exclude_seen)

    def fit(self, log: pd.DataFrame, rows: np.ndarray | None = None) -> Self:
        """Count what stands in the selected rows of a log.

        Args:
            log: The event log, [n] rows; all categories of its `item_id` are the catalogue.
            rows: Mask of the rows to learn from, bool [n]; by default all.

        Raises:
            CourseError: If the log has no items or sessions, or no selected row has an item.
        """
        mask = selected(log, rows)
        visits = Visits(log)
        counted = mask[visits.row]
        if not counted.any():
            raise CourseError("There is nothing to count: no selected row has an item.")
        self.items_ = visits.items
        self.counts_ = np.bincount(visits.item[counted], minlength=len(visits.items))
        self.parameters_ = int((self.counts_ > 0).sum())
        self._count(visits, counted)
        return self

    def score(self, log: pd.DataFrame, rows: np.ndarray | None = None) -> csr_array:
        """Return the scores of the selected rows, sparse [selected rows, items], 0 or more."""
        from scipy.sparse import csr_array, vstack

        parts = [part for part, _, _ in self._chunks(log, selected(log, rows))]
        return vstack(parts, format="csr") if parts else csr_array((0, len(self.items_)))

    def rank(
        self, log: pd.DataFrame, labels: pd.Series, rows: np.ndarray | None = None
    ) -> np.ndarray:
        """Return where the true next item stands among all items, 1 is best; float64 [n].

        Args:
            log: The event log, [n] rows.
            labels: The next item of each row, as `sessions.next_item` gives it, [n].
            rows: Mask of the rows to rank, bool [n]; by default all that have a label.

        Returns:
            Ranks, ties at the mean rank; NaN where there is no label or the mask is False. An
            item that training never saw is ranked, among the last: `cold` says which those are.

        Raises:
            CourseError: If labels and log disagree, or hold items that are not in the catalogue.
        """
        targets = self._targets(log, labels)
        asked = selected(log, rows) & (targets >= 0)
        ranks = np.full(len(log), np.nan)
        for scores, seen, positions in self._chunks(log, asked):
            ranks[positions] = rank_of_target(scores, targets[positions], self.counts_, seen)
        return ranks

    def recommend(
        self, log: pd.DataFrame, rows: np.ndarray | None = None, k: int = 10
    ) -> np.ndarray:
        """Return the codes of the best `k` items for each selected row, int64 [selected, k].

        Items that tie in score and popularity come in the order of the catalogue.

        Raises:
            CourseError: If `k` is below 1 or above the size of the catalogue.
        """
        if not 1 <= k <= len(self.items_):
            raise CourseError(f"k must lie between 1 and the {len(self.items_)} items, not {k}.")
        best = [
            _best(scores, seen, self._by_popularity(k, seen), k)
            for scores, seen, _ in self._chunks(log, selected(log, rows))
        ]
        return np.concatenate(best) if best else np.empty((0, k), np.int64)

    def cold(self, log: pd.DataFrame, labels: pd.Series) -> np.ndarray:
        """Say for which rows the true next item was never seen in training, bool [n]."""
        targets = self._targets(log, labels)
        return (targets >= 0) & (self.counts_[targets] == 0)

    def _targets(self, log: pd.DataFrame, labels: pd.Series) -> np.ndarray:
        self._check_fitted()
        if len(labels) != len(log) or not labels.index.equals(log.index):
            raise CourseError(
                f"The log has {len(log)} rows and the labels {len(labels)}, or their indexes "
                "differ: give next_item(log)."
            )
        targets = self.items_.get_indexer(labels.astype(object).to_numpy())
        unknown = (targets < 0) & labels.notna().to_numpy()
        if unknown.any():
            row = int(np.argmax(unknown))
            raise CourseError(
                f"The label of row {row}, {labels.iloc[row]!r}, is not in the catalogue: fit on a "
                "log whose item categories hold it (it need not occur in the training rows)."
            )
        return targets

    def _check_fitted(self) -> None:
        if not hasattr(self, "items_"):
            name = type(self).__name__
            raise CourseError(f"This {name} has counted nothing yet: call fit(log) first.")

    def _chunks(
        self, log: pd.DataFrame, mask: np.ndarray
    ) -> Iterator[tuple[csr_array, csr_array | None, np.ndarray]]:
        """Scores, excluded items and row positions of the selected rows, a chunk at a time."""
        self._check_fitted()
        visits = Visits(log, self.items_)
        positions = np.flatnonzero(mask)
        for start in range(0, len(positions), _CHUNK):
            rows = positions[start : start + _CHUNK]
            latest = visits.last[rows]
            seen = visits.seen(latest) if self.exclude_seen else None
            yield self._score(visits, latest), seen, rows

    def _by_popularity(self, k: int, seen: csr_array | None) -> np.ndarray:
        """The most popular items, enough of them that `k` are left when seen ones go."""
        most = 0 if seen is None else int(np.diff(seen.indptr).max(initial=0))
        return np.argsort(-self.counts_, kind="stable")[: 2 * k + most]

    def _count(self, visits: Visits, counted: np.ndarray) -> None:
        """Count beyond popularity, if there is more."""

    def _score(self, visits: Visits, latest: np.ndarray) -> csr_array:
        raise NotImplementedError

    def __repr__(self) -> str:
        settings = ", ".join(
            f"{name}={value!r}" for name, value in vars(self).items() if not name.endswith("_")
        )
        return f"{type(self).__name__}({settings})"


def _best(scores: csr_array, seen: csr_array | None, popular: np.ndarray, k: int) -> np.ndarray:
    """The best k codes of each row: by score, then popularity, then code; int64 [rows, k]."""
    place = np.full(scores.shape[1], len(popular), np.int64)
    place[popular] = np.arange(len(popular))
    best = np.empty((scores.shape[0], k), np.int64)
    for row in range(scores.shape[0]):
        inside = slice(scores.indptr[row], scores.indptr[row + 1])
        items, values = scores.indices[inside], scores.data[inside]
        items, values = items[values > 0], values[values > 0]
        gone = () if seen is None else seen.indices[seen.indptr[row] : seen.indptr[row + 1]]
        items, values = (part[~np.isin(items, gone)] for part in (items, values))
        order = np.lexsort((items, place[items], -values))[:k]
        chosen = items[order]
        if len(chosen) < k:
            rest = popular[~np.isin(popular, np.concatenate([chosen, gone]))]
            chosen = np.concatenate([chosen, rest[: k - len(chosen)]])
        best[row] = chosen
    return best


class Popularity(ItemRanker):
    """Ranks items by how often they were seen in training, whatever the session shows.

    Derived in lesson 04.
    """

    def _score(self, visits: Visits, latest: np.ndarray) -> csr_array:
        return _sparse([], (len(latest), len(self.items_)))


class ItemMarkov(ItemRanker):
    r"""Ranks items by what followed the last `order` items in training, backing off to fewer.

        s_k(o | c) = (n(c, o) + smoothing * s_{k-1}(o | c')) / (n(c) + smoothing)

    with c the last k items and c' the last k - 1; order 1 starts from n(c, o) / n(c), and
    popularity orders what no context tells apart. Derived in lesson 04.

    Args:
        order: Items of context, 1 or more.
        smoothing: The weight of the shorter context, in observations; above 0.
        exclude_seen: As in `ItemRanker`.
    """

    def __init__(self, order: int = 1, smoothing: float = 1.0, exclude_seen: bool = False):
        super().__init__(exclude_seen)
        if order < 1 or not smoothing > 0:
            raise CourseError(
                f"A chain over items has an order of 1 or more and a smoothing above 0, not "
                f"{order!r} and {smoothing!r}."
            )
        self.order, self.smoothing = int(order), float(smoothing)

    def _count(self, visits: Visits, counted: np.ndarray) -> None:
        here = np.arange(len(visits.item))
        follows = np.flatnonzero(counted & (here > 0))
        follows = follows[
            counted[follows - 1] & (visits.session[follows] == visits.session[follows - 1])
        ]
        self.keys_, self.tables_ = [], []
        for context, found in self._contexts(visits, follows - 1, counted):
            after = visits.item[follows[found]]
            keys, place = np.unique(context, return_inverse=True)
            cells = [(np.ones(len(after)), place, after)]
            self.keys_.append(keys)
            self.tables_.append(_sparse(cells, (len(keys), len(self.items_))))
        self.parameters_ += sum(table.nnz for table in self.tables_)

    def _contexts(
        self, visits: Visits, latest: np.ndarray, counted: np.ndarray | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each order the number of the context of those that have one, and who they are."""
        known = np.arange(len(latest))
        number = np.zeros(len(latest), np.int64)
        for distance in range(self.order):
            earlier, found = visits.back(latest[known], distance)
            if counted is not None:
                found[found] = counted[earlier]
                earlier = earlier[counted[earlier]]
            known, number = known[found], number[found]
            number = number * (len(self.items_) + 1) + visits.item[earlier]
            yield number, known
            if distance + 1 == self.order:
                return
            number = _place(self.keys_[distance], number)
            known, number = known[number >= 0], number[number >= 0]

    def _score(self, visits: Visits, latest: np.ndarray) -> csr_array:
        from scipy.sparse import csr_array, diags_array

        scores = csr_array((len(latest), len(self.items_)))
        for level, (number, known) in enumerate(self._contexts(visits, latest)):
            place = _place(self.keys_[level], number)
            known, place = known[place >= 0], place[place >= 0]
            if not len(known):
                break
            chosen = (np.ones(len(known)), (known, place))
            table = csr_array(chosen, shape=(len(latest), len(self.keys_[level])))
            counts = table @ self.tables_[level]
            shorter = self.smoothing if level else 0.0
            total = np.asarray(counts.sum(axis=1)).ravel() + shorter
            weight = np.where(total > 0, total, 1.0)
            kept = np.ones(len(latest))
            kept[known] = shorter / weight[known]
            share = np.zeros(len(latest))
            share[known] = 1 / weight[known]
            scores = diags_array(kept) @ scores + diags_array(share) @ counts
        return scores.tocsr()


def _place(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Position of each wanted key among sorted keys, -1 where it is not there."""
    if not len(keys):
        return np.full(len(wanted), -1)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, at, -1)


class SequentialRules(ItemRanker):
    """Ranks items by pairs "j came d steps after i", each worth 1/d, summed over the last items.

    ``score(j) = sum over the last items i (weight 1 / steps ago) of R[i, j]``, where R[i, j]
    adds 1/d for every time that j stood d steps after i in a session. With ``steps=1`` and
    ``history=1`` it ranks like the first-order chain (Kamehkhosh, Jannach and Ludewig 2017).
    Derived in lesson 04.

    Args:
        steps: The longest distance of a pair, 1 or more.
        history: How many of the last items speak, 1 or more.
        direction: ``forward``; ``backward`` counts j *before* i; ``both`` adds the two.
        norm: ``none``; ``source`` divides R[i, j] by the sum over j, so that each visible item
            speaks as loud as another; ``cosine`` divides by the square root of how often i and
            j were seen, so that popular items do not win by being popular.
        exclude_seen: As in `ItemRanker`.
    """

    def __init__(
        self,
        steps: int = 10,
        history: int = 10,
        direction: str = "forward",
        norm: str = "none",
        exclude_seen: bool = False,
    ):
        super().__init__(exclude_seen)
        if steps < 1 or history < 1:
            raise CourseError(
                f"Rules need 1 or more steps and items of history, not {steps!r} and {history!r}."
            )
        if direction not in DIRECTIONS:
            raise unknown_name("direction of rules", direction, DIRECTIONS)
        if norm not in NORMS:
            raise unknown_name("norm of rules", norm, NORMS)
        self.steps, self.history = int(steps), int(history)
        self.direction, self.norm = direction, norm

    def _count(self, visits: Visits, counted: np.ndarray) -> None:
        from scipy.sparse import diags_array

        cells = []
        later = np.flatnonzero(counted)
        for distance in range(1, self.steps + 1):
            earlier, found = visits.back(later, distance)
            found[found] = counted[earlier]
            first, second = visits.item[later[found] - distance], visits.item[later[found]]
            cells.append((np.full(len(first), 1 / distance), first, second))
        rules = _sparse(cells, (len(self.items_), len(self.items_)))
        if self.direction == "backward":
            rules = rules.T.tocsr()
        elif self.direction == "both":
            rules = (rules + rules.T).tocsr()
        if self.norm == "source":
            total = np.asarray(rules.sum(axis=1)).ravel()
            rules = diags_array(1 / np.where(total > 0, total, 1.0)) @ rules
        elif self.norm == "cosine":
            root = diags_array(1 / np.sqrt(np.maximum(self.counts_, 1)))
            rules = root @ rules @ root
        self.rules_ = rules.tocsr()
        self.parameters_ += self.rules_.nnz

    def _score(self, visits: Visits, latest: np.ndarray) -> csr_array:
        return visits.history(latest, self.history) @ self.rules_


class NearestSessions(ItemRanker):
    """Ranks items by the training sessions that are most like this one, after V-SkNN.

    The likeness of a training session is the sum over the last items that it shares, the last
    weighted 1, the one before 1/2, .., rare items more than frequent ones, divided by the root
    of its number of items; the nearest `neighbours` vote for their items with that likeness
    (Ludewig and Jannach 2018). A session is no neighbour of itself. Derived in lesson 04.

    Args:
        neighbours: How many sessions vote, 1 or more.
        history: How many of the last items are compared, 1 or more.
        exclude_seen: As in `ItemRanker`.
    """

    def __init__(self, neighbours: int = 100, history: int = 20, exclude_seen: bool = False):
        super().__init__(exclude_seen)
        if neighbours < 1 or history < 1:
            raise CourseError(
                f"Nearest sessions need 1 or more neighbours and items of history, not "
                f"{neighbours!r} and {history!r}."
            )
        self.neighbours, self.history = int(neighbours), int(history)

    def _count(self, visits: Visits, counted: np.ndarray) -> None:
        from scipy.sparse import diags_array

        self.sessions_, place = np.unique(visits.session[counted], return_inverse=True)
        shape = (len(self.sessions_), len(self.items_))
        held = _sparse([(np.ones(len(place)), place, visits.item[counted])], shape)
        held.data[:] = 1.0
        length = 1 / np.sqrt(np.diff(held.indptr))
        rarity = 1 / np.sqrt(np.maximum(self.counts_, 1))
        self.held_ = held
        self.likeness_ = (diags_array(rarity) @ held.T @ diags_array(length)).tocsr()
        self.parameters_ += held.nnz

    def _score(self, visits: Visits, latest: np.ndarray) -> csr_array:
        from scipy.sparse import vstack

        parts = []
        for start in range(0, len(latest), _CHUNK // 4):
            few = latest[start : start + _CHUNK // 4]
            likeness = (visits.history(few, self.history) @ self.likeness_).tocsr()
            rows = np.repeat(np.arange(len(few)), np.diff(likeness.indptr))
            own = self.sessions_[likeness.indices] == visits.session[few][rows]
            likeness.data[own] = 0.0
            parts.append(largest(likeness, self.neighbours) @ self.held_)
        return vstack(parts, format="csr")


def largest(table: csr_array, k: int) -> csr_array:
    """Keep the k largest positive entries of each row; among equal ones those of lower column."""
    from scipy.sparse import csr_array

    table = table.tocsr()
    table.sort_indices()
    values, bounds = table.data, table.indptr
    rows = np.repeat(np.arange(table.shape[0]), np.diff(bounds))
    least = np.zeros(table.shape[0])  # the smallest value that a row keeps
    for row in np.flatnonzero(np.diff(bounds) > k):
        least[row] = np.partition(values[bounds[row] : bounds[row + 1]], -k)[-k]
    above = values > np.maximum(least, 0)[rows]
    equal = (values == least[rows]) & (values > 0)
    room = k - np.bincount(rows[above], minlength=table.shape[0])
    earlier = np.cumsum(equal) - equal
    before_row = np.append(earlier, equal.sum())[bounds[:-1]]
    kept = above | (equal & (earlier - before_row[rows] < room[rows]))
    stops = np.append(0, np.cumsum(np.bincount(rows[kept], minlength=table.shape[0])))
    return csr_array((values[kept], table.indices[kept], stops), shape=table.shape)


def scaled(scores: csr_array) -> csr_array:
    """Divide each row by its largest score."""
    from scipy.sparse import diags_array

    top = scores.max(axis=1).toarray().ravel()
    return (diags_array(1 / np.where(top > 0, top, 1.0)) @ scores).tocsr()


def item_baselines(exclude_seen: bool = False) -> dict[str, ItemRanker]:
    """Return the counting baselines of the next item by name, not yet fitted.

    Args:
        exclude_seen: As in `ItemRanker`.
    """
    return {
        "popularity": Popularity(exclude_seen),
        "Markov, last item": ItemMarkov(1, exclude_seen=exclude_seen),
        "Markov, last two items": ItemMarkov(2, exclude_seen=exclude_seen),
        "sequential rules": SequentialRules(exclude_seen=exclude_seen),
        "nearest sessions": NearestSessions(exclude_seen=exclude_seen),
    }
