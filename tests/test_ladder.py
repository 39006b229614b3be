"""The ladder scores all models on the same rows, and refuses those scored elsewhere."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from course_lib import metrics
from course_lib.baselines import MarkovChain
from course_lib.errors import CourseError
from course_lib.events import attach_attrs
from course_lib.ladder import Ladder
from course_lib.sessions import assign_sessions, next_event, purchase_later
from course_lib.splits import temporal_split


@pytest.fixture(scope="module")
def world():
    """Sessions from a known chain: its own probabilities are the best possible forecast."""
    random = np.random.default_rng(0)
    events = ["view", "cart", "purchase"]
    after = {
        "view": [0.55, 0.25, 0.0, 0.2],
        "cart": [0.3, 0.1, 0.5, 0.1],
        "purchase": [0.2, 0.0, 0.0, 0.8],
    }
    rows, clock = [], pd.Timestamp("2026-03-01", tz="UTC")
    for session in range(600):
        event = "view"
        while event != "leave":
            clock += pd.Timedelta(seconds=30)
            rows.append((session, clock, event, f"item {random.integers(9)}"))
            event = random.choice([*events, "leave"], p=after[event])
        clock += pd.Timedelta(hours=1)
    log = pd.DataFrame(rows, columns=["user_id", "timestamp", "event", "item_id"])
    log["timestamp"] = log["timestamp"].astype("datetime64[us, UTC]")
    log["event"] = pd.Categorical(log["event"], events)
    log["item_id"] = log["item_id"].astype("category")
    attach_attrs(log, dataset="tiny", tasks=("next_event", "purchase_intent"))
    log = assign_sessions(log)
    truth = pd.DataFrame([after[event] for event in log["event"]], columns=[*events, "leave"])
    return log, temporal_split(log), truth


@pytest.fixture
def ladder(world):
    log, split, truth = world
    ladder = Ladder("next_event", log, split, resamples=200)
    ladder.add_baselines()
    ladder.add_best(truth.assign(purchase_later=0.5))
    return ladder


def test_every_rung_is_scored_on_the_test_rows_alone(ladder, world):
    log, split, truth = world
    test = split.rows(log, "test")
    labels = next_event(log)
    assert ladder.rows == test.sum()
    assert {rung.rows for rung in ladder.rungs.values()} == {ladder.rows}
    best = ladder["best possible"].scores["log_loss"]
    assert best.value == pytest.approx(metrics.log_loss(truth[test], labels[test]))
    markov = MarkovChain(1).fit(log, labels, rows=split.rows(log, "train"))
    got = ladder["Markov, last event"].scores["log_loss"].value
    assert got == pytest.approx(metrics.log_loss(markov.predict_proba(log)[test], labels[test]))


def test_baselines_do_not_learn_from_the_test_part(world):
    log, split, _ = world
    test = split.rows(log, "test")
    spoilt = log.assign(event=log["event"].where(~test, "purchase").astype(log["event"].dtype))
    losses = []
    for version in (log, spoilt):
        ladder = Ladder("next_event", version, split, part="validation", resamples=2)
        ladder.add_baselines()
        losses.append([rung.losses for rung in ladder.rungs.values()])
    np.testing.assert_array_equal(*losses)


def test_order_table_and_gap(ladder):
    frame = ladder.frame()
    assert frame["model"].tolist()[-1] == "majority"
    assert frame["log_loss"].is_monotonic_increasing
    table = ladder.table()
    assert table.columns.tolist() == ["log-loss", "accuracy", "macro F1", "parameters"]
    assert "fit seconds" in ladder.table(seconds=True)
    assert table.columns.name == f"{ladder.rows:,} rows, {ladder.sessions:,} sessions"
    closed = ladder.gap_closed("event frequencies")
    assert closed.value < 0
    assert ladder.gap_closed("best possible").value == pytest.approx(1)
    assert ladder.difference("Markov, last event", "event frequencies").high < 0


def test_slices_are_masks_over_the_log(ladder, world):
    log, _, _ = world
    carts = (log["event"] == "cart").to_numpy()
    losses = ladder["Markov, last event"].losses[carts[ladder.scored]]
    assert ladder.log_loss("Markov, last event", carts).value == pytest.approx(losses.mean())
    only_carts = Ladder("next_event", log, ladder.split, rows=carts, resamples=10)
    only_carts.add_baselines()
    assert only_carts["Markov, last event"].scores["log_loss"].value == pytest.approx(losses.mean())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda forecast, test: forecast[test], "other rows"),
        (lambda forecast, test: forecast.to_numpy()[test], "other rows"),
        (lambda forecast, test: forecast.set_axis(forecast.index + 1), "index"),
        (
            lambda forecast, test: forecast[forecast.index % 7 > 0].reindex(forecast.index),
            "no forecast for",
        ),
        (lambda forecast, test: forecast.drop(columns="leave"), "outcome leave"),
        (lambda forecast, test: forecast.to_numpy()[:, :3], "shape"),
        (lambda forecast, test: forecast * 2, "add up to 1"),
        (lambda forecast, test: np.log(forecast.to_numpy() + 0.1), "add up to 1"),
        (lambda forecast, test: 0.5, "other rows"),
    ],
)
def test_a_forecast_about_anything_else_is_refused(ladder, world, spoil, message):
    log, split, truth = world
    before = list(ladder.rungs)
    with pytest.raises(CourseError, match=message) as caught:
        ladder.add("mine", spoil(truth, split.rows(log, "test")))
    assert "\n" not in str(caught.value)
    assert list(ladder.rungs) == before


def test_rungs_scored_on_other_rows_or_labels_cannot_join(ladder, world):
    log, split, truth = world
    same = Ladder("next_event", log, split, resamples=10)
    ladder.join(same.add("same", truth))
    assert "same" in ladder.rungs
    fewer = Ladder("next_event", log, split, rows=np.arange(len(log)) % 2 > 0, resamples=10)
    with pytest.raises(CourseError, match="rows and labels"):
        ladder.join(fewer.add("fewer", truth))
    with pytest.raises(CourseError, match="other split"):
        ladder.join(dataclasses.replace(same["same"], split="0" * 12))
    validation = Ladder("next_event", log, split, part="validation", resamples=10)
    with pytest.raises(CourseError, match="rows and labels"):
        ladder.join(validation.add("validated", truth))


def test_purchase_intent_asks_each_session_once(world):
    log, split, _ = world
    ladder = Ladder("purchase_intent", log, split, prefix=2, resamples=50)
    ladder.add_baselines()
    assert ladder.rows == ladder.sessions
    position = log.groupby("session_id").cumcount().to_numpy()
    assert set(position[ladder.scored]) == {1}
    labels = purchase_later(log)
    assert ladder.labels[ladder.scored].tolist() == labels[ladder.scored].tolist()
    chance = pd.Series(0.5, index=log.index)
    coin = ladder.add("coin", chance, kind="model")
    assert coin.scores["roc_auc"].value == pytest.approx(0.5)
    assert ladder.table().shape == (4, 5)


def test_picture_and_words_name_every_model(ladder):
    figure = ladder.plot()
    axes = figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ladder.frame()["model"].tolist()
    texts = {text.get_text() for text in axes.texts}
    assert {"best baseline", "best possible"} <= texts
    words = ladder.words()
    assert all(name in words for name in names)
    assert f"{ladder.sessions:,} test sessions" in words
    assert "accuracy" in ladder.words("accuracy")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ladder: Ladder("next_evnt", ladder.log, ladder.split), "did you mean"),
        (lambda ladder: ladder["markov"], "Unknown model"),
        (lambda ladder: ladder.plot("roc_auc"), "Unknown metric"),
        (lambda ladder: ladder.add("x", np.zeros(3), kind="oracle"), "Unknown kind"),
        (lambda ladder: Ladder("next_event", ladder.log, ladder.split).plot(), "empty"),
        (
            lambda ladder: Ladder(
                "next_event", ladder.log, ladder.split, rows=np.zeros(len(ladder.log), bool)
            ),
            "No row",
        ),
        (lambda ladder: ladder.log_loss("majority", np.zeros(len(ladder.log), bool)), "None of"),
    ],
)
def test_misuse_is_answered_in_one_sentence(ladder, call, message):
    with pytest.raises(CourseError, match=message):
        call(ladder)


def test_a_ladder_without_best_possible_says_so(world):
    log, split, _ = world
    ladder = Ladder("next_event", log, split, resamples=10)
    ladder.add_baselines()
    assert len(ladder.plot().axes[0].get_yticklabels()) == 3
    with pytest.raises(CourseError, match="simulated log"):
        ladder.gap_closed("majority")
