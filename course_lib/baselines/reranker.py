"""Counting proposes, boosted trees decide: the strongest ranker of the course without a network.

Two stages, as large shops work: counting rankers propose a hundred items, and gradient-boosted
trees order them by what all rankers say about each. docs/benchmarks.md has what it reaches
beside the rankers of lesson 04.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd

from course_lib.baselines.ranking import (
    ItemMarkov,
    ItemRanker,
    NearestSessions,
    SequentialRules,
    Visits,
    largest,
    scaled,
    selected,
)
from course_lib.baselines.ranks import look_up
from course_lib.errors import CourseError

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def standard_signals() -> dict[str, ItemRanker]:
    """Return the rankers whose scores the trees look at, by name, not yet fitted."""
    return {
        "rules": SequentialRules(),
        "rules, shares": SequentialRules(norm="source"),
        "rules, cosine": SequentialRules(direction="both", norm="cosine"),
        "rules, backward": SequentialRules(direction="backward"),
        "rules of the last item": SequentialRules(history=1),
        "shares of the last item": SequentialRules(steps=1, history=1, norm="source"),
        "chain of one item": ItemMarkov(1),
        "chain of two items": ItemMarkov(2),
        "nearest sessions": NearestSessions(),
    }


class Reranker(ItemRanker):
    """Orders the items that counting proposes by boosted trees over the scores of all rankers.

    The trees learn from training sessions that the rankers have not counted: `held_out` of the
    sessions are put aside, the rankers count the others, and each held-out row whose next item
    is among its candidates becomes one example a candidate (was it the one?). Then the rankers
    count everything. Learning from counted sessions would teach the trees to trust counts that
    contain the answer.

    Args:
        candidates: Items that are proposed a row, 2 or more.
        held_out: Share of the training sessions that the trees learn from, between 0 and 1.
        examples: At most so many rows of them.
        trees: Boosting rounds.
        learning_rate: Of the boosting.
        leaves: Leaves a tree.
        signals: Name to ranker; by default `standard_signals`. The first and the last propose.
        seed: Of the choice of sessions and rows, and of the trees.
        exclude_seen: As in `ItemRanker`.
    """

    RECENT = 20
    """How many of the last items tell the trees whether a candidate was seen, and how long ago."""

    def __init__(
        self,
        candidates: int = 100,
        held_out: float = 0.2,
        examples: int = 30_000,
        trees: int = 150,
        learning_rate: float = 0.05,
        leaves: int = 15,
        signals: Mapping[str, ItemRanker] | None = None,
        seed: int = 1,
        exclude_seen: bool = False,
    ):
        super().__init__(exclude_seen)
        if candidates < 2 or not 0 < held_out < 1 or examples < 1:
            raise CourseError(
                "A reranker needs 2 or more candidates, a held-out share between 0 and 1 and at "
                f"least 1 example, not {candidates!r}, {held_out!r} and {examples!r}."
            )
        self.candidates, self.held_out, self.examples = int(candidates), held_out, int(examples)
        self.trees, self.learning_rate, self.leaves = int(trees), learning_rate, int(leaves)
        self.signals = dict(signals or standard_signals())
        self.seed = seed

    def fit(self, log: pd.DataFrame, rows: np.ndarray | None = None) -> Self:
        """Let the trees learn on held-out sessions, then count all; as `ItemRanker.fit`.

        Raises:
            CourseError: Also if the selected rows are of too few sessions to hold some out, or
                no held-out row has its next item among the candidates.
        """
        from sklearn.ensemble import HistGradientBoostingClassifier

        mask = selected(log, rows)
        visits = Visits(log)
        sessions = np.unique(visits.session[mask[visits.row]])
        random = np.random.default_rng(self.seed)
        chosen = random.permutation(len(sessions))[: int(self.held_out * len(sessions))]
        held = np.isin(visits.session, sessions[chosen]) & mask[visits.row]
        if not held.any() or held.sum() == mask[visits.row].sum():
            raise CourseError(
                f"A reranker holds out sessions to learn from, but the selected rows are of only "
                f"{len(sessions)} sessions: select more."
            )
        counted = mask.copy()
        counted[visits.row[held]] = False
        super().fit(log, counted)  # popularity, too, must not know the held-out answers
        self._fit_signals(log, counted)
        latest, targets = self._questions(visits, held, random)
        inputs, candidates, _ = self._inputs(visits, latest)
        rows_of = np.repeat(np.arange(len(latest)), np.diff(candidates.indptr))
        right = candidates.indices == targets[rows_of]
        useful = np.isin(rows_of, rows_of[right])
        if not right.any():
            raise CourseError("No held-out row has its next item among the candidates: add rows.")
        self.model_ = HistGradientBoostingClassifier(
            learning_rate=self.learning_rate,
            max_iter=self.trees,
            max_leaf_nodes=self.leaves,
            min_samples_leaf=100,
            early_stopping=False,
            random_state=self.seed,
        ).fit(inputs[useful], right[useful])
        super().fit(log, mask)
        self._fit_signals(log, mask)
        self.parameters_ = sum(ranker.parameters_ for ranker in self.signals.values())
        self.parameters_ += 2 * self.leaves * self.trees
        return self

    def _fit_signals(self, log: pd.DataFrame, mask: np.ndarray) -> None:
        for ranker in self.signals.values():
            ranker.fit(log, mask)

    def _questions(
        self, visits: Visits, held: np.ndarray, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Held-out visits that another one follows directly, and the item of the latter."""
        latest = np.flatnonzero(held[:-1] & held[1:])
        follows = (visits.session[latest] == visits.session[latest + 1]) & (
            visits.row[latest] + 1 == visits.row[latest + 1]
        )
        latest = latest[follows]
        if len(latest) > self.examples:
            latest = np.sort(random.choice(latest, self.examples, replace=False))
        return latest, visits.item[latest + 1]

    def _inputs(
        self, visits: Visits, latest: np.ndarray
    ) -> tuple[np.ndarray, csr_array, csr_array]:
        """What the trees look at, of all candidates, the candidates, and all that was proposed.

        float32 [candidates of all rows, inputs]; sparse [n, items]; sparse [n, items].
        """
        seen = visits.seen(latest)
        signals = [ranker._score(visits, latest) for ranker in self.signals.values()]
        proposed = (scaled(signals[0]) + scaled(signals[-1])).tocsr()
        if self.exclude_seen:
            proposed = (proposed - proposed.multiply(seen)).tocsr()
            proposed.eliminate_zeros()
        candidates = largest(proposed, self.candidates)
        rows = np.repeat(np.arange(len(latest)), np.diff(candidates.indptr))
        items = candidates.indices
        recent = visits.history(latest, self.RECENT)
        columns = [look_up(_sorted(scores), rows, items) for scores in (*signals, recent)]
        last = np.where(latest >= 0, visits.item[latest], 0)
        columns += [candidates.data, self.counts_[items], self.counts_[last][rows]]
        columns.append(np.diff(seen.indptr)[rows])
        return np.column_stack(columns).astype(np.float32), candidates, proposed

    def _score(self, visits: Visits, latest: np.ndarray) -> csr_array:
        inputs, candidates, proposed = self._inputs(visits, latest)
        if not len(inputs):
            return proposed
        chosen = candidates.copy()
        chosen.data = 1.0 + self.model_.predict_proba(inputs)[:, 1]
        others = 0.25 * proposed
        return (others + chosen - others.multiply(candidates > 0)).tocsr()


def _sorted(scores: csr_array) -> csr_array:
    scores = scores.tocsr()
    scores.sum_duplicates()
    return scores
