"""Classical models against counts by hand, scikit-learn and changes where none may matter."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from course_lib.baselines.classical import MarkovRatio
from course_lib.errors import CourseError
from course_lib.sessions import position_in_session, purchase_later

EVENTS = ["view", "cart", "purchase"]
NAMES = dict(zip("vcp", EVENTS, strict=True))


def make_log(*sessions: str) -> tuple[pd.DataFrame, pd.Series]:
    rows = [(number, NAMES[letter]) for number, text in enumerate(sessions) for letter in text]
    log = pd.DataFrame(rows, columns=["session_id", "event"])
    log["event"] = pd.Categorical(log["event"], EVENTS)
    return log, purchase_later(log)


def random_log(seed: int, sessions: int = 80) -> tuple[pd.DataFrame, pd.Series]:
    random = np.random.default_rng(seed)
    texts = []
    for number in range(sessions):
        habit = [0.4, 0.6] if number % 2 else [0.7, 0.3]
        text = "".join(random.choice(["v", "c"], random.integers(2, 9), p=habit))
        texts.append(text + "p" * int(random.random() < 0.2 + 0.5 * (number % 2)))
    return make_log(*texts)


# --- two Markov chains ---------------------------------------------------------------------


def test_the_ratio_of_two_chains_by_hand():
    log, labels = make_log("vcp", "vvv", "ccp", "vc")
    rows = (position_in_session(log) == 1) & labels.notna().to_numpy()
    model = MarkovRatio().fit(log, labels, rows=rows)
    # Two events are visible: buyers vc, cc; others vv, vc. One observation more of each start;
    # both sides have two sessions, so the totals cancel.
    start = np.log([1 + 1, 1 + 1, 0 + 1]) - np.log([2 + 1, 0 + 1, 0 + 1])
    buyers, others = np.array([0, 2, 0]) + 1 / 3, np.array([1, 1, 0]) + 1 / 3
    buyers, others = buyers / 3, others / 3  # after any event
    after_view = np.log((np.array([0, 1, 0]) + buyers) / 2)
    after_view -= np.log((np.array([1, 1, 0]) + others) / 3)
    after_cart = np.log((np.array([0, 1, 0]) + buyers) / 2) - np.log(others)
    want = [
        *(start[0] + np.array([0, after_view[1], after_view[1] + after_cart[2]])),
        *(start[0] + np.array([0, after_view[0], 2 * after_view[0]])),
        *(start[1] + np.array([0, after_cart[1], after_cart[1] + after_cart[2]])),
        *(start[0] + np.array([0, after_view[1]])),
    ]
    np.testing.assert_allclose(model.log_ratio(log), want)


def test_the_ratio_is_calibrated_as_scikit_learn_would():
    log, labels = random_log(1)
    model = MarkovRatio(order=2).fit(log, labels)
    asked = labels.notna().to_numpy()
    x = np.column_stack([model.log_ratio(log), np.log(position_in_session(log) + 1)])[asked]
    y = labels[asked].astype(bool)
    theirs = LogisticRegression(C=1e9, tol=1e-10).fit(x, y)
    ours = model.predict_proba(log, rows=asked)
    np.testing.assert_allclose(ours[asked], theirs.predict_proba(x), atol=1e-4)
    assert np.isnan(ours[~asked]).all()
    # calibrated: as many purchases are forecast as there were
    assert ours[asked, 1].mean() == pytest.approx(y.mean(), abs=1e-4)


def test_one_visible_event_is_enough_for_a_ratio():
    log, labels = random_log(2)
    rows = position_in_session(log) == 0
    model = MarkovRatio().fit(log, labels, rows=rows)
    got = model.predict_proba(log, rows=rows)[rows, 1]
    share = labels[rows].astype(float).groupby(log["event"].astype(str)[rows]).mean()
    assert got[(log["event"] == "view")[rows]].mean() == pytest.approx(share["view"], abs=0.05)


def test_events_unknown_to_training_say_nothing():
    log, labels = random_log(3)
    model = MarkovRatio().fit(log, labels)
    new = pd.DataFrame({"session_id": [0, 0, 1], "event": ["view", "search", "view"]})
    ratio = model.log_ratio(new.astype({"event": "category"}))
    assert ratio[0] == ratio[1] == ratio[2]


# --- all of them ---------------------------------------------------------------------------

MODELS = [MarkovRatio(order=2)]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_other_rows_and_what_comes_later_change_nothing(model):
    log, labels = random_log(4)
    train = (log["session_id"] < 50).to_numpy()
    want = model.fit(log, labels, rows=train).predict_proba(log)
    np.testing.assert_allclose(want.sum(axis=1), 1)
    other = log.copy()
    other.loc[~train, "event"] = "cart"
    got = model.fit(other, labels, rows=train).predict_proba(log)
    np.testing.assert_array_equal(got, want)
    kept = position_in_session(log) < 3
    cut = log[kept].reset_index(drop=True)
    np.testing.assert_allclose(model.predict_proba(cut), want[kept], atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda log, y: MarkovRatio(order=0), "1 event"),
        (lambda log, y: MarkovRatio().predict_proba(log), "fit"),
        (lambda log, y: MarkovRatio().fit(log, log["event"]), "purchase_later"),
        (lambda log, y: MarkovRatio().fit(log, y, rows=(y == True).to_numpy(bool)), "both"),  # noqa: E712
        (lambda log, y: MarkovRatio().fit(log, y).predict_proba(log, rows=[0]), "boolean mask"),
    ],
)
def test_misuse_is_answered_in_one_sentence(call, message):
    log, labels = make_log("vcp", "vvv", "ccp", "vc")
    with pytest.raises(CourseError, match=message) as caught:
        call(log, labels.fillna(False) if "both" in message else labels)
    assert "\n" not in str(caught.value)


def test_the_shelf_is_there_without_scikit_learn():
    code = (
        "import sys, course_lib.baselines.classical, course_lib.baselines.hidden_markov\n"
        "print([m for m in ('sklearn', 'hmmlearn', 'tensorflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
