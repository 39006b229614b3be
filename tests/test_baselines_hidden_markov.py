"""The hidden Markov model against all hidden paths, hmmlearn itself, and misuse."""

from __future__ import annotations

import logging
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hmmlearn.hmm import CategoricalHMM
from letter_logs import letter_log

from course_lib.baselines import EventFrequencies
from course_lib.baselines.hidden_markov import HiddenMarkov, _sequences
from course_lib.errors import CourseError
from course_lib.sessions import next_event


def make_log(*sessions: str) -> tuple[pd.DataFrame, pd.Series]:
    log = letter_log(*sessions)
    return log, next_event(log)


def random_log(seed: int, sessions: int = 80) -> tuple[pd.DataFrame, pd.Series]:
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 9, sessions)
    return make_log(*("".join(random.choice(list("vvvcp"), n)) for n in lengths))


def fitted(log, labels, **settings) -> HiddenMarkov:
    return HiddenMarkov(**{"iterations": 8, "starts": 2} | settings).fit(log, labels)


def test_forecasts_equal_the_sum_over_all_hidden_paths():
    log, labels = random_log(1)
    model = fitted(log, labels, states=3)
    new, _ = make_log("vcpv", "p", "vv", "ccvpv")
    got = model.predict_proba(new)
    codes = new["event"].cat.codes.to_numpy()
    for row in range(len(new)):
        seen = codes[: row + 1][new["session_id"][: row + 1] == new["session_id"][row]]
        weight = np.zeros(4)  # of each outcome after what was seen
        for path in product(range(3), repeat=len(seen) + 1):
            p = model.start_[path[0]]
            for place, code in enumerate(seen):
                p *= model.emission_[path[place], code]
                p *= model.transition_[path[place], path[place + 1]]
            weight += p * model.emission_[path[-1]]
        np.testing.assert_allclose(got[row], weight / weight.sum(), rtol=1e-10)


def test_forecasts_add_up_to_the_likelihood_that_hmmlearn_gives():
    log, labels = random_log(2)
    model = fitted(log, labels, states=2)
    theirs = CategoricalHMM(2, n_features=4)
    theirs.startprob_, theirs.transmat_ = model.start_, model.transition_
    theirs.emissionprob_ = model.emission_
    codes = labels.cat.codes.to_numpy()
    begins = (log["session_id"] != log["session_id"].shift()).to_numpy()
    first = (model.start_ @ model.emission_)[log["event"].cat.codes[begins]]
    ours = np.log(first).sum() + np.log(model.predict_proba(log)[np.arange(len(log)), codes]).sum()
    symbols, lengths = _sequences(log, list(labels.cat.categories), codes, np.ones(len(log), bool))
    assert ours == pytest.approx(theirs.score(symbols[:, None], lengths), abs=1e-8)
    without_leaving = log["event"].cat.codes.to_numpy(int)[:, None]
    score = theirs.score(without_leaving, lengths - 1)
    assert model.log_likelihood(log) == pytest.approx(score, abs=1e-8)


def test_each_session_is_learnt_from_with_leaving_as_its_last_symbol():
    log, labels = make_log("vvc", "p", "vc")
    codes = labels.cat.codes.to_numpy()
    rows = np.array([True, True, True, False, True, False])
    symbols, lengths = _sequences(log, list(labels.cat.categories), codes, rows)
    # the last session is cut after its first row: what followed it, the cart, ends it
    assert symbols.tolist() == [0, 0, 1, 3, 0, 1]
    assert lengths.tolist() == [4, 2]


def test_a_hidden_state_that_stays_is_found():
    # two kinds of sessions: only viewing and leaving by chance, or only carting
    random = np.random.default_rng(3)
    texts = [str(random.choice(["v", "c"])) * int(random.integers(3, 9)) for _ in range(200)]
    model = fitted(*make_log(*texts), states=2, iterations=40)
    new, _ = make_log("vvv", "ccc")
    got = model.predict_proba(new)
    assert got[2, 1] < 0.01
    assert got[5, 0] < 0.01


def test_one_state_is_event_frequencies_of_events_and_leaving():
    log, labels = make_log("vvc", "v", "cv")
    model = fitted(log, labels, states=1, smoothing=1e-9)
    counts = np.array([4, 2, 0, 3])  # each event and each leaving, first events too
    np.testing.assert_allclose(model.predict_proba(log)[0], counts / 9, atol=1e-6)
    assert EventFrequencies().fit(log, labels).predict_proba(log).shape == (6, 4)


def test_unseen_and_missing_events_move_the_belief_by_the_transitions_alone():
    log, labels = random_log(4)
    model = fitted(log, labels)
    new, _ = make_log("vvv", "v")
    new["event"] = pd.Categorical(["view", "search", None, "view"])
    got, beliefs = model.predict_proba(new), model.beliefs(new)
    np.testing.assert_allclose(beliefs[1], beliefs[0] @ model.transition_)
    np.testing.assert_allclose(beliefs[2], beliefs[1] @ model.transition_)
    np.testing.assert_array_equal(got[0], got[3])
    np.testing.assert_allclose(got.sum(axis=1), 1)
    never_bought = log[log["event"] != "purchase"].reset_index(drop=True)
    forecast = fitted(never_bought, next_event(never_bought)).predict_proba(log)
    assert (forecast > 0).all()


def test_neither_other_rows_nor_what_comes_after_a_row_changes_its_forecast():
    log, labels = random_log(5)
    train = (log["session_id"] < 40).to_numpy()
    model = HiddenMarkov(iterations=6, starts=2).fit(log, labels, rows=train)
    other = log.copy()
    other.loc[~train, "event"] = "purchase"
    again = HiddenMarkov(iterations=6, starts=2).fit(other, next_event(other), rows=train)
    np.testing.assert_array_equal(model.emission_, again.emission_)
    np.testing.assert_array_equal(model.predict_proba(log)[train], again.predict_proba(log)[train])
    cut = log[log.groupby("session_id").cumcount() < 3].reset_index(drop=True)
    kept = (log.groupby("session_id").cumcount() < 3).to_numpy()
    np.testing.assert_allclose(model.predict_proba(cut), model.predict_proba(log)[kept])


def test_the_seed_decides_and_the_likelihood_rises(caplog):
    log, labels = random_log(6)
    first, same, other = (fitted(log, labels, seed=seed, sessions=30) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.emission_, same.emission_)
    assert not np.allclose(first.emission_, other.emission_)
    assert (np.diff(first.log_likelihood_) > -1e-3).all()
    assert first.parameters_ == 3 + 4 * 3 + 4 * 3
    assert (np.diff(first.start_) <= 0).all()
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda log, y: HiddenMarkov(states=0), "states"),
        (lambda log, y: HiddenMarkov(sessions=2.5), "sessions"),
        (lambda log, y: HiddenMarkov(smoothing=0), "smoothing"),
        (lambda log, y: HiddenMarkov().predict_proba(log), "fit"),
        (lambda log, y: HiddenMarkov().fit(log, y == "leave"), "next_event"),
        (lambda log, y: HiddenMarkov().fit(log, y, rows=np.zeros(len(y), bool)), "nothing"),
        (lambda log, y: HiddenMarkov().fit(log.drop(columns="session_id"), y), "session_id"),
    ],
)
def test_misuse_is_answered_in_one_sentence(call, message):
    with pytest.raises(CourseError, match=message) as caught:
        call(*make_log("vvc", "vcp"))
    assert "\n" not in str(caught.value)
