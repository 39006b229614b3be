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
from course_lib.sessions import assign_sessions, next_event, next_item, purchase_later
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
    attach_attrs(log, dataset="tiny", tasks=("next_event", "purchase_intent", "next_item"))
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
        losses.append([rung.values for rung in ladder.rungs.values()])
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


def test_the_gap_may_be_measured_from_any_baseline(ladder):
    frequent = "event frequencies"
    from_best = ladder.gap_closed("Markov, last event")
    assert ladder.gap_closed(frequent, baseline=frequent).value == 0
    further = ladder.gap_closed("Markov, last event", baseline=frequent)
    assert further.value > max(from_best.value, 0.9)
    named = ladder.gap_closed(frequent, baseline=ladder.best_baseline.name)
    assert named == ladder.gap_closed(frequent)
    with pytest.raises(CourseError, match="Unknown model"):
        ladder.gap_closed(frequent, baseline="Markov chain")


def test_differences_by_any_metric_of_the_ladder(ladder):
    markov, frequent = "Markov, last event", "event frequencies"
    for metric in ladder.metrics:
        got = ladder.difference(markov, frequent, metric=metric)
        apart = (
            ladder.score(markov, metric=metric).value - ladder.score(frequent, metric=metric).value
        )
        assert got.value == pytest.approx(apart)
    assert ladder.score(markov, metric="accuracy") == ladder[markov].scores["accuracy"]
    assert ladder.log_loss(markov) == ladder.score(markov)
    with pytest.raises(CourseError, match="Unknown metric"):
        ladder.difference(markov, frequent, metric="roc_auc")


def test_slices_are_masks_over_the_log(ladder, world):
    log, _, _ = world
    carts = (log["event"] == "cart").to_numpy()
    losses = ladder["Markov, last event"].values[carts[ladder.scored]]
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


@pytest.fixture
def ranked(world):
    """A ladder of next item with two rankers: by popularity in training, and by the alphabet."""
    log, split, _ = world
    labels = next_item(log)
    codes = labels.cat.codes.to_numpy(np.int64)
    train = split.rows(log, "train")
    popularity = np.bincount(codes[train & (codes >= 0)], minlength=len(labels.cat.categories))
    ladder = Ladder("next_item", log, split, k=3, resamples=200)
    by = {"popularity": popularity, "alphabet": -np.arange(len(popularity))}
    for name, scores in by.items():
        ranks = metrics.rank_of_target(np.tile(scores, (len(log), 1)), codes)
        ladder.add(name, ranks, kind="baseline", seconds=0.1, parameters=len(popularity))
    return ladder


def test_next_item_is_scored_by_ranks_in_the_whole_catalogue(ranked, world):
    log, split, _ = world
    labels = next_item(log)
    assert ranked.metrics == ("hit_rate@3", "ndcg@3", "mrr@3")
    assert (ranked.scored == (split.rows(log, "test") & labels.notna().to_numpy())).all()
    rung = ranked["alphabet"]
    hits = labels.cat.codes.to_numpy()[ranked.scored] < 3
    assert rung.scores["hit_rate@3"].value == hits.mean()
    np.testing.assert_array_equal(rung.values, hits)
    assert (rung.seconds, rung.parameters) == (0.1, 9)
    perfect = ranked.add("perfect", pd.Series(1.0, index=log.index))
    assert {score.value for score in perfect.scores.values()} == {1.0}
    assert ranked.frame()["model"].tolist()[0] == "perfect"
    assert ranked.frame()["hit_rate@3"].is_monotonic_decreasing
    assert ranked.table().columns.tolist() == ["HR@3", "NDCG@3", "MRR@3", "parameters"]
    assert ranked.difference("perfect", "alphabet").low > 0
    found = ranked.difference("perfect", "alphabet", metric="mrr@3")
    assert found.value == pytest.approx(1 - rung.scores["mrr@3"].value)
    assert ranked.score("alphabet", metric="ndcg@3") == rung.scores["ndcg@3"]
    assert ranked.best_baseline.scores["hit_rate@3"].value >= rung.scores["hit_rate@3"].value


