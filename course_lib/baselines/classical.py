"""Classical models of a session: will it still buy, and for how much (lesson 04).

Purchase intent: two Markov chains held against each other, and scikit-learn's classifiers on the
features of lesson 03. All are aligned with the rows of the log: row i sees its session up to and
including event i, `fit` learns from the rows that the mask `rows` selects, and a forecast is one
row [not buying, buying] for each row asked. Basket value: the numbers that a regression needs.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import pandas as pd

from course_lib.baselines.counting import (
    MarkovChain,
    _Counting,
    _event_column,
    _training_rows,
    outcomes_and_codes,
)
from course_lib.errors import CourseError
from course_lib.sessions import session_bounds, session_ids

INTENT = [False, True]
"""The outcomes of purchase intent, in the order of a forecast's columns."""


class _Intent(_Counting):
    """What the models of purchase intent share: two outcomes, and forecasts of chosen rows."""

    def _start(
        self, log: pd.DataFrame, labels: pd.Series, rows: object
    ) -> tuple[np.ndarray, np.ndarray]:
        """Check the labels; the positions of the rows learnt from and whether they buy."""
        mask = _training_rows(log, labels, rows)
        outcomes, codes = outcomes_and_codes(labels)
        if outcomes != INTENT:
            raise CourseError(
                f"A {type(self).__name__} answers yes or no, but the labels are categories: give "
                "the labels of purchase_later(log)."
            )
        positions = np.flatnonzero(mask)
        buys = codes[positions] == 1
        if buys.all() or not buys.any():
            raise CourseError(
                f"The {len(buys)} rows to learn from all have one answer, {bool(buys[0])}: a "
                "classifier needs both."
            )
        return positions, buys

    def _asked(self, log: pd.DataFrame, rows: object) -> np.ndarray:
        """Positions of the rows asked for."""
        self._check_fitted()
        mask = np.ones(len(log), bool) if rows is None else np.asarray(rows)
        if mask.dtype != bool or mask.shape != (len(log),):
            raise CourseError(f"rows must be a boolean mask over the {len(log)} rows of the log.")
        return np.flatnonzero(mask)


