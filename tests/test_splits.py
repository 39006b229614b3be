"""Splits keep their promises on any machine; the audit names each planted leak, and no other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from course_lib.cleaning import clean
from course_lib.datasets import load
from course_lib.errors import CourseError
from course_lib.events import attach_attrs
from course_lib.sessions import assign_sessions, examples, windows
from course_lib.splits import VIOLATIONS, Split, audit_leakage, temporal_split, user_split

TASKS = ("next_event", "purchase_intent", "next_item")


def make_log(clock: str = "time", users: int = 60, days: int = 100) -> pd.DataFrame:
    """Sessions of 8 events, one a user every fifth day, the last event of half a purchase."""
    generator = np.random.default_rng(5)
    visits = [(user, day) for user in range(users) for day in range(user % 5, days, 5)]
    user, day = (np.repeat(values, 8) for values in zip(*visits, strict=True))
    step = np.tile(np.arange(8), len(visits))
    seconds = day * 86_400 + 36_000 + user * 7 + step * 60
    events = np.where(step == 7, np.where(user % 2 == 0, "purchase", "cart"), "view")
    log = pd.DataFrame(
        {
            "user_id": user if clock != "order" else [f"u{name}" for name in user],
            "timestamp": pd.Timestamp("2024-01-01", tz="UTC")
            + pd.to_timedelta(seconds, unit="s").astype("timedelta64[us]"),
            "event": pd.Categorical(events),
            "item_id": pd.Categorical(generator.integers(0, 40, len(user))),
        }
    ).sort_values(["user_id", "timestamp"], kind="stable", ignore_index=True)
    log["timestamp"] = log["timestamp"].astype("datetime64[us, UTC]")
    log = assign_sessions(attach_attrs(log, dataset="made", tasks=TASKS))
    log.attrs["clock"] = clock
    return log if clock != "order" else assign_sessions(log, source="user")


def make_copies(clock: str = "session") -> pd.DataFrame:
    """60 visits of one to four sessions each, all of a user of their own, with the same seconds."""
    random = np.random.default_rng(3)
    copies = [visit for visit in range(60) for _ in range(1 + visit % 4)]
    seconds = [np.cumsum(np.random.default_rng(visit).integers(1, 99, 6)) for visit in copies]
    log = pd.DataFrame(
        {
            "user_id": np.repeat(random.permutation(len(copies)), 6),
            "visit_id": np.repeat(copies, 6),
            "timestamp": pd.to_datetime(np.concatenate(seconds), unit="s", utc=True),
            "event": pd.Categorical(random.choice(["a", "b"], 6 * len(copies))),
            "item_id": pd.Categorical([None] * 6 * len(copies)),
        }
    ).sort_values("user_id", kind="stable", ignore_index=True)
    if clock == "time":  # each copy on a day of its own
        log["timestamp"] += pd.to_timedelta(log["user_id"], unit="D")
    log["timestamp"] = log["timestamp"].astype("datetime64[us, UTC]")
    return assign_sessions(attach_attrs(log, dataset="copies", tasks=TASKS, clock=clock), "1D")


LOG = make_log()
SPLIT = temporal_split(LOG)


def test_time_runs_forward_and_shares_are_kept() -> None:
    table = SPLIT.table(LOG)
    assert table["sessions"].sum() == LOG["session_id"].nunique()
    assert table.loc["train", "last"] < SPLIT.boundaries["validation"]
    assert SPLIT.boundaries["validation"] <= table.loc["validation", "first"]
    assert table.loc["validation", "last"] < SPLIT.boundaries["test"] <= table.loc["test", "first"]
    assert SPLIT.boundaries["test"] == SPLIT.boundaries["test"].normalize()
    share = table["sessions"] / table["sessions"].sum()
    assert share["test"] == pytest.approx(0.15, abs=0.02)
    assert (SPLIT.parts.loc[SPLIT.sessions("test")] == "test").all()
    assert SPLIT.rows(LOG, "test").sum() == table.loc["test", "events"]


def test_a_session_that_crosses_a_boundary_is_used_by_no_part() -> None:
    boundary = SPLIT.boundaries["test"]
    row = int(np.flatnonzero(SPLIT.rows(LOG, "validation"))[0])
    session = LOG["session_id"] == LOG["session_id"][row]
    late = LOG["timestamp"].copy()
    late[session] = boundary + pd.to_timedelta(np.arange(8) - 2, unit="min")
    log = LOG.assign(timestamp=late.astype("datetime64[us, UTC]"))
    split = temporal_split(log)
    assert split.boundaries["test"] == boundary
    assert split.sessions("straddling").tolist() == [LOG["session_id"][row]]
    assert len(split.apply(log, examples(log, "next_event"))) == len(log) - 8


def test_only_days_known_means_whole_days() -> None:
    split = temporal_split(make_log(clock="day", days=20))
    assert all(edge == edge.normalize() for edge in split.boundaries.values())


@pytest.mark.parametrize("clock", ["session", "order"])
def test_a_log_without_dates_is_split_by_hash_and_says_so(clock: str) -> None:
    split = temporal_split(make_log(clock=clock))
    assert split.by == ("hash of users" if clock == "session" else "hash of sessions")
    assert "no dates" in str(split)
    assert not split.boundaries


def test_users_stay_together_and_stay_where_they_are_when_the_log_grows() -> None:
    log = make_log(users=400, days=10)
    split = user_split(log, seed=2)
    part = split.part_of_rows(log)
    assert part.astype(str).groupby(log["user_id"]).nunique().max() == 1
    users = log.drop_duplicates("user_id")
    share = split.part_of_rows(log)[users.index].value_counts(normalize=True)
    assert share["test"] == pytest.approx(0.15, abs=0.06)
    grown = make_log(users=500, days=15)
    again = user_split(grown, seed=2).part_of_rows(grown)
    after = dict(zip(grown["user_id"], again, strict=True))
    assert all(after[user] == name for user, name in zip(log["user_id"], part, strict=True))
    assert user_split(log, seed=3).fingerprint != split.fingerprint


def assert_whole(log: pd.DataFrame, split: Split) -> None:
    """All sessions of a visit are in one part, and the audit has no objection."""
    part = split.part_of_rows(log).astype(str)
    assert part.groupby(log["visit_id"]).nunique().max() == 1
    assert set(part) == {"train", "validation", "test"}
    assert audit_leakage(log, split.apply(log, examples(log, "next_event")), split).empty


@pytest.mark.parametrize("split_by", [temporal_split, user_split])
@pytest.mark.parametrize("ids", ["int64", "str"])
def test_copies_of_one_visit_stay_together(split_by, ids: str) -> None:
    log = make_copies()
    log["visit_id"] = log["visit_id"].astype(ids)
    split = split_by(log, seed=2)
    assert split.by == "hash of visits"
    assert "copies of one visit stay together" in str(split)
    assert_whole(log, split)


def test_a_split_of_copies_by_session_leaks_and_the_audit_says_so() -> None:
    log = make_copies()
    split = temporal_split(log.drop(columns="visit_id"))
    assert split.by == "hash of sessions"
    asked = split.apply(log, examples(log, "next_event"))
    found = audit_leakage(log, asked, split)
    parts = asked.groupby(log["visit_id"].to_numpy()[asked["row"]])["part"].nunique()
    assert found["kind"].tolist() == ["visit in two parts"]
    assert found["count"].tolist() == [(parts > 1).sum()]
    divided = parts.index[parts > 1]
    first = asked["row"][found["first"][0]]
    assert log["visit_id"][first] in divided
    assert audit_leakage(log.drop(columns="visit_id"), asked, split).empty


def test_a_split_by_time_may_divide_a_visit_and_the_audit_says_so() -> None:
    log = make_copies("time")
    split = temporal_split(log)
    assert split.by == "time"
    found = audit_leakage(log, split.apply(log, examples(log, "next_event")), split)
    assert found["kind"].tolist() == ["visit in two parts"]


def test_a_session_in_two_parts_is_not_also_a_visit_in_two_parts() -> None:
    log = make_copies()
    split = temporal_split(log)
    asked = split.apply(log, examples(log, "next_event"))
    session = log["session_id"].to_numpy()[asked["row"]]
    own = asked[session == split.sessions("train")[0]].iloc[[1, 5]]
    torn = own.assign(start=own["row"], part=["train", "test"])
    assert audit_leakage(log, torn, split)["kind"].tolist() == ["session in two parts"]


def test_no_visit_of_dmm_is_in_two_parts(course_data: Path) -> None:
    log = assign_sessions(clean(load("dmm")).log)
    assert_whole(log, temporal_split(log))
    torn = temporal_split(log.drop(columns="visit_id"))
    found = audit_leakage(log, torn.apply(log, examples(log, "purchase_intent")), torn)
    assert found["kind"].tolist() == ["visit in two parts"]
    assert found["count"][0] > 5_000


def test_the_fingerprint_is_the_same_in_every_process() -> None:
    script = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from test_splits import make_log, temporal_split, user_split\n"
        "print(temporal_split(make_log()).fingerprint, user_split(make_log('order')).fingerprint)"
    )
    root = Path(__file__).parents[1]
    fingerprints = [
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for seed in ("1", "2")
    ]
    assert fingerprints == [FROZEN, FROZEN]


FROZEN = ["0bd3bfb0cabc", "4a1ebdc8dbdd"]


def clean_examples(task: str = "next_event") -> pd.DataFrame:
    return SPLIT.apply(LOG, examples(LOG, task))


def whole_session(part: str, place: int = 0, split: Split = SPLIT) -> int:
    """First row of a session of a part (each has 8 rows)."""
    return int(np.flatnonzero(split.rows(LOG, part))[8 * place])


def sees_its_target() -> dict:
    asked = clean_examples()
    position = int(np.flatnonzero(asked["target"] >= 0)[3])
    asked.loc[position, ["row", "stop"]] += 1
    return {"examples": asked}


def sees_its_purchase() -> dict:
    asked = clean_examples("purchase_intent")
    last_undecided = int(np.flatnonzero(asked["decided_at"] == asked["stop"])[0])
    asked.loc[last_undecided, ["row", "stop"]] += 1
    return {"examples": asked}


def two_windows(second_start: int, part: str = "test") -> pd.DataFrame:
    """Two windows of one session, the second one in another part."""
    first = whole_session("train")
    asked = examples(LOG, "next_event").iloc[[first + 2, first + 6]].copy()
    asked["start"] = [first, first + second_start]
    return asked.assign(part=["train", part]).reset_index(drop=True)


def windows_share_events() -> dict:
    return {"examples": two_windows(second_start=2), "split": None}


def session_in_two_parts() -> dict:
    return {"examples": two_windows(second_start=5), "split": None}


def visit_in_two_parts() -> dict:
    log = make_copies()
    split = user_split(log.drop(columns="visit_id"))
    asked = split.apply(log, examples(log, "next_event"))
    return {"log": log, "examples": asked, "split": split}


def user_in_two_parts() -> dict:
    split = user_split(LOG)
    asked = split.apply(LOG, examples(LOG, "next_event"))
    moved = asked["row"].between(*(whole_session("test", split=split) + np.array([0, 7])))
    return {"examples": asked.assign(part=asked["part"].mask(moved, "train")), "split": split}


def trains_after_test() -> dict:
    asked = clean_examples()
    moved = asked["row"].between(*(whole_session("test") + np.array([0, 7])))
    return {"examples": asked.assign(part=asked["part"].mask(moved, "train"))}


def trains_after_test_without_a_split() -> dict:
    return {**trains_after_test(), "split": None}


def scaler_sees_the_test() -> dict:
    return {"examples": clean_examples(), "statistics": {"scaler": np.ones(len(LOG), dtype=bool)}}


PLANTED = {
    sees_its_target: "target in window",
    sees_its_purchase: "decision in prefix",
    windows_share_events: "shared events",
    session_in_two_parts: "session in two parts",
    visit_in_two_parts: "visit in two parts",
    user_in_two_parts: "user in two parts",
    trains_after_test: "training after test",
    trains_after_test_without_a_split: "training after test",
    scaler_sees_the_test: "statistics",
}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_each_planted_leak_is_named_and_no_other(plant) -> None:
    found = audit_leakage(**{"log": LOG, "split": SPLIT, **plant()})
    assert found["kind"].tolist() == [PLANTED[plant]]
    assert found["count"][0] >= 1
    assert str(found["first"][0]) in found["sentence"][0] or plant in (
        session_in_two_parts,
        visit_in_two_parts,
        user_in_two_parts,
    )


def test_every_kind_of_violation_is_planted() -> None:
    assert set(PLANTED.values()) == set(VIOLATIONS)


@pytest.mark.parametrize("task", TASKS)
def test_a_clean_set_has_none(task: str) -> None:
    train = SPLIT.rows(LOG, "train")
    fitted = {"scaler": train, "vocabulary": np.flatnonzero(train)}
    assert audit_leakage(LOG, clean_examples(task), SPLIT, fitted).empty
    assert audit_leakage(LOG, clean_examples(task), statistics=fitted).empty
    split = user_split(LOG)
    assert audit_leakage(LOG, split.apply(LOG, examples(LOG, task)), split).empty


def test_what_a_shopper_did_before_may_be_shown_to_every_part() -> None:
    asked = clean_examples()
    history = LOG.reset_index().groupby("user_id")["index"].transform("min").to_numpy()
    assert audit_leakage(LOG, asked.assign(start=history[asked["row"]]), SPLIT).empty


def test_a_random_split_of_overlapping_windows_breaks_two_rules() -> None:
    cut = windows(LOG, 3)
    part = np.random.default_rng(0).choice(["train", "test"], len(cut))
    found = audit_leakage(LOG, cut.assign(part=part))
    assert found["kind"].tolist() == ["shared events", "training after test"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: temporal_split(LOG, test=1.0), "leave something"),
        (lambda: temporal_split(LOG[:8]), "empty"),
        (lambda: SPLIT.rows(LOG, "tset"), "did you mean 'test'"),
        (lambda: temporal_split(LOG[:800]).rows(LOG, "test"), "does not know session"),
        (lambda: audit_leakage(LOG, examples(LOG, "next_event")), "lack column 'part'"),
        (lambda: audit_leakage(LOG[:80], clean_examples()), "no part of this log"),
        (
            lambda: audit_leakage(LOG, clean_examples(), statistics={"mean": np.array([10**9])}),
            "outside this log",
        ),
    ],
)
def test_bad_input_is_one_sentence(call, message: str) -> None:
    with pytest.raises(CourseError, match=message):
        call()
