"""Every baseline of a task by name, not yet fitted: the shelf from which the ladder is filled.

Taking the shelf down loads NumPy and pandas only; scikit-learn and hmmlearn are loaded when a
model that needs them is fitted.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd

from course_lib.baselines.classical import MarkovRatio, SessionClassifier
from course_lib.baselines.counting import (
    EventFrequencies,
    Majority,
    MarkovChain,
    _Counting,
    _training_rows,
)
from course_lib.baselines.hidden_markov import HiddenMarkov
from course_lib.errors import CourseError
from course_lib.events import keep_together
from course_lib.sessions import session_ids

if TYPE_CHECKING:
    from course_lib.baselines.ranking import ItemRanker

_HELD_OUT = 5


class ChosenMarkovChain(_Counting):
    """A Markov chain whose order and smoothing are chosen on held-out training sessions.

    How far back to look is for the log to say: too short forgets, too long meets contexts that
    it has hardly seen. Every fifth session of the selected rows is held out; the pair with the
    lowest log-loss there is counted again on all of them. Validation and test play no part. Where
    sessions are copies of one visit (column ``visit_id``), every fifth visit is held out.

    Args:
        longest: The highest order tried, in events, 1 or more; all from 0 to it are.
        smoothings: The smoothings tried, as in `MarkovChain`.

    Attributes:
        chain_: The chosen `MarkovChain`, with its `order` and `smoothing`.
        held_out_: Log-loss on the held-out sessions, one row an order, one column a smoothing.
    """

    def __init__(self, longest: int = 6, smoothings: tuple[float, ...] = (1.0, 5.0, 20.0)):
        chains = [MarkovChain(longest, smoothing) for smoothing in smoothings]
        if not chains or longest < 1:
            raise CourseError(
                "To choose a Markov chain takes a longest order of 1 or more and a smoothing."
            )
        self.longest, self.smoothings = chains[0].order, tuple(c.smoothing for c in chains)

    def fit(self, log: pd.DataFrame, labels: pd.Series, rows: np.ndarray | None = None) -> Self:
        """Choose, then count; arguments and errors as `MarkovChain.fit`.

        Raises:
            CourseError: Also if the selected rows are of fewer than two sessions.
        """
        mask = _training_rows(log, labels, rows)
        session_ids(log)  # refuse a log without sessions in order
        ordinal, sessions = pd.factorize(log[keep_together(log, "session_id")].to_numpy()[mask])
        if len(sessions) < 2:
            raise CourseError("To choose an order, hold out sessions: there must be at least two.")
        held = mask.copy()
        held[mask] = ordinal % _HELD_OUT == 1
        judged, after = log[held], labels[held].cat.codes.to_numpy()
        loss: dict[float, list[float]] = {}
        for smoothing in self.smoothings:
            chain = MarkovChain(self.longest, smoothing).fit(log, labels, rows=mask & ~held)
            loss[smoothing] = [
                _log_loss(_shortened(chain, order), judged, after)
                for order in range(self.longest + 1)
            ]
        self.held_out_ = pd.DataFrame(loss).rename_axis(index="order", columns="smoothing")
        order, place = np.unravel_index(np.argmin(self.held_out_.to_numpy()), self.held_out_.shape)
        self.chain_ = MarkovChain(int(order), self.smoothings[place]).fit(log, labels, rows=mask)
        self.outcomes_, self.parameters_ = self.chain_.outcomes_, self.chain_.parameters_
        return self

    def predict_proba(self, log: pd.DataFrame) -> np.ndarray:
        """Return the forecast of every row of the log, float64 [n, outcomes]."""
        self._check_fitted()
        return self.chain_.predict_proba(log)


def _shortened(chain: MarkovChain, order: int) -> MarkovChain:
    """The chain of a lower order that a fitted one holds as its back-off."""
    short = copy(chain)
    short.order = order
    short.keys_, short.probabilities_ = chain.keys_[:order], chain.probabilities_[: order + 1]
    return short


def _log_loss(chain: MarkovChain, log: pd.DataFrame, after: np.ndarray) -> float:
    return float(-np.log(chain.predict_proba(log)[np.arange(len(after)), after]).mean())


def event_baselines(
    seed: int = 1,
) -> dict[str, Majority | EventFrequencies | MarkovChain | ChosenMarkovChain | HiddenMarkov]:
    """Return the baselines of the next event by name, not yet fitted.

    Args:
        seed: Of those that draw at random.
    """
    return {
        "majority": Majority(),
        "event frequencies": EventFrequencies(),
        "Markov, last event": MarkovChain(order=1),
        "Markov, last three events": MarkovChain(order=3),
        "Markov, order chosen": ChosenMarkovChain(),
        "hidden Markov": HiddenMarkov(states=8, seed=seed),
    }


def intent_baselines(
    seed: int = 1,
) -> dict[str, Majority | EventFrequencies | MarkovRatio | SessionClassifier]:
    """Return the baselines of purchase intent by name, not yet fitted.

    Args:
        seed: Of those that draw at random.
    """
    return {
        "majority": Majority(),
        "share of buyers": EventFrequencies(),
        "Markov ratio": MarkovRatio(),
        "logistic regression": SessionClassifier("logistic", seed=seed),
        "linear SVM": SessionClassifier("svm", seed=seed),
        "random forest": SessionClassifier("forest", seed=seed),
        "boosted trees": SessionClassifier("boosted", seed=seed),
    }


def item_baselines(exclude_seen: bool = False) -> dict[str, ItemRanker]:
    """Return the rankers of the next item by name, not yet fitted.

    Args:
        exclude_seen: Whether items that the session has shown are no candidates.
    """
    from course_lib.baselines import ranking

    return ranking.item_baselines(exclude_seen)
