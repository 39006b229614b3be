r"""A hidden Markov model of the session: the next event from a belief about a hidden state.

A shopper is in one of a few hidden states (looking around, comparing, about to pay); each event
moves the shopper by chance from state to state, and each state has its own habit of events.
Nobody sees the state; the *forward filter* keeps a belief about it, one probability a state,
and moves it on with every event x that is seen:

    before the event:  b(s') = sum_s a(s) T(s, s')         (first event: b = the start)
    after the event:   a(s') = b(s') E(s', x) / sum_s b(s) E(s, x)
    the forecast:      p(o)  = sum_s' b(s') E(s', o)       of the event that comes next

with transitions T and emissions E. Unlike a Markov chain it has no fixed number of events back:
the belief can carry something from the first event to the last, if one of so few states can.
`LEAVE` is an event like the others, the last of each session. hmmlearn learns start, T and E by
expectation-maximisation (Rabiner 1989); the filter is our own, for all sessions at once.
Derived in lesson 04.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd

from course_lib.baselines.counting import (
    _Counting,
    _event_column,
    _training_rows,
    outcomes_and_codes,
)
from course_lib.errors import CourseError
from course_lib.sessions import session_ids

if TYPE_CHECKING:
    from hmmlearn.hmm import CategoricalHMM

_GAIN = 1e-5
"""Learning stops when a round gains fewer nats an event than this."""


class HiddenMarkov(_Counting):
    """Forecasts the next event from a belief about a hidden state of the shopper.

    Learning finds the nearest top of the likelihood, not the highest; so it begins at several
    random places, and goes on from the best of them.

    Args:
        states: How many hidden states, 1 or more. With 1 it is `EventFrequencies`.
        iterations: Rounds of expectation-maximisation at most, after the beginnings.
        sessions: At most so many training sessions are learnt from, a random sample.
        starts: Random beginnings that are tried, each for a quarter of the rounds.
        smoothing: Observations added to every start, transition and emission, so that no
            event is called impossible.
        seed: Of the sample and of the beginnings.

    Attributes:
        start_: Probability of each state at the first event, float64 [states]; the states are
            numbered by it, the likeliest first.
        transition_: From each state (row) to each (column), float64 [states, states].
        emission_: Of each outcome in each state, float64 [states, outcomes].
        log_likelihood_: Nats an event on the sessions learnt from, one number a round.
    """

    def __init__(
        self,
        states: int = 4,
        iterations: int = 60,
        sessions: int = 2_000,
        starts: int = 4,
        smoothing: float = 0.01,
        seed: int = 1,
    ):
        for name, value in (
            ("states", states),
            ("iterations", iterations),
            ("sessions", sessions),
            ("starts", starts),
        ):
            if not isinstance(value, int | np.integer) or value < 1:
                raise CourseError(
                    f"{name} of a hidden Markov model must be a whole number from 1 on, not "
                    f"{value!r}."
                )
        if not smoothing > 0:
            raise CourseError(
                f"The smoothing must be above 0, not {smoothing!r}: without it an unseen outcome "
                "would be called impossible."
            )
        self.states, self.iterations, self.sessions = int(states), int(iterations), int(sessions)
        self.starts, self.smoothing, self.seed = int(starts), float(smoothing), int(seed)

    def fit(self, log: pd.DataFrame, labels: pd.Series, rows: np.ndarray | None = None) -> Self:
        """Learn start, transitions and emissions from the sessions of the selected rows.

        Args:
            log: The event log, [n] rows, with sessions. The log's `event_column` (its attrs;
                `event` by default) says what an event is.
            labels: What followed each row, [n], as `sessions.next_event` gives them. A
                sequence is the selected rows of a session and then the label of the last.
            rows: Mask of the rows to learn from, bool [n]; by default all. Neighbouring rows
                of one session make one sequence.

        Raises:
            CourseError: If the three are misaligned, leave nothing to learn from, or the
                labels are not events of this log.
        """
        mask = _training_rows(log, labels, rows)
        outcomes, following = outcomes_and_codes(labels)
        symbols, lengths = _sequences(log, outcomes, following, mask)
        self.outcomes_ = outcomes
        random = np.random.default_rng(self.seed)
        if len(lengths) > self.sessions:
            chosen = np.sort(random.choice(len(lengths), self.sessions, replace=False))
            keep = np.zeros(len(lengths), bool)
            keep[chosen] = True
            symbols, lengths = symbols[np.repeat(keep, lengths)], lengths[keep]
        first_rounds = -(-self.iterations // 4)
        begun = [
            self._learn(symbols, lengths, first_rounds, int(random.integers(2**31)))
            for _ in range(self.starts)
        ]
        model = max(begun, key=lambda one: one.monitor_.history[-1])
        history = list(model.monitor_.history)
        model = self._learn(symbols, lengths, self.iterations, model)
        history += model.monitor_.history
        order = np.argsort(-model.startprob_, kind="stable")
        self.start_ = model.startprob_[order]
        self.transition_ = model.transmat_[np.ix_(order, order)]
        self.emission_ = model.emissionprob_[order]
        self.log_likelihood_ = np.array(history) / len(symbols)
        s, o = self.states, len(outcomes)
        self.parameters_ = (s - 1) + s * (s - 1) + s * (o - 1)
        return self

    def predict_proba(self, log: pd.DataFrame) -> np.ndarray:
        """Return the forecast of every row of the log, float64 [n, outcomes].

        Missing events, and events that training did not know, are taken to be as likely in
        one state as in another: the belief moves on by the transitions alone.

        Raises:
            CourseError: If it is not fitted, or the log lacks its sessions or events.
        """
        return self.beliefs(log) @ (self.transition_ @ self.emission_)

    def beliefs(self, log: pd.DataFrame) -> np.ndarray:
        """Return the belief about the state after each row, float64 [n, states].

        The forward filter: row i has seen its session up to and including event i. All
        sessions take a step at once, so it costs as many steps as the longest session is long.
        """
        return self._filter(log)[0]

    def log_likelihood(self, log: pd.DataFrame) -> float:
        """Return the log-likelihood of the log's events (without leaving), in nats.

        The sum over all rows of the log of the forecast that was made of the row's event;
        a missing or unknown event adds nothing.
        """
        return float(np.log(self._filter(log)[1]).sum())

    def _filter(self, log: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """The belief after each row [n, states], and how likely the row's event had been [n]."""
        self._check_fitted()
        codes = _event_codes(log, self.outcomes_)
        sessions = session_ids(log)
        first = np.flatnonzero(np.diff(sessions, prepend=sessions[:1] - 1))
        lengths = np.diff(first, append=len(sessions))
        longest_first = np.argsort(-lengths, kind="stable")
        first, lengths = first[longest_first], lengths[longest_first]
        # the last column: an event that is as likely in every state
        likelihood = np.column_stack([self.emission_, np.ones(self.states)]).T
        beliefs = np.empty((len(log), self.states))
        likelihoods = np.ones(len(log))
        before = np.repeat(self.start_[None, :], len(first), axis=0)
        for step in range(lengths[0] if len(lengths) else 0):
            rows = first[: np.searchsorted(-lengths, -step)] + step
            after = before[: len(rows)] * likelihood[codes[rows]]
            total = after.sum(axis=1, keepdims=True)
            after /= total
            beliefs[rows] = after
            likelihoods[rows] = total[:, 0]
            before = after @ self.transition_
        return beliefs, likelihoods

    def _learn(
        self,
        symbols: np.ndarray,
        lengths: np.ndarray,
        rounds: int,
        begin: int | CategoricalHMM,
    ) -> CategoricalHMM:
        """Run hmmlearn from a random beginning (a seed) or on from another of its models."""
        from hmmlearn.base import ConvergenceMonitor
        from hmmlearn.hmm import CategoricalHMM

        class Quiet(ConvergenceMonitor):
            """Notes each round; the pseudo-counts may cost a last hair of likelihood."""

            def report(self, log_prob: float) -> None:
                self.history.append(log_prob)
                self.iter += 1

        model = CategoricalHMM(
            self.states,
            startprob_prior=1 + self.smoothing,
            transmat_prior=1 + self.smoothing,
            emissionprob_prior=1 + self.smoothing,
            n_features=len(self.outcomes_),
            random_state=begin if isinstance(begin, int) else None,
            init_params="ste" if isinstance(begin, int) else "",
            implementation="scaling",
        )
        if not isinstance(begin, int):
            model.startprob_, model.transmat_ = begin.startprob_, begin.transmat_
            model.emissionprob_ = begin.emissionprob_
        model.monitor_ = Quiet(tol=_GAIN * len(symbols), n_iter=rounds, verbose=False)
        model.n_iter = rounds
        return model.fit(symbols[:, None], lengths)