class MarkovRatio(_Intent):
    r"""Holds two Markov chains against each other: how would a buyer, how would another go on?

    One chain is counted on the visible events of sessions that buy, one on the others'. The
    more likely the first finds the events seen so far, x_1 .. x_i, than the second, the likelier
    a purchase (Montgomery et al. 2004 model paths so; Bayes' rule does the rest):

        L_i = sum_{t <= i} log p_buy(x_t | before) / p_other(x_t | before)
        log odds = a + b L_i + c log i

    Were sessions true Markov chains, b would be 1, c 0 and a the logarithm of the prior odds. They
    are not: the ratio counts the same evidence again and again, and those who are still here
    after i events are others than those who began. So a, b and c are fitted on the training
    rows by logistic regression (calibration, Platt 1999).

    Args:
        order: How many events back the chains look, 1 or more.
        smoothing: As in `MarkovChain`, in observations.
    """

    def __init__(self, order: int = 1, smoothing: float = 1.0):
        chain = MarkovChain(order, smoothing)
        if chain.order < 1:
            raise CourseError("A MarkovRatio looks at least 1 event back, not 0.")
        self.order, self.smoothing = chain.order, chain.smoothing

    def fit(self, log: pd.DataFrame, labels: pd.Series, rows: np.ndarray | None = None) -> Self:
        """Count both chains on what the selected rows see, and calibrate their ratio.

        Args:
            log: The event log, [n] rows, with sessions.
            labels: Whether the session still buys, boolean [n]; missing rows are ignored.
            rows: Mask of the rows to learn from, bool [n]; by default all. The chains see the
                events of a session up to the last selected row, and its label is the session's.

        Raises:
            CourseError: If the three are misaligned, or leave nothing to learn from or one
                answer only.
        """
        positions, buys = self._start(log, labels, rows)
        first, _ = session_bounds(log)
        # the answer of each session, and up to where its rows are seen: its last selected row
        until = np.full(len(log), -1)
        until[first[positions]] = positions  # ascending: the last one stays
        answer = np.zeros(len(log), bool)
        answer[positions] = buys
        until = until[first]
        visible = np.arange(len(log)) <= until
        bought = visible & answer[until]
        self.events_ = list(log[_event_column(log)].cat.categories)
        following = _following(log, self.events_)
        codes = _codes(log, self.events_)
        begins = first == np.arange(len(log))
        self.chains_, self.starts_ = [], []
        for mine in (visible & ~bought, bought):
            # what follows a row is visible if the next row is
            steps = mine & (np.arange(len(log)) < until) & following.notna().to_numpy()
            chain = MarkovChain(self.order, self.smoothing)
            self.chains_.append(chain.fit(log, following, rows=steps) if steps.any() else None)
            seen = codes[mine & begins]
            counts = np.bincount(seen[seen >= 0], minlength=len(self.events_)) + self.smoothing
            self.starts_.append(counts / counts.sum())
        if None in self.chains_:
            self.chains_ = [None, None]  # one event is visible: the starts are all there is
        self.outcomes_ = INTENT
        self.coefficients_ = _logistic(self._evidence(log)[positions], buys)
        counted = sum(chain.parameters_ for chain in self.chains_ if chain is not None)
        self.parameters_ = counted + 2 * (len(self.events_) - 1) + len(self.coefficients_)
        return self

    def predict_proba(self, log: pd.DataFrame, rows: np.ndarray | None = None) -> np.ndarray:
        """Return [not buying, buying] for each row, float64 [n, 2]; NaN outside `rows`.

        An event that training did not know says nothing for either side.
        """
        asked = self._asked(log, rows)
        odds = self._evidence(log)[asked] @ self.coefficients_
        return _table(len(log), asked, _sigmoid(odds))

    def log_ratio(self, log: pd.DataFrame) -> np.ndarray:
        """Return L_i of every row, in nats: above 0 the session so far looks like a buyer's."""
        self._check_fitted()
        codes = _codes(log, self.events_)
        first, _ = session_bounds(log)
        rows = np.arange(len(log))
        begins = first == rows
        gain = np.where(begins, np.log(self.starts_[1] / self.starts_[0])[codes], 0.0)
        if self.chains_[0] is not None and len(log):
            other, buyer = (chain.predict_proba(log) for chain in self.chains_)
            before = np.maximum(rows - 1, 0)
            step = np.log(buyer[before, codes] / other[before, codes])
            gain = np.where(begins, gain, step)
        gain[codes < 0] = 0.0
        total = np.cumsum(gain)
        return total - (total - gain)[first]

    def _evidence(self, log: pd.DataFrame) -> np.ndarray:
        """One, the ratio and the logarithm of the events seen, float64 [n, 3]."""
        seen = np.arange(len(log)) - session_bounds(log)[0] + 1
        return np.column_stack([np.ones(len(log)), self.log_ratio(log), np.log(seen)])


def _codes(log: pd.DataFrame, events: list) -> np.ndarray:
    """Each row's event as its position among `events`, int64 [n]; -1 where it is none."""
    column = log[_event_column(log)]
    return column.cat.set_categories(events).cat.codes.to_numpy(np.int64)


def _following(log: pd.DataFrame, events: list) -> pd.Series:
    """The event after each row in its session, missing at the end; category [n]."""
    codes, sessions = _codes(log, events), session_ids(log)
    after = np.full(len(log), -1)
    same = sessions[1:] == sessions[:-1]
    after[:-1][same] = codes[1:][same]
    return pd.Series(pd.Categorical.from_codes(after, events), index=log.index)


def _sigmoid(odds: np.ndarray) -> np.ndarray:
    """The probability of log odds, without overflow."""
    return 0.5 * (1 + np.tanh(odds / 2))


def _table(n: int, asked: np.ndarray, buying: np.ndarray) -> np.ndarray:
    """A forecast [n, 2] of the rows asked, NaN elsewhere."""
    forecast = np.full((n, 2), np.nan)
    forecast[asked] = np.column_stack([1 - buying, buying])
    return forecast


def _logistic(x: np.ndarray, buys: np.ndarray, rounds: int = 50) -> np.ndarray:
    """Logistic regression by Newton's method; float64 [columns].

    With a penalty of a thousandth of an observation, so that a column that does not vary
    beside the constant, and answers that can be told apart without fault, have an end.
    """
    weights = np.zeros(x.shape[1])
    penalty = 1e-3 * np.eye(x.shape[1])
    for _ in range(rounds):
        p = _sigmoid(x @ weights)
        slope = x.T @ (p - buys) + penalty @ weights
        curve = (x * (p * (1 - p))[:, None]).T @ x + penalty
        step = np.linalg.solve(curve, slope)
        weights = weights - step
        if np.abs(step).max() < 1e-10:
            break
    return weights
