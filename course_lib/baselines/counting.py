"""Forecasts from counting alone: what a network must beat before its score means anything.

All are shaped like scikit-learn's estimators and aligned with the rows of the log: `fit`
counts the rows that the mask `rows` selects (the training part), `predict_proba` gives every
row of a log one probability per outcome. Row i sees its session up to and including event i.
Lesson 04 derives them.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import pandas as pd

from course_lib.errors import CourseError
from course_lib.events import TASKS

_BEFORE = 0  # the code of "no event": before the first event of a session


def outcomes_and_codes(labels: pd.Series) -> tuple[list, np.ndarray]:
    """Return what labels can be, in a forecast's column order, and which one each label is.

    Args:
        labels: Categories (as `sessions.next_event` gives them), or booleans
            (`sessions.purchase_later`: False, then True), [n].

    Returns:
        The outcomes, and the position of each label among them, int64 [n], -1 where missing.

    Raises:
        CourseError: If the labels are neither, so that no order of columns is known.
    """
    if isinstance(labels.dtype, pd.CategoricalDtype):
        return list(labels.cat.categories), labels.cat.codes.to_numpy(np.int64)
    if pd.api.types.is_bool_dtype(labels.dtype):
        return [False, True], labels.astype("Int8").to_numpy(dtype=np.int64, na_value=-1)
    raise CourseError(
        f"Labels must be a category or boolean column, not {labels.dtype}: convert them with "
        "labels.astype('category')."
    )


def _training_rows(log: pd.DataFrame, labels: pd.Series, rows: object) -> np.ndarray:
    """Check that log, labels and mask are about the same rows; bool [n], labelled ones only."""
    if len(labels) != len(log) or not labels.index.equals(log.index):
        raise CourseError(
            f"The log has {len(log)} rows and the labels {len(labels)}, or their indexes differ: "
            "give one label to each row of the log."
        )
    mask = np.ones(len(log), bool) if rows is None else np.asarray(rows)
    if mask.dtype != bool or mask.shape != (len(log),):
        raise CourseError(
            f"rows must be a boolean mask over the {len(log)} rows of the log, as "
            "split.rows(log, 'train') gives it."
        )
    mask = mask & labels.notna().to_numpy()
    if not mask.any():
        raise CourseError("There is nothing to count: no selected row has a label.")
    return mask


class _Counting:
    """What the counting baselines share: outcomes, and refusing to forecast unfitted."""

    outcomes_: list
    parameters_: int

    def _check_fitted(self) -> None:
        if not hasattr(self, "outcomes_"):
            name = type(self).__name__
            raise CourseError(f"This {name} has counted nothing yet: call fit(log, labels) first.")

    def _count(self, log: pd.DataFrame, labels: pd.Series, rows: object) -> np.ndarray:
        """Remember the outcomes and return how often each follows; int64 [outcomes]."""
        mask = _training_rows(log, labels, rows)
        self.outcomes_, codes = outcomes_and_codes(labels)
        return np.bincount(codes[mask], minlength=len(self.outcomes_))

    def __repr__(self) -> str:
        settings = ", ".join(
            f"{name}={value!r}" for name, value in vars(self).items() if not name.endswith("_")
        )
        return f"{type(self).__name__}({settings})"


class Majority(_Counting):
    """Bets everything on the outcome that is most frequent in the training rows.

    Its accuracy is what a model reaches that has understood nothing; its log-loss is
    terrible, because it calls everything else impossible.
    """

    def fit(self, log: pd.DataFrame, labels: pd.Series, rows: np.ndarray | None = None) -> Self:
        """Find the most frequent outcome; ties go to the first.

        Args:
            log: The event log, [n] rows.
            labels: What followed each row, [n]: category or boolean, missing rows ignored.
            rows: Mask of the rows to learn from, bool [n]; by default all.

        Raises:
            CourseError: If the three are misaligned or leave nothing to count.
        """
        counts = self._count(log, labels, rows)
        self.forecast_ = np.zeros(len(self.outcomes_))
        self.forecast_[counts.argmax()] = 1.0
        self.parameters_ = 1
        return self

    def predict_proba(self, log: pd.DataFrame) -> np.ndarray:
        """Return the forecast of every row of the log, float64 [n, outcomes]."""
        self._check_fitted()
        return np.tile(self.forecast_, (len(log), 1))


class EventFrequencies(_Counting):
    """Forecasts each outcome as often as it happened in the training rows, whatever went before.

    With items as outcomes this is the popularity baseline.
    """

    def fit(self, log: pd.DataFrame, labels: pd.Series, rows: np.ndarray | None = None) -> Self:
        """Count the outcomes; arguments and errors as `Majority.fit`."""
        counts = self._count(log, labels, rows)
        self.forecast_ = counts / counts.sum()
        self.parameters_ = len(counts) - 1
        return self

    def predict_proba(self, log: pd.DataFrame) -> np.ndarray:
        """Return the forecast of every row of the log, float64 [n, outcomes]."""
        self._check_fitted()
        return np.tile(self.forecast_, (len(log), 1))


class MarkovChain(_Counting):
    r"""Forecasts from the last `order` events of the session, and from nothing else.

    A context is the last k events, fewer than k at the start of a session (the start itself
    is part of the context). Its forecast leans on the forecast of the context that is one
    event shorter, as if that had been seen `smoothing` times:

        p_k(o | c) = (n(c, o) + s p_{k-1}(o | c')) / (n(c) + s),   p_{-1}(o) = 1 / outcomes

    So every outcome keeps some probability (order 0 is add-one smoothing, spread over the
    outcomes), a rare context stays near the shorter one, and a context never seen in
    training falls back on the longest part of it that was (MacKay and Peto 1995).

    Args:
        order: How many events back it looks, 0 or more.
        smoothing: The weight s of the shorter context, in observations; above 0.
    """

    def __init__(self, order: int = 1, smoothing: float = 1.0):
        if not isinstance(order, int | np.integer) or order < 0:
            raise CourseError(f"The order of a Markov chain is 0 or more events, not {order!r}.")
        if not smoothing > 0:
            raise CourseError(
                f"The smoothing must be above 0, not {smoothing!r}: without it an unseen outcome "
                "would be called impossible."
            )
        self.order = int(order)
        self.smoothing = float(smoothing)

    def fit(self, log: pd.DataFrame, labels: pd.Series, rows: np.ndarray | None = None) -> Self:
        """Count what follows each context; arguments and errors as `Majority.fit`.

        The log's `event_column` (its attrs; `event` by default) says what an event is.
        """
        mask = _training_rows(log, labels, rows)
        self.outcomes_, codes = outcomes_and_codes(labels)
        codes = codes[mask]
        outcomes, s = len(self.outcomes_), self.smoothing
        column = log[_event_column(log)]
        self.events_ = list(column.cat.categories)
        lags = [lag[mask] for lag in self._lags(log)]
        context = np.zeros(mask.sum(), np.int64)
        counts = np.bincount(codes, minlength=outcomes)
        self.keys_: list[np.ndarray] = []
        self.probabilities_ = [((counts + s / outcomes) / (counts.sum() + s))[None, :]]
        for lag in lags:
            keys, shorter, context = self._split_contexts(context, lag)
            cells = np.bincount(context * outcomes + codes, minlength=len(keys) * outcomes)
            cells = cells.reshape(len(keys), outcomes)
            prior = self.probabilities_[-1][shorter]
            total = cells.sum(axis=1, keepdims=True)
            self.keys_.append(keys)
            self.probabilities_.append((cells + s * prior) / (total + s))
        self.parameters_ = len(self.probabilities_[-1]) * (outcomes - 1)
        return self

    def predict_proba(self, log: pd.DataFrame) -> np.ndarray:
        """Return the forecast of every row of the log, float64 [n, outcomes].

        Events that training did not know, and contexts that it never saw, fall back on
        shorter contexts.
        """
        self._check_fitted()
        forecast = np.repeat(self.probabilities_[0], len(log), axis=0)
        context = np.zeros(len(log), np.int64)
        known = np.ones(len(log), bool)
        base = len(self.events_) + 2
        for lag, keys, probabilities in zip(
            self._lags(log), self.keys_, self.probabilities_[1:], strict=True
        ):
            wanted = context * base + lag
            context = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            known &= keys[context] == wanted
            forecast[known] = probabilities[context[known]]
        return forecast

    def _split_contexts(
        self, context: np.ndarray, lag: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Lengthen each context by one event: its keys, their shorter context, each row's own."""
        base = len(self.events_) + 2
        keys, inverse = np.unique(context * base + lag, return_inverse=True)
        return keys, keys // base, inverse

    def _lags(self, log: pd.DataFrame) -> list[np.ndarray]:
        """Event codes 0, 1, .. `order` - 1 events back: 0 before the session, then the events.

        A missing event, or one that training did not know, has the code after the last.
        """
        column = log[_event_column(log)]
        if list(column.cat.categories) != self.events_:
            column = column.cat.set_categories(self.events_)
        codes = column.cat.codes.to_numpy(np.int64) + 1
        codes[codes == 0] = len(self.events_) + 1
        session = log["session_id"].to_numpy()
        lags = [codes]
        for back in range(1, self.order):
            lag = np.full(len(codes), _BEFORE, np.int64)
            inside = session[back:] == session[:-back]
            lag[back:][inside] = codes[:-back][inside]
            lags.append(lag)
        return lags[: self.order]


def _event_column(log: pd.DataFrame) -> str:
    """The column that plays the event, checked with `session_id` to be there."""
    name = log.attrs.get("event_column", "event")
    for column, remedy in ((name, "a clean log has it"), ("session_id", "assign_sessions(log)")):
        if column not in log.columns:
            raise CourseError(f"A Markov chain needs the column {column!r}: {remedy}.")
    if not isinstance(log[name].dtype, pd.CategoricalDtype):
        raise CourseError(f"The column {name!r} must be a category: use .astype('category').")
    return name


def standard_baselines(task: str) -> dict[str, _Counting]:
    """Return the baselines that every model of a task stands beside, by name, not yet fitted.

    Args:
        task: ``next_event`` or ``purchase_intent``.

    Raises:
        CourseError: For a task that these cannot serve.
    """
    if task not in ("next_event", "purchase_intent"):
        raise CourseError(
            f"The counting baselines serve next_event and purchase_intent, not {task!r} "
            f"(the tasks are {', '.join(TASKS)})."
        )
    baselines = {
        "majority": Majority(),
        "event frequencies": EventFrequencies(),
        "Markov, last event": MarkovChain(order=1),
    }
    if task == "next_event":
        baselines["Markov, last three events"] = MarkovChain(order=3)
    return baselines