def _event_codes(log: pd.DataFrame, outcomes: list) -> np.ndarray:
    """Each row's event as its position among the outcomes, int64 [n]; -1 where it is none."""
    column = log[_event_column(log)]
    return column.cat.set_categories(outcomes).cat.codes.to_numpy(np.int64)


def _sequences(
    log: pd.DataFrame, outcomes: list, following: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What hmmlearn learns from: the symbols of all sequences, int64, and their lengths."""
    codes = _event_codes(log, outcomes)
    if not (codes[mask] >= 0).any():
        raise CourseError(
            "A hidden Markov model forecasts the next event of this log, but the labels know none "
            "of its events: give the labels of next_event(log)."
        )
    sessions = session_ids(log)
    same = np.zeros(len(log) + 1, bool)  # row i belongs with the row before it
    same[1:-1] = (sessions[1:] == sessions[:-1]) & mask[1:] & mask[:-1]
    ends = np.flatnonzero(mask & ~same[1:])
    sequence = np.cumsum(mask & ~same[:-1]) - 1
    kept = np.flatnonzero(mask & (codes >= 0))
    position = np.concatenate([kept, ends])  # a last symbol stands after its row
    order = np.lexsort((np.repeat([0, 1], [len(kept), len(ends)]), position))
    symbols = np.concatenate([codes[kept], following[ends]])[order]
    return symbols, np.bincount(sequence[position])
