"""Classical models of a session: will it still buy, and for how much (lesson 04).

Purchase intent: two Markov chains held against each other, and scikit-learn's classifiers on the
features of lesson 03. All are aligned with the rows of the log: row i sees its session up to and
including event i, `fit` learns from the rows that the mask `rows` selects, and a forecast is one
row [not buying, buying] for each row asked. Basket value: the numbers that a regression needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd

from course_lib.baselines.counting import (
    MarkovChain,
    _Counting,
    _event_column,
    _training_rows,
    outcomes_and_codes,
)
from course_lib.errors import CourseError, unknown_name
from course_lib.events import keep_together
from course_lib.sessions import session_bounds, session_ids

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

INTENT = [False, True]
"""The outcomes of purchase intent, in the order of a forecast's columns."""
_FOLDS = 5


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
    rows by logistic regression (calibration, Platt 1999), with ratios of chains that were counted
    on other sessions: five folds, each judged by the chains of the other four. Copies of one
    visit (column ``visit_id``) are in one fold.

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
        # of each session: the last row that is learnt from, and its answer
        until = np.full(len(log), -1)
        until[first[positions]] = positions  # in order: the last one stays
        until = until[first]
        answer = np.zeros(len(log), bool)
        answer[positions] = buys
        visible = np.arange(len(log)) <= until
        seen, bought = log[visible], answer[until[visible]]
        place = np.cumsum(visible) - 1
        positions = place[positions]
        self.events_ = list(log[_event_column(log)].cat.categories)
        self.outcomes_ = INTENT
        session = pd.factorize(seen[keep_together(seen, "session_id")])[0]
        evidence = np.empty((len(seen), 3))
        for fold in range(_FOLDS):
            inside = session % _FOLDS == fold
            self._count_chains(seen[~inside], bought[~inside])
            evidence[inside] = self._evidence(seen[inside])
        self.coefficients_ = _logistic(evidence[positions], buys)
        self._count_chains(seen, bought)
        counted = sum(chain.parameters_ for chain in self.chains_ or ())
        self.parameters_ = counted + 2 * (len(self.events_) - 1) + len(self.coefficients_)
        return self

    def _count_chains(self, seen: pd.DataFrame, bought: np.ndarray) -> None:
        """Count first events and steps of the others' (False) and the buyers' rows (True)."""
        following, codes = _following(seen, self.events_), _codes(seen, self.events_)
        begins = session_bounds(seen)[0] == np.arange(len(seen))
        chains, self.starts_ = [], []
        for mine in (~bought, bought):
            steps = mine & following.notna().to_numpy()
            if steps.any():
                chain = MarkovChain(self.order, self.smoothing)
                chains.append(chain.fit(seen, following, rows=steps))
            known = codes[mine & begins & (codes >= 0)]
            counts = np.bincount(known, minlength=len(self.events_)) + self.smoothing
            self.starts_.append(counts / counts.sum())
        # where a side has no step to count, first events are all there is to compare
        self.chains_ = chains if len(chains) == 2 else None

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
        if self.chains_ is not None and len(log):
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


# --- classifiers on features ---------------------------------------------------------------

CLASSIFIERS: dict[str, str] = {
    "logistic": "logistic regression on standardised numbers and one-hot categories, L2 penalty",
    "svm": "linear support vector machine, its margin turned into a probability by a sigmoid",
    "forest": "random forest of 200 trees",
    "boosted": "100 small gradient-boosted trees on histograms (HistGradientBoosting)",
}
"""The kinds of `SessionClassifier`, and what each one is."""