def test_item_rankers_join_as_baselines_fitted_on_the_training_part(world):
    log, split, _ = world
    ladder = Ladder("next_item", log, split, k=3, resamples=20)
    ladder.add_baselines()
    frame = ladder.frame()
    assert set(frame["kind"]) == {"baseline"}
    assert {"popularity", "sequential rules"} <= set(frame["model"])
    assert frame[["seconds", "parameters"]].notna().all().all()
    commonest = log.loc[split.rows(log, "train"), "item_id"].value_counts().index[0]
    first = ladder["popularity"].answers == 1
    assert first.any()
    assert set(next_item(log)[ladder.scored][first]) == {commonest}


def test_next_item_s_picture_and_words_say_which_way_is_better(ranked):
    axes = ranked.plot().axes[0]
    assert axes.get_xlabel().endswith("(higher is better)")
    assert [label.get_text() for label in axes.get_yticklabels()] == ranked.frame()[
        "model"
    ].tolist()
    assert "best baseline" in {text.get_text() for text in axes.texts}
    assert "which item comes next" in ranked.words("mrr@3")


def test_the_share_of_a_gap_counts_the_right_way_where_higher_is_better(ranked, world):
    log, _, _ = world
    better = 1 + (np.arange(len(log)) % 4 == 0) * 5.0
    ranked.add("better", better)
    ranked.add("perfect", np.ones(len(log)), kind="best")
    low, high = ranked["alphabet"].values.mean(), ranked["better"].values.mean()
    closed = ranked.gap_closed("better", baseline="alphabet")
    assert closed.value == pytest.approx((high - low) / (1 - low))


@pytest.mark.parametrize(
    ("forecast", "message"),
    [
        (lambda n: np.full((n, 9), 1 / 9), r"one rank a row.*rank_of_target"),
        (lambda n: np.full(n, 0.5), "ranks go from 1"),
        (lambda n: np.zeros(n), "ranks go from 1"),
        (lambda n: np.full(n, 10), "the 9 items of the catalogue"),
        (lambda n: np.full(n, np.inf), "ranks go from 1"),
        (lambda n: np.full(n, np.nan), "no forecast for"),
        (lambda n: np.ones(n - 1), "other rows"),
    ],
)
def test_what_is_no_rank_is_refused(ranked, forecast, message):
    with pytest.raises(CourseError, match=message) as caught:
        ranked.add("mine", forecast(len(ranked.log)))
    assert "\n" not in str(caught.value)
    assert "mine" not in ranked.rungs


def test_ranks_are_only_asked_for_where_the_ladder_scores(ranked):
    ranks = np.where(ranked.scored, 1.0, np.nan)
    assert ranked.add("elsewhere unasked", ranks).rows == ranked.rows


