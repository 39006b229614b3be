"""Classical models against counts by hand, scikit-learn and changes where none may matter."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from letter_logs import letter_log
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from course_lib.baselines import MarkovChain, classical
from course_lib.baselines.classical import (
    CLASSIFIERS,
    MarkovRatio,
    SessionClassifier,
    _folds_by_user,
    basket_examples,
    basket_regression,
    basket_value,
)
from course_lib.baselines.shelf import (
    ChosenMarkovChain,
    event_baselines,
    intent_baselines,
    item_baselines,
)
from course_lib.errors import CourseError
from course_lib.features import feature_pipeline, fitted_rows, session_features
from course_lib.sessions import next_event, next_item, position_in_session, purchase_later


def make_log(*sessions: str) -> tuple[pd.DataFrame, pd.Series]:
    log = letter_log(*sessions)
    return log, purchase_later(log)


def shop_log(seed: int) -> tuple[pd.DataFrame, pd.Series]:
    """A random log with everything that features look at."""
    log, labels = random_log(seed)
    random = np.random.default_rng(seed)
    log["user_id"] = log["session_id"] // 2
    seconds = pd.to_timedelta(np.cumsum(random.integers(1, 200, len(log))), unit="s")
    log["timestamp"] = (pd.Timestamp("2025-01-01", tz="UTC") + seconds).as_unit("us")
    items = random.integers(0, 9, len(log))
    log["item_id"] = pd.Categorical([f"i{item}" for item in items])
    log["category_id"] = pd.Categorical([f"home.{item % 3}" for item in items])
    log["price"] = (1 + items).astype(np.float32)
    return log, labels


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


def test_the_ratio_is_calibrated_on_sessions_its_chains_have_not_seen():
    log, labels = random_log(1)
    model = MarkovRatio(order=2).fit(log, labels)
    asked = labels.notna().to_numpy()
    until = pd.Series(asked).groupby(log["session_id"]).transform("sum")
    visible = (position_in_session(log) < until).to_numpy()
    ratio = np.empty(len(log))
    for fold in range(5):
        inside = (log["session_id"] % 5 == fold).to_numpy()
        others = MarkovRatio(order=2).fit(log, labels, rows=visible & asked & ~inside)
        ratio[inside] = others.log_ratio(log)[inside]
    x = np.column_stack([ratio, np.log(position_in_session(log) + 1)])[asked]
    y = labels[asked].astype(bool)
    theirs = LogisticRegression(C=np.inf, tol=1e-10).fit(x, y)
    want = [theirs.intercept_[0], *theirs.coef_[0]]
    np.testing.assert_allclose(model.coefficients_, want, atol=1e-3)
    got = model.predict_proba(log, rows=asked)
    assert np.isnan(got[~asked]).all()
    assert abs(got[asked, 1].mean() - y.mean()) < 0.02


def test_one_visible_event_is_enough_for_a_ratio():
    log, labels = random_log(2, sessions=800)
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


# --- classifiers on features ---------------------------------------------------------------


def test_logistic_regression_is_scikit_learn_on_the_training_rows_alone():
    log, labels = shop_log(5)
    rows = (position_in_session(log) == 2) & labels.notna().to_numpy()
    train = rows & (log["session_id"] < 60).to_numpy()
    model = SessionClassifier("logistic").fit(log, labels, rows=train)
    table = session_features(log)
    steps = make_pipeline(feature_pipeline(), LogisticRegression(C=0.01, max_iter=2000))
    theirs = steps.fit(table[train], labels[train].astype(bool)).predict_proba(table[rows])
    np.testing.assert_allclose(model.predict_proba(log, rows=rows)[rows], theirs)
    for fitted_on in fitted_rows(model.pipeline_).values():
        assert set(fitted_on) <= set(np.flatnonzero(train))
    again = SessionClassifier("logistic").fit(log, labels, rows=train, table=table)
    np.testing.assert_array_equal(
        again.predict_proba(log, rows=rows, table=table), model.predict_proba(log, rows=rows)
    )


def test_the_sigmoid_is_fitted_on_margins_of_unseen_users():
    users = np.repeat(np.arange(20), 3)
    buys = np.repeat(np.arange(20) % 3 == 0, 3)
    folds = _folds_by_user(users, buys)
    assert len(folds) == 5
    assert sorted(np.concatenate([judge for _, judge in folds])) == list(range(60))
    for fit, judge in folds:
        assert not set(users[fit]) & set(users[judge])
        assert 0 < buys[fit].mean() < 1


def test_at_most_so_many_rows_are_learnt_from():
    log, labels = shop_log(6)
    model = SessionClassifier("logistic", most=40).fit(log, labels)
    assert {len(rows) for rows in fitted_rows(model.pipeline_).values()} == {40}


# --- all of them ---------------------------------------------------------------------------

MODELS = [
    MarkovRatio(order=2),
    *(SessionClassifier(kind) for kind in CLASSIFIERS),
    SessionClassifier("boosted", families=("counts", "recency")),
]


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_other_rows_and_what_comes_later_change_nothing(model):
    log, labels = shop_log(4)
    log["user_id"] = log["session_id"]  # what a user bought in an earlier session is the past
    train = (log["session_id"] < 50).to_numpy()
    want = model.fit(log, labels, rows=train).predict_proba(log)
    np.testing.assert_allclose(want.sum(axis=1), 1)
    assert model.parameters_ > 0
    other = log.copy()
    other.loc[~train, "event"] = "cart"
    other.loc[~train, "price"] = np.float32(1e6)
    got = model.fit(other, labels, rows=train).predict_proba(log)
    np.testing.assert_array_equal(got, want)
    kept = position_in_session(log) < 3
    cut = log[kept].reset_index(drop=True)
    np.testing.assert_allclose(model.predict_proba(cut), want[kept], atol=1e-6)


@pytest.mark.parametrize("name", list(intent_baselines()))
def test_the_shelf_of_purchase_intent(name):
    log, labels = shop_log(7)
    rows = (position_in_session(log) == 1) & labels.notna().to_numpy()
    first, again = (intent_baselines(seed=3)[name].fit(log, labels, rows=rows) for _ in range(2))
    forecast = first.predict_proba(log)
    assert forecast.shape == (len(log), 2)
    np.testing.assert_allclose(forecast.sum(axis=1), 1)
    np.testing.assert_array_equal(forecast, again.predict_proba(log))


def test_the_shelf_of_the_next_event():
    log, _ = random_log(8)
    labels = next_event(log)
    for model in event_baselines(seed=2).values():
        forecast = model.fit(log, labels).predict_proba(log)
        assert forecast.shape == (len(log), 4)
        np.testing.assert_allclose(forecast.sum(axis=1), 1)


def test_the_shelf_of_the_next_item():
    log, _ = shop_log(10)
    labels = next_item(log)
    for model in item_baselines(exclude_seen=False).values():
        ranks = model.fit(log).rank(log, labels)
        assert np.isfinite(ranks[labels.notna()]).all()


def test_the_order_is_chosen_on_held_out_training_sessions():
    # what follows is the event before the last: two back is right, one knows nothing
    random = np.random.default_rng(9)
    texts = []
    for _ in range(150):
        start = "".join(random.choice(["v", "c"], 2))
        texts.append(start * 4)
    log, _ = make_log(*texts)
    labels = next_event(log)
    train = (log["session_id"] < 100).to_numpy()
    model = ChosenMarkovChain(longest=3, smoothings=(0.5, 2.0)).fit(log, labels, rows=train)
    assert model.chain_.order >= 2
    assert model.held_out_.shape == (4, 2)
    held = train & (log["session_id"] % 5 == 1).to_numpy()
    chain = MarkovChain(1, 2.0).fit(log, labels, rows=train & ~held)
    forecast = chain.predict_proba(log)[held, labels[held].cat.codes]
    assert model.held_out_.loc[1, 2.0] == pytest.approx(-np.log(forecast).mean())
    spoilt = labels.where(pd.Series(train), "purchase")
    again = ChosenMarkovChain(longest=3, smoothings=(0.5, 2.0)).fit(log, spoilt, rows=train)
    np.testing.assert_array_equal(again.predict_proba(log), model.predict_proba(log))


def test_copies_of_a_visit_are_held_out_together():
    # events by chance, and each session four times over: only its copies know what follows
    random = np.random.default_rng(4)
    texts = ["".join(random.choice(["v", "c"], 12)) for _ in range(60)]
    log, _ = make_log(*[text for text in texts for _ in range(4)])
    labels = next_event(log)
    told = log.assign(visit_id=log["session_id"] // 4)
    assert ChosenMarkovChain().fit(told, labels).chain_.order <= 1
    assert ChosenMarkovChain().fit(log, labels).chain_.order == 6, "copies look like memory"


def test_copies_of_a_visit_are_judged_in_one_fold(monkeypatch):
    random = np.random.default_rng(5)
    texts = ["".join(random.choice(["v", "c"], 12)) + "p" * (n % 2) for n in range(60)]
    log, labels = make_log(*[text for text in texts for _ in range(4)])
    told = log.assign(visit_id=log["session_id"] // 4)
    ratio, fooled = (
        MarkovRatio(order=4).fit(rows, labels).coefficients_[1] for rows in (told, log)
    )
    assert ratio < 0.2 < 0.5 < fooled, "copies are recognised"

    shop, labels = shop_log(1)
    seen = []
    folds = classical._folds_by_user
    monkeypatch.setattr(
        classical, "_folds_by_user", lambda users, buys: seen.append(users) or folds(users, buys)
    )
    SessionClassifier("svm").fit(shop.assign(visit_id=shop["session_id"] // 4), labels)
    asked = labels.notna().to_numpy()
    np.testing.assert_array_equal(seen[0], (shop["session_id"] // 4)[asked])


# --- the value of the basket ---------------------------------------------------------------


def basket_log() -> pd.DataFrame:
    log, _ = make_log("vcpvp", "vcp", "vv", "vpp", "vvp")
    log["item_id"] = pd.Categorical(list("aaabbabaabaabaab"))
    log["price"] = np.array([10, 10, 10, 4, 4, 2, 3, 2, 1, 1, 5, 5, 6, 7, 7, 7], np.float32)
    log["quantity"] = pd.array([pd.NA, 2, 2, pd.NA, 1] + [pd.NA] * 11, dtype="Int16")
    log["user_id"] = np.array([1, 1, 2, 3, 3])[log["session_id"]]
    return log


def test_the_value_still_to_be_bought_by_hand():
    none = np.nan
    want = [24, 24, 4, 4, none, 2, 2, none, none, none, 11, 6, none, 7, 7, none]
    np.testing.assert_allclose(basket_value(basket_log()), want)
    log = basket_log()
    log.loc[12, "price"] = none  # the second of two purchases: what both cost is not known
    np.testing.assert_allclose(basket_value(log)[10:13], [none, none, none])


def test_basket_examples_by_hand():
    table, value, rows = basket_examples(basket_log(), prefix=2)
    assert rows.tolist() == [1, 6, 11, 14]
    assert value.tolist() == [24, 2, 6, 7]
    money = np.expm1(table)
    assert money["last_price"].round(6).tolist() == [10, 3, 5, 7]
    assert money["highest_price"].round(6).tolist() == [10, 3, 5, 7]
    assert money["bought"].round(6).tolist() == [0, 0, 5, 0]
    assert money["units"].round(6).tolist() == [0, 0, 1, 0]
    assert money["in_cart"].round(6).tolist() == [20, 3, 0, 0]
    assert money["items"].round(6).tolist() == [1, 2, 1, 1]
    # two shoppers come back: sessions 0 and 1 are of one, 3 and 4 of another
    np.testing.assert_allclose(table["earlier"], [0, np.log1p(24), 0, np.log1p(11)])
    assert table["first"].tolist() == [1, 0, 1, 0]
    assert table.loc[6, "mean_price"] == pytest.approx((np.log(3) + np.log(4)) / 2)


def test_a_basket_is_told_from_its_first_events_alone():
    log = basket_log()
    later = position_in_session(log) >= 2
    log["user_id"] = log["session_id"]  # what an earlier session bought is the past
    table, _, rows = basket_examples(log, prefix=2)
    log.loc[later, "price"] *= 3
    log.loc[later, "item_id"] = "b"
    again, value, _ = basket_examples(log, prefix=2)
    pd.testing.assert_frame_equal(again, table)
    np.testing.assert_allclose(value, basket_value(log)[rows])
    model = basket_regression().fit(table, np.log(value))
    assert model.predict(table).shape == (4,)


def test_an_order_of_lines_asks_for_the_lines_to_come():
    log = basket_log().iloc[5:8].assign(event=pd.Categorical(["purchase"] * 3, ["purchase"]))
    log = log.reset_index(drop=True)
    np.testing.assert_allclose(basket_value(log), [5, 2, np.nan])
    table, value, _ = basket_examples(log, prefix=1)
    assert "in_cart" not in table
    assert np.expm1(table["bought"]).round(6).tolist() == [2]
    assert value.tolist() == [5]


# --- misuse --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda log, y: MarkovRatio(order=0), "1 event"),
        (lambda log, y: MarkovRatio().predict_proba(log), "fit"),
        (lambda log, y: MarkovRatio().fit(log, log["event"]), "purchase_later"),
        (lambda log, y: MarkovRatio().fit(log, y, rows=y.fillna(False).to_numpy(bool)), "both"),
        (lambda log, y: MarkovRatio().fit(log, y).predict_proba(log, rows=[0]), "boolean mask"),
        (lambda log, y: SessionClassifier("forst"), "forest"),
        (lambda log, y: SessionClassifier(most=1), "2 rows"),
        (lambda log, y: SessionClassifier().fit(log, y, table=log[:3]), "features of every row"),
        (lambda log, y: SessionClassifier("svm").fit(log, y), "Too few users"),
        (lambda log, y: ChosenMarkovChain(longest=0), "longest"),
        (lambda log, y: ChosenMarkovChain().fit(log[:3], next_event(log[:3])), "two"),
        (lambda log, y: basket_value(log), "no prices"),
        (lambda log, y: basket_examples(basket_log(), prefix=0), "at least 1"),
        (lambda log, y: basket_examples(basket_log(), prefix=9), "show fewer"),
        (
            lambda log, y: basket_value(
                basket_log().assign(event=pd.Categorical(["view"] * 16, ["view"]))
            ),
            "no purchases",
        ),
    ],
)
def test_misuse_is_answered_in_one_sentence(call, message):
    log, labels = make_log("vcp", "vvv", "cvv", "vc")
    log["user_id"] = log["session_id"]
    log["timestamp"] = pd.Timestamp("2025-01-01", tz="UTC").as_unit("us")
    with pytest.raises(CourseError, match=message) as caught:
        call(log, labels)
    assert "\n" not in str(caught.value)


def test_the_shelf_is_there_without_scikit_learn():
    code = (
        "import sys, course_lib.baselines.shelf as shelf\n"
        "shelf.event_baselines(), shelf.intent_baselines()\n"
        "print([m for m in ('sklearn', 'hmmlearn', 'tensorflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