class SessionClassifier(_Intent):
    """A scikit-learn classifier on the features of lesson 03: will the session still buy?

    Features, scales and categories, calibration and model form one pipeline, and all of it is
    fitted on the selected rows. The sigmoid of the support vector machine (Platt 1999) is
    fitted on margins of users whom that machine did not see: folds of the selected rows, each
    user (or visit, where sessions are copies of one) in one fold.

    Args:
        kind: A key of `CLASSIFIERS`.
        families: Families of features (`course_lib.features.FAMILIES`); by default all that
            the log can tell.
        most: At most so many rows are learnt from, a random sample.
        seed: Of the sample and of the model.

    Attributes:
        pipeline_: The fitted scikit-learn pipeline; `course_lib.features.fitted_rows` says for
            the leakage audit what it was fitted on.
    """

    def __init__(
        self,
        kind: str = "logistic",
        families: tuple[str, ...] | None = None,
        most: int = 30_000,
        seed: int = 1,
    ):
        if kind not in CLASSIFIERS:
            raise unknown_name("kind of classifier", kind, CLASSIFIERS)
        if not isinstance(most, int | np.integer) or most < 2:
            raise CourseError(f"A classifier learns from at least 2 rows, not {most!r}.")
        self.kind, self.families = kind, families
        self.most, self.seed = int(most), int(seed)

    def fit(
        self,
        log: pd.DataFrame,
        labels: pd.Series,
        rows: np.ndarray | None = None,
        table: pd.DataFrame | None = None,
    ) -> Self:
        """Fit the pipeline on the selected rows.

        Args:
            log: The event log, [n] rows, with sessions.
            labels: Whether the session still buys, boolean [n]; missing rows are ignored.
            rows: Mask of the rows to learn from, bool [n]; by default all.
            table: Features of every row, [n, features], where `session_features(log)` is at hand
                already; columns may have been added.

        Raises:
            CourseError: If they are misaligned, or leave nothing to learn from or one answer
                only.
        """
        positions, buys = self._start(log, labels, rows)
        if len(positions) > self.most:
            random = np.random.default_rng(self.seed)
            chosen = np.sort(random.choice(len(positions), self.most, replace=False))
            positions, buys = positions[chosen], buys[chosen]
        table = self._features(log, table).iloc[positions]
        users = log[keep_together(log, "user_id")].to_numpy()[positions]
        self.pipeline_ = self._pipeline(users, buys)
        self.pipeline_.fit(table, buys)
        self.outcomes_ = INTENT
        self.parameters_ = _numbers_fitted(self.pipeline_[-1])
        return self

    def predict_proba(
        self,
        log: pd.DataFrame,
        rows: np.ndarray | None = None,
        table: pd.DataFrame | None = None,
    ) -> np.ndarray:
        """Return [not buying, buying] for each row, float64 [n, 2]; NaN outside `rows`."""
        asked = self._asked(log, rows)
        table = self._features(log, table).iloc[asked]
        if not len(asked):
            return np.full((len(log), 2), np.nan)
        return _table(len(log), asked, self.pipeline_.predict_proba(table)[:, 1])

    def _features(self, log: pd.DataFrame, table: pd.DataFrame | None) -> pd.DataFrame:
        from course_lib.features import session_features

        if table is None:
            return session_features(log, self.families)
        if len(table) != len(log):
            raise CourseError(
                f"The table of features has {len(table)} rows and the log {len(log)}: give the "
                "features of every row of the log, as session_features(log) does."
            )
        return table

    def _pipeline(self, users: np.ndarray, buys: np.ndarray) -> Pipeline:
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.svm import LinearSVC

        from course_lib.features import feature_pipeline

        if self.kind == "logistic":
            model = LogisticRegression(C=0.01, max_iter=2000)
        elif self.kind == "svm":
            margin = LinearSVC(C=0.001, max_iter=20_000, random_state=self.seed)
            folds = _folds_by_user(users, buys)
            model = CalibratedClassifierCV(margin, method="sigmoid", cv=folds, ensemble=False)
        elif self.kind == "forest":
            model = RandomForestClassifier(
                200, min_samples_leaf=20, n_jobs=1, random_state=self.seed
            )
        else:
            model = HistGradientBoostingClassifier(
                learning_rate=0.03,
                max_iter=100,
                max_leaf_nodes=6,
                min_samples_leaf=50,
                l2_regularization=1.0,
                early_stopping=False,
                random_state=self.seed,
            )
        encoding = "linear" if self.kind in ("logistic", "svm") else "trees"
        return make_pipeline(feature_pipeline(self.families, encoding=encoding), model)