def test_the_bootstrap_may_draw_users(world):
    log, split, truth = world
    log = log.assign(user_id=log["user_id"] // 4)
    by_user = Ladder("next_event", log, split, groups="user", resamples=100)
    by_session = Ladder("next_event", log, split, resamples=100)
    rungs = [ladder.add("truth", truth) for ladder in (by_user, by_session)]
    scores = [rung.scores["log_loss"] for rung in rungs]
    assert scores[0].value == pytest.approx(scores[1].value)
    users = log.loc[by_user.scored, "user_id"].nunique()
    assert (scores[0].groups, scores[1].groups) == (users, by_session.sessions)
    assert by_user.table().columns.name == f"{by_user.rows:,} rows, {users:,} users"
    assert by_user.frame()["users"].tolist() == [users]
    assert f"{users:,} test users" in by_user.words()
    with pytest.raises(CourseError, match="other groups"):
        by_session.join(rungs[0])


def test_copies_of_a_visit_are_no_further_evidence(world):
    log, split, truth = world
    once = Ladder("next_event", log, split, resamples=200).add("truth", truth)
    copies = pd.concat([log.assign(user_id=log["user_id"] + 1000 * n) for n in range(4)])
    copies = copies.assign(visit_id=copies["session_id"]).reset_index(drop=True)
    copies = assign_sessions(copies)
    forecast = pd.concat([truth] * 4, ignore_index=True)
    parts = temporal_split(copies)
    of_part = log["session_id"].isin(log["session_id"][split.rows(log, "test")])
    rows = copies["visit_id"].isin(log["session_id"][of_part]).to_numpy()
    asked = {"split": parts, "rows": rows, "resamples": 200}
    ladder = Ladder("next_event", copies, **asked)
    assert ladder.grouped_by == "visit"
    rung = ladder.add("truth", forecast)
    assert rung.groups == "visit"
    assert rung.scores["log_loss"].groups == once.scores["log_loss"].groups
    assert f"{rung.scores['log_loss'].groups:,} test visits" in ladder.words()
    assert ladder.frame()["visits"].tolist() == [rung.scores["log_loss"].groups]
    by_session = Ladder("next_event", copies, groups="session", **asked).add("truth", forecast)

    def width(rung):
        return rung.scores["log_loss"].high - rung.scores["log_loss"].low

    assert by_session.scores["log_loss"].value == pytest.approx(once.scores["log_loss"].value)
    assert width(rung) == pytest.approx(width(once), rel=0.1)
    assert width(by_session) < 0.65 * width(rung)


def test_a_rung_with_another_k_cannot_join(ranked, world):
    log, split, _ = world
    other = Ladder("next_item", log, split, k=5, resamples=10)
    with pytest.raises(CourseError, match="other metrics"):
        ranked.join(other.add("perfect", np.ones(len(log))))


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
    same = ladder.difference("coin", "majority", metric="roc_auc")
    assert (same.value, same.low, same.high) == (0, 0, 0)
    better = ladder.difference("Markov, last event", "coin", metric="roc_auc")
    apart = ladder["Markov, last event"].scores["roc_auc"].value - 0.5
    assert better.value == pytest.approx(apart)


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


def test_the_line_of_the_best_baseline_stands_at_the_best_by_the_drawn_metric(ladder):
    """Sure of `view`, a baseline may be the most accurate and the worst by log-loss."""
    truth = ladder["best possible"]
    labels = ladder.labels.to_numpy()
    sure = pd.DataFrame(1e-6, index=ladder.log.index, columns=list(ladder.labels.cat.categories))
    for outcome in sure:
        sure.loc[labels == outcome, outcome] = 1.0
    sure = sure.div(sure.sum(axis=1), axis=0)
    sure.iloc[::3] = np.roll(sure.iloc[::3].to_numpy(), 1, axis=1)
    ladder.add("sure of itself", sure, kind="baseline")
    assert ladder.best_baseline.name != "sure of itself"
    drawn = ladder._lines("accuracy")["best baseline"]
    assert (
        drawn == ladder["sure of itself"].scores["accuracy"].value > truth.scores["accuracy"].value
    )
    assert (
        ladder._lines("log_loss")["best baseline"] == ladder.best_baseline.scores["log_loss"].value
    )


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
        (lambda ladder: Ladder("next_item", ladder.log, ladder.split, k=0), "from 1"),
        (
            lambda ladder: Ladder("next_event", ladder.log, ladder.split, groups="shop"),
            "group to resample",
        ),
        (
            lambda ladder: Ladder("next_event", ladder.log, ladder.split, groups="visit"),
            "no column 'visit_id'",
        ),
        (
            lambda ladder: Ladder("next_item", ladder.log, ladder.split).add_best(None),
            "Nobody knows",
        ),
        (
            lambda ladder: Ladder("next_item", ladder.log, ladder.split).log_loss("majority"),
            "Unknown model",
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
    assert len(ladder.plot().axes[0].get_yticklabels()) == 4
    with pytest.raises(CourseError, match="simulated log"):
        ladder.gap_closed("majority")
