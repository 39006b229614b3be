"""Sessions, labels, prefixes and windows, by hand and against a plain loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from course_lib.cleaning import clean
from course_lib.datasets import load
from course_lib.errors import CourseError
from course_lib.events import attach_attrs, sort_log
from course_lib.sessions import (
    LEAVE,
    assign_sessions,
    examples,
    next_event,
    next_item,
    position_in_session,
    purchase_later,
    session_table,
    windows,
)


def make_log(rows: list[tuple], clock: str = "time", **attrs: object) -> pd.DataFrame:
    """Build a log from (user, minute, event, item[, shop session]) tuples."""
    columns = ["user_id", "minute", "event", "item_id", "session_id"][: len(rows[0])]
    log = pd.DataFrame(rows, columns=columns)
    start = pd.Timestamp("2024-03-01", tz="UTC")
    log["timestamp"] = (start + pd.to_timedelta(log.pop("minute"), unit="min")).astype(
        "datetime64[us, UTC]"
    )
    log["event"] = log["event"].astype("category")
    log["item_id"] = log["item_id"].astype("category")
    tasks = ("next_event", "purchase_intent", "next_item")
    attach_attrs(log, dataset="hand", tasks=tasks, clock=clock)
    log.attrs.update(attrs)
    return log


BY_HAND = [
    (1, 0, "view", "a"),
    (1, 1, "cart", "a"),
    (1, 31, "purchase", "a"),  # 30 minutes of silence: the same session
    (1, 32, "view", "b"),
    (1, 63, "view", "c"),  # 31 minutes: the next one
    (2, 63, "search", None),  # another user
    (2, 64, "view", "c"),
]


def test_labels_by_hand() -> None:
    log = assign_sessions(make_log(BY_HAND))
    assert log["session_id"].tolist() == [0, 0, 0, 0, 1, 2, 2]
    assert position_in_session(log).tolist() == [0, 1, 2, 3, 0, 0, 1]
    assert next_event(log).tolist() == ["cart", "purchase", "view", LEAVE, LEAVE, "view", LEAVE]
    assert list(next_event(log).cat.categories) == [*log["event"].cat.categories, LEAVE]
    assert next_item(log).astype(object).fillna("-").tolist() == ["a", "a", "b", "-", "-", "c", "-"]
    assert purchase_later(log).astype("Int8").fillna(-1).tolist() == [1, 1, -1, -1, 0, 0, 0]
    assert session_table(log)["events"].tolist() == [4, 1, 2]


def test_examples_show_the_prefix_and_never_the_decision() -> None:
    log = assign_sessions(make_log(BY_HAND))
    intent = examples(log, "purchase_intent", prefix=2)
    assert intent["row"].tolist() == [1, 6]  # session 1 has one event only
    assert intent["label"].tolist() == [True, False]
    assert intent["decided_at"].tolist() == [2, -1]
    assert examples(log, "purchase_intent", prefix=3).empty  # the third event is the purchase
    assert examples(log, "next_item")["row"].tolist() == [0, 1, 2, 5]
    for task in ("next_event", "purchase_intent", "next_item"):
        every = examples(log, task)
        assert (every["stop"] == every["row"] + 1).all()
        assert not every["target"].between(every["start"], every["row"]).any()
        assert not every["decided_at"].between(every["start"], every["row"]).any()


def test_decision_events_move_the_cut_before_what_gives_the_answer_away() -> None:
    log = assign_sessions(make_log(BY_HAND, decision_events=["cart", "purchase"]))
    assert purchase_later(log).astype("Int8").fillna(-1).tolist() == [1, -1, -1, -1, 0, 0, 0]
    told = log.assign(session_purchase=[True] * 4 + [False] + [True] * 2)
    assert purchase_later(told).astype("Int8").fillna(-1).tolist() == [1, -1, -1, -1, 0, 1, 1]


def test_windows_overlap_and_stay_in_their_session() -> None:
    log = assign_sessions(make_log(BY_HAND))
    cut = windows(log, 2)
    assert cut[["start", "stop", "target"]].to_numpy().tolist() == [
        [0, 2, 2],
        [1, 3, 3],
        [2, 4, -1],
        [5, 7, -1],
    ]


def test_the_shops_sessions_are_per_user_and_merged_where_they_overlap() -> None:
    rows = [
        (1, 0, "view", "a", "s"),
        (1, 1, "view", "a", "t"),
        (1, 2, "view", "a", "s"),  # s goes on while t is open: one session
        (1, 3, "view", "a", "t"),
        (1, 4, "view", "a", "u"),
        (1, 5, "view", "a", None),  # continues u
        (1, 90, "view", "a", None),  # after a silence: a session of its own
        (2, 91, "view", "a", "u"),  # the same id, another user
        (2, 500, "view", "a", "u"),  # the shop says one session, however long the silence
    ]
    log = assign_sessions(make_log(rows))
    assert log["session_id"].tolist() == [0, 0, 0, 0, 1, 1, 2, 3, 3]
    assert assign_sessions(log)["session_id"].equals(log["session_id"])
    assert assign_sessions(log, source="inactivity")["session_id"].max() == 3
    assert assign_sessions(log, source="user")["session_id"].max() == 1


@pytest.mark.parametrize("ids", ["number", "text"])
@pytest.mark.parametrize("source", ["inactivity", "shop"])
def test_equal_to_a_plain_loop(ids: str, source: str) -> None:
    generator = np.random.default_rng(3)
    count = 3000
    users = generator.integers(0, 60, count)
    frame = pd.DataFrame(
        {
            "user_id": users if ids == "number" else [f"u{user}" for user in users],
            "session_id": generator.integers(0, 5, count),
            "timestamp": pd.to_datetime(generator.integers(0, 10**5, count), unit="s", utc=True),
            "event": pd.Categorical(generator.choice(["view", "purchase"], count, p=[0.9, 0.1])),
            "item_id": pd.Categorical(generator.integers(0, 50, count)),
        }
    ).astype({"timestamp": "datetime64[us, UTC]"})
    log = sort_log(frame)
    if source == "shop":  # consecutive runs of one id, none of which comes back
        log["session_id"] = log.groupby("user_id").cumcount() // 7
    made = assign_sessions(log, source=source)

    expected, labels = [], []
    for row in range(count):
        new = row == 0 or log["user_id"][row] != log["user_id"][row - 1]
        if source == "inactivity" and not new:
            new = log["timestamp"][row] - log["timestamp"][row - 1] > pd.Timedelta("30min")
        elif not new:
            new = log["session_id"][row] != log["session_id"][row - 1]
        expected.append((expected[-1] if expected else -1) + new)
    assert made["session_id"].tolist() == expected
    for rows in made.groupby("session_id").indices.values():
        bought = [made["event"][row] == "purchase" for row in rows]
        for place in range(len(rows)):
            labels.append(pd.NA if any(bought[: place + 1]) else any(bought[place + 1 :]))
    assert purchase_later(made).tolist() == labels
    following = next_event(made)
    ends = made["session_id"] != made["session_id"].shift(-1)
    assert (following == LEAVE).equals(ends)
    assert following[~ends].tolist() == made["event"].shift(-1)[~ends].tolist()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda log: assign_sessions(log, source="inactivty"), "did you mean 'inactivity'"),
        (lambda log: assign_sessions(log, source="shop"), "no session ids of the shop's"),
        (lambda log: assign_sessions(log, gap="half an hour"), "is no duration"),
        (lambda log: assign_sessions(log, gap="-5min"), "not positive"),
        (lambda log: next_event(log), "call assign_sessions"),
        (lambda log: examples(assign_sessions(log), "next_evnt"), "did you mean 'next_event'"),
        (lambda log: examples(assign_sessions(log), "next_event", prefix=0), "at least 1 event"),
        (lambda log: windows(assign_sessions(log), 0), "at least 1 event"),
        (lambda log: next_event(assign_sessions(log)[::-1]), "not in row order"),
    ],
)
def test_bad_input_is_one_sentence(call, message: str) -> None:
    with pytest.raises(CourseError, match=message) as error:
        call(make_log(BY_HAND))
    assert "\n" not in str(error.value)


def test_logs_without_clock_times() -> None:
    by_order = make_log(BY_HAND, clock="order")
    assert assign_sessions(by_order)["session_id"].max() == 1  # one session a user
    with pytest.raises(CourseError, match="needs gaps"):
        assign_sessions(by_order, source="inactivity")


def test_a_real_shops_sessions_are_kept_per_user(course_data: Path) -> None:
    raw = clean(load("rees46")).log
    log = assign_sessions(raw)
    pairs = pd.DataFrame(
        {"user": raw["user_id"], "shop": raw["session_id"], "ours": log["session_id"]}
    ).drop_duplicates()
    assert raw.groupby("session_id")["user_id"].nunique().gt(1).sum() == 1  # a shared id
    assert not pairs.duplicated(["user", "shop"]).any()  # no session of the shop's is torn
    assert pairs.groupby("ours")["user"].nunique().max() == 1
    assert 0 < len(pairs) - log["session_id"].nunique() < 10  # few overlap and are one


def test_page_type_6_is_cut_away_where_it_gives_the_purchase_away(course_data: Path) -> None:
    log = assign_sessions(clean(load("dmm")).log)
    leak = (log["event"] == "page_6").groupby(log["session_id"]).transform("any")
    first = position_in_session(log) == 0
    assert log["session_purchase"][first & leak].mean() == pytest.approx(0.61, abs=0.01)
    asked = examples(log, "purchase_intent")
    shown = asked["stop"] - 1
    assert not (log["event"].array[shown] == "page_6").any()
    assert not (asked["decided_at"].between(asked["start"], shown)).any()