def _folds_by_user(users: np.ndarray, buys: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Up to five folds, each user in one of them and both answers in each; (fit, judge) rows."""
    from sklearn.model_selection import StratifiedGroupKFold

    least = min(len(np.unique(users[buys == answer])) for answer in (False, True))
    if least < 2:
        raise CourseError(
            "Too few users to turn margins into probabilities: each answer needs two users."
        )
    folds = StratifiedGroupKFold(min(_FOLDS, least))
    return list(folds.split(np.zeros((len(buys), 1)), buys, groups=users))


def _numbers_fitted(model: object) -> int:
    """How many numbers a fitted classifier holds; of a tree, its nodes."""
    if hasattr(model, "coef_"):
        return model.coef_.size + model.intercept_.size
    if hasattr(model, "calibrated_classifiers_"):  # and the two of the sigmoid
        return _numbers_fitted(model.calibrated_classifiers_[0].estimator) + 2
    if hasattr(model, "estimators_"):
        return sum(tree.tree_.node_count for tree in model.estimators_)
    return sum(len(tree.nodes) for trees in model._predictors for tree in trees)


# --- the value of the basket ---------------------------------------------------------------


def basket_value(log: pd.DataFrame) -> pd.Series:
    """Return the value of what the session still buys after each row. Derived in lesson 04.

    Price times quantity (1 where none is recorded), summed over the purchases that follow the
    row in its session; what was bought up to the row is known and does not count. Where the
    shop recorded nothing but purchases, a session is an order and its rows are the lines of
    it: the value of the lines still to come.

    Returns:
        float64 [rows] with the log's index; missing where no purchase follows (the question is
        what those spend who buy) and where one that follows has no price.

    Raises:
        CourseError: If the log records no purchases or no prices, or has no sessions.
    """
    value, buys = _values(log)
    _, stop = session_bounds(log)
    bought = buys & ~np.isnan(value)
    totals = np.cumsum(np.where(bought, value, 0.0))
    unknown = np.cumsum(buys & np.isnan(value))
    purchases = np.cumsum(buys)
    last = stop - 1
    remaining = totals[last] - totals
    answered = (purchases[last] > purchases) & (unknown[last] == unknown)
    return pd.Series(np.where(answered, remaining, np.nan), index=log.index, name="basket_value")


def basket_examples(
    log: pd.DataFrame, prefix: int = 5
) -> tuple[pd.DataFrame, pd.Series, np.ndarray]:
    """Return the regression of lesson 04: what is known after `prefix` events, and the value.

    One example for each session that has more than `prefix` events and buys after them. The
    columns look at the session up to its `prefix`-th event and at the user's earlier sessions:

    ==============  ============================================================================
    last_price      log1p of the price last seen, 0 before any
    mean_price      mean log1p price of the rows so far that have one
    highest_price   log1p of the highest price so far
    bought          log1p of the value bought so far
    units           log1p of the units bought so far
    in_cart         log1p of the value put in the cart, less what was taken out or bought, at
                    least 0; where the shop records carts
    items           log1p of the distinct items so far
    earlier         mean over the user's earlier sessions that bought of log1p of what they were
                    worth, 0 without any; where the log knows the order of sessions
    first           1 where no earlier session of the user bought, else 0; likewise
    ==============  ============================================================================

    Args:
        log: A clean log with sessions, prices and purchases.
        prefix: Visible events, 1 or more.

    Returns:
        The columns, float64 [examples, columns], not yet scaled; the value (`basket_value`) in
        the shop's money, always above 0, [examples]; the rows of the log that ask, int64
        [examples]. The index of the first two is the rows.

    Raises:
        CourseError: If the log records no purchases or no prices, `prefix` is below 1, or no
            session asks.
    """
    if not isinstance(prefix, int | np.integer) or prefix < 1:
        raise CourseError(f"A prefix shows at least 1 event, not {prefix!r}.")
    target = basket_value(log).to_numpy()
    first, _ = session_bounds(log)
    rows = np.flatnonzero((np.arange(len(log)) - first == prefix - 1) & (target > 0))
    if not len(rows):
        raise CourseError(
            f"No session of log {log.attrs.get('dataset', 'this log')!r} buys after its first "
            f"{prefix} events: show fewer."
        )
    # only the visible rows are looked at from here on
    visible = (np.isin(first, first[rows])) & (np.arange(len(log)) - first < prefix)
    seen = log[visible].reset_index(drop=True)
    value, buys = _values(seen)
    value = np.nan_to_num(value)
    event = seen["event"].astype(str).to_numpy()
    price = seen["price"].to_numpy(np.float64)
    logs = pd.Series(np.log1p(np.where(price > 0, price, np.nan)))
    session = seen["session_id"]
    of_session = logs.groupby(session)
    columns = {
        "last_price": of_session.last(),
        "mean_price": of_session.mean(),
        "highest_price": of_session.max(),
        "bought": np.log1p(pd.Series(value * buys).groupby(session).sum()),
        "units": np.log1p(pd.Series(_units(seen) * buys).groupby(session).sum()),
    }
    if "cart" in log["event"].cat.categories:
        sign = (event == "cart") * 1.0 - (event == "remove") - buys
        in_cart = pd.Series(value * sign).groupby(session).sum()
        columns["in_cart"] = np.log1p(in_cart.clip(lower=0))
    columns["items"] = np.log1p(seen["item_id"].groupby(session).nunique())
    table = pd.DataFrame(columns).fillna(0.0).astype(np.float64)
    table = table.set_axis(pd.Index(rows, name="row"), axis=0)
    if log.attrs.get("clock", "time") in ("time", "day"):
        table["earlier"], table["first"] = _earlier_baskets(log, rows)
    return table, pd.Series(target[rows], index=table.index, name="basket_value"), rows


def _earlier_baskets(log: pd.DataFrame, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean log1p value of what the user of each row bought in earlier sessions; 1 where nothing."""
    value, buys = _values(log)
    first, stop = session_bounds(log)
    starts = np.flatnonzero(first == np.arange(len(log)))
    totals = np.append(0.0, np.cumsum(np.where(buys, np.nan_to_num(value), 0.0)))
    worth = totals[stop[starts]] - totals[starts]
    logs, bought = np.log1p(np.where(worth > 0, worth, 0.0)), worth > 0
    user = pd.Series(pd.factorize(log["user_id"])[0][starts])
    before = [pd.Series(v).groupby(user).cumsum().to_numpy() - v for v in (logs, 1.0 * bought)]
    session = np.searchsorted(starts, first[rows])
    total, times = before[0][session], before[1][session]
    mean = np.where(times > 0, total / np.maximum(times, 1), 0.0)
    return mean, (times == 0).astype(np.float64)


def basket_regression() -> Pipeline:
    """Return the linear regression of `basket_examples` on the logarithm of the value.

    Standardised columns, then scikit-learn's `LinearRegression`, not yet fitted: fit it on the
    training examples with ``np.log(y)``.
    """
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LinearRegression())


def _values(log: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Price times quantity of each row, float64 with NaN, and which rows buy; refused if none."""
    name = log.attrs.get("dataset", "this log")
    if "price" not in log or not log["price"].notna().any():
        raise CourseError(f"Log {name!r} records no prices, so no basket has a value.")
    if "purchase" not in log["event"].cat.categories:
        raise CourseError(f"Log {name!r} records no purchases, so no basket has a value.")
    price = log["price"].to_numpy(np.float64)
    value = np.where(price > 0, price, np.nan) * _units(log)
    return value, (log["event"] == "purchase").to_numpy()


def _units(log: pd.DataFrame) -> np.ndarray:
    """Units of each row, at least 0; 1 where none are recorded."""
    if "quantity" not in log:
        return np.ones(len(log))
    return np.maximum(log["quantity"].astype("Float64").fillna(1).to_numpy(np.float64), 0)
