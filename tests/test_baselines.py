"""Counting baselines against counts by hand, a dictionary of contexts, and misuse."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pandas as pd
import pytest
from letter_logs import EVENTS, NAMES, letter_log

from course_lib.baselines import EventFrequencies, Majority, MarkovChain, standard_baselines
from course_lib.errors import CourseError


def make_log(*sessions: str) -> tuple[pd.DataFrame, pd.Series]:
    """A log and its next-event labels, spelt out: ``"vvc"`` is view, view, cart, (leave)."""
    following = [
        after for text in sessions for after in [*(NAMES[letter] for letter in text[1:]), "leave"]
    ]
    labels = pd.Series(pd.Categorical(following, [*EVENTS, "leave"]), name="next_event")
    return letter_log(*sessions), labels


def random_log(seed: int, sessions: int = 60, events: str = "vcp"):
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 12, sessions)
    return make_log(*("".join(random.choice(list(events), length)) for length in lengths))


def test_majority_and_frequencies_by_hand():
    log, labels = make_log("vvv", "vc", "v")
    majority = Majority().fit(log, labels)
    assert majority.outcomes_ == ["view", "cart", "purchase", "leave"]
    np.testing.assert_array_equal(majority.predict_proba(log), [[0, 0, 0, 1]] * 6)
    shares = EventFrequencies().fit(log, labels).predict_proba(log)
    np.testing.assert_allclose(shares, [[2 / 6, 1 / 6, 0, 3 / 6]] * 6)


def test_first_order_markov_by_hand():
    log, labels = make_log("vvc", "v")
    got = MarkovChain(order=1, smoothing=2.0).fit(log, labels).predict_proba(log)
    # What follows: view 1, cart 1, leave 2; four rows, smoothed by 2/4 each.
    shorter = np.array([1.5, 1.5, 0.5, 2.5]) / 6
    after_view = (np.array([1, 1, 0, 1]) + 2 * shorter) / 5
    after_cart = (np.array([0, 0, 0, 1]) + 2 * shorter) / 3
    np.testing.assert_allclose(got, [after_view, after_view, after_cart, after_view])


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_markov_equals_a_dictionary_of_contexts(order):
    log, labels = random_log(order)
    events, sessions, s = log["event"].tolist(), log["session_id"].tolist(), 0.7

    def context(row: int, length: int) -> tuple:
        back = range(row, row - length, -1)
        return tuple(events[i] if i >= 0 and sessions[i] == sessions[row] else None for i in back)

    counts = [defaultdict(Counter) for _ in range(order + 1)]
    for row, label in enumerate(labels):
        for length in range(order + 1):
            counts[length][context(row, length)][label] += 1

    def probability(row: int, outcome: str, length: int) -> float:
        if length < 0:
            return 1 / 4
        seen = counts[length][context(row, length)]
        shorter = probability(row, outcome, length - 1)
        return (seen[outcome] + s * shorter) / (seen.total() + s)

    got = MarkovChain(order, smoothing=s).fit(log, labels).predict_proba(log)
    wanted = [
        [probability(row, outcome, order) for outcome in labels.cat.categories]
        for row in range(len(log))
    ]
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)


def test_unseen_context_falls_back_on_its_longest_seen_part():
    log, labels = make_log("vvvc", "vv", "cv")
    markov = MarkovChain(order=2).fit(log, labels)
    new, _ = make_log("pv", "pp")
    got = markov.predict_proba(new)
    # "view after a purchase" was never seen: what is known of a view alone is the forecast.
    shorter = MarkovChain(order=1).fit(log, labels).predict_proba(new)
    frequencies = MarkovChain(order=0).fit(log, labels).predict_proba(new)
    np.testing.assert_allclose(got[1], shorter[1])
    np.testing.assert_allclose(got[[0, 2, 3]], frequencies[[0, 2, 3]])
    assert not np.allclose(got[1], frequencies[1])


def test_events_unknown_to_training_and_missing_events_are_forecast():
    log, labels = make_log("vvc", "vc")
    markov = MarkovChain(order=1).fit(log, labels)
    other = log.assign(event=pd.Categorical(["search", "view", None, "cart", "view"]))
    got = markov.predict_proba(other)
    frequencies = MarkovChain(order=0).fit(log, labels).predict_proba(log)[0]
    np.testing.assert_allclose(got[[0, 2]], [frequencies, frequencies])
    np.testing.assert_allclose(got[1], markov.predict_proba(log)[0])


def test_a_session_does_not_look_into_the_one_before():
    log, labels = make_log("vvcp", "vvc")
    alone, _ = make_log("vvc")
    markov = MarkovChain(order=3).fit(log, labels)
    np.testing.assert_allclose(markov.predict_proba(log)[4:], markov.predict_proba(alone))


@pytest.mark.parametrize("model", [Majority(), EventFrequencies(), MarkovChain(2)])
def test_only_the_selected_rows_are_learnt_from(model):
    log, labels = random_log(8)
    train = (log["session_id"] < 30).to_numpy()
    want = type(model)(**({"order": 2} if isinstance(model, MarkovChain) else {}))
    want = want.fit(log[train], labels[train]).predict_proba(log)
    spoilt = labels.where(pd.Series(train), "purchase")
    np.testing.assert_array_equal(model.fit(log, spoilt, rows=train).predict_proba(log), want)


@pytest.mark.parametrize("model", [Majority(), EventFrequencies(), MarkovChain(2)])
def test_forecasts_are_distributions_and_intent_labels_work(model):
    log, labels = random_log(9)
    intent = pd.Series(labels == "purchase", dtype="boolean")
    intent[::5] = pd.NA
    got = model.fit(log, intent).predict_proba(log)
    assert model.outcomes_ == [False, True]
    assert got.shape == (len(log), 2)
    assert (got >= 0).all()
    np.testing.assert_allclose(got.sum(axis=1), 1)
    assert model.parameters_ >= 1


def test_another_event_column_plays_the_event():
    log, labels = random_log(10)
    log["category_id"] = log.pop("event")
    log.attrs["event_column"] = "category_id"
    assert len(MarkovChain().fit(log, labels).predict_proba(log)) == len(log)


def test_standard_baselines_are_told_apart_by_name():
    assert list(standard_baselines("next_event")) == [
        "majority",
        "event frequencies",
        "Markov, last event",
        "Markov, last three events",
    ]
    assert len(standard_baselines("purchase_intent")) == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda log, y: Majority().fit(log, y[:-1]), "one label to each row"),
        (lambda log, y: Majority().fit(log, y.set_axis(y.index + 1)), "indexes differ"),
        (lambda log, y: Majority().fit(log, y.astype(str)), "category or boolean"),
        (lambda log, y: MarkovChain().fit(log, y, rows=np.arange(3)), "boolean mask"),
        (lambda log, y: MarkovChain().fit(log, y, rows=np.zeros(len(y), bool)), "nothing to"),
        (lambda log, y: MarkovChain().predict_proba(log), "fit"),
        (lambda log, y: MarkovChain(order=-1), "order"),
        (lambda log, y: MarkovChain(smoothing=0), "smoothing"),
        (lambda log, y: MarkovChain().fit(log.drop(columns="session_id"), y), "session_id"),
        (lambda log, y: MarkovChain().fit(log.drop(columns="event"), y), "event"),
        (lambda log, y: MarkovChain().fit(log.astype({"event": str}), y), "category"),
        (lambda log, y: standard_baselines("next_item"), "next_item"),
    ],
)
def test_misuse_is_answered_in_one_sentence(call, message):
    with pytest.raises(CourseError, match=message) as caught:
        call(*make_log("vvc", "vcp"))
    assert "\n" not in str(caught.value)
