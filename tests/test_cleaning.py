"""Cleaning keeps every row, names every fault, and repairs what it can."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib import cleaning
from course_lib.cleaning import RULES, Rows, Rule, clean, score_cleaning, stable_order
from course_lib.errors import CourseError
from course_lib.events import attach_attrs, validate_log

START = pd.Timestamp("2025-03-01 12:00", tz="UTC")


def raw_log(lines: list[tuple], clock: str = "time", **columns: object) -> pd.DataFrame:
    """A raw log from (user, seconds after START, event, item[, price[, title]])."""
    names = ("user_id", "seconds", "event", "item_id", "price", "title")
    frame = pd.DataFrame(lines, columns=names[: len(lines[0])])
    seconds = pd.to_timedelta(frame.pop("seconds"), unit="s")
    frame.insert(1, "timestamp", (START + seconds).astype("datetime64[us, UTC]"))
    for name in ("event", "item_id"):
        frame[name] = frame[name].astype("category")
    if "price" in frame:
        frame["price"] = frame["price"].astype("float32")
    frame = frame.assign(**columns)
    return attach_attrs(frame, dataset="made by hand", tasks=("next_event",), clock=clock)


def rows_of(cleaned: cleaning.Cleaned, rule: str) -> list[int]:
    return np.flatnonzero(cleaned.flags[rule]).tolist()


def test_the_log_is_sorted_and_every_row_has_one_place():
    raw = raw_log(
        [
            ("b", 5, "view", "x"),
            ("a", 9, "cart", "x"),
            (None, 1, "view", "x"),
            ("a", 3, "view", "y"),
        ]
    )
    cleaned = clean(raw)
    validate_log(cleaned.log)
    assert cleaned.log["source_row"].tolist() == [3, 1, 0]
    assert cleaned.quarantine["source_row"].tolist() == [2]
    assert cleaned.quarantine["reason"].tolist() == ["missing user"]
    assert cleaned.read == 4 == len(cleaned.log) + len(cleaned.quarantine)
    assert cleaned.log.attrs["dataset"] == "made by hand"


def test_a_row_carries_the_first_reason_and_all_flags():
    raw = raw_log([(None, 0, "view", "x"), (None, 0, "view", "x")])
    cleaned = clean(raw)
    assert cleaned.quarantine["reason"].tolist() == ["missing user"] * 2
    assert rows_of(cleaned, "exact duplicate") == [1]
    assert cleaned.report.loc["exact duplicate", ["rows", "set_aside"]].tolist() == [1, 0]


def test_duplicates_within_a_second_only_and_only_of_the_same_click():
    raw = raw_log(
        [
            ("a", 0, "view", "x"),
            ("a", 0, "view", "x"),  # exact
            ("a", 1, "view", "x"),  # double fire
            ("a", 2.5, "view", "x"),  # another click
            ("a", 3, "cart", "x"),  # another event
            ("a", 3, "cart", "y"),  # another item
            ("b", 3, "cart", "y"),  # another user
        ]
    )
    cleaned = clean(raw)
    assert rows_of(cleaned, "exact duplicate") == [1]
    assert cleaned.quarantine["source_row"].tolist() == [1, 2]


def test_exact_duplicates_are_those_of_pandas():
    rng = np.random.default_rng(0)
    lines = [
        (f"u{u}", 60 * t, "view", f"i{i}") for u, t, i in rng.integers(0, [3, 9, 4], size=(300, 3))
    ]
    raw = raw_log(lines, received_at=START + pd.to_timedelta(np.arange(300), unit="s"))
    expected = raw.drop(columns="received_at").duplicated()
    assert clean(raw).flags["exact duplicate"].tolist() == expected.tolist()


def test_equal_rows_without_clock_times_stay():
    raw = raw_log([("a", 0, "view", "x")] * 2, clock="session")
    cleaned = clean(raw)
    assert len(cleaned.log) == 2
    assert cleaned.report.loc["exact duplicate", "action"] == "not looked for"


def test_clocks_are_judged_by_the_receipt():
    raw = raw_log(
        [
            ("a", 0, "view", "x"),
            ("a", 7200, "view", "x"),
            ("a", -1e9, "view", "x"),
            ("b", 0, "view", "x"),
        ],
        received_at=START + pd.to_timedelta([1, 2, 3, 4000], unit="s"),
    )
    raw.loc[2, "timestamp"] = pd.Timestamp("1970-01-01 00:03", tz="UTC")
    cleaned = clean(raw)
    assert rows_of(cleaned, "clock ahead") == [1]
    assert rows_of(cleaned, "clock reset") == [2]
    assert rows_of(cleaned, "late") == [3]
    assert 3 in cleaned.log["source_row"].tolist()


def test_without_receipts_the_file_is_the_clock():
    seconds = np.arange(0, 60_000, 20)
    raw = raw_log([(f"u{s % 7}", float(s), "view", f"i{s % 5}") for s in seconds])
    raw.loc[[50, 777], "timestamp"] += pd.Timedelta("6h")
    assert rows_of(clean(raw), "clock ahead") == [50, 777]
    shuffled = raw.sample(frac=1, random_state=0, ignore_index=True)
    assert clean(shuffled).report.loc["clock ahead", "action"] == "not looked for"


def test_prices_are_judged_by_their_own_item_and_forgotten():
    lines = [("a", 60 * k, "view", item, price) for k, (item, price) in enumerate(
        [("pen", 2), ("pen", 2), ("pen", 2.2), ("tv", 900), ("tv", 950), ("tv", 9), ("pen", 200),
         ("tv", 0), ("tv", -900), ("pen", None), ("pen", 1.1)]
    )]  # fmt: skip
    cleaned = clean(raw_log(lines))
    assert rows_of(cleaned, "absurd price") == [5, 6, 7, 8]
    assert rows_of(cleaned, "missing price") == [9]
    assert cleaned.log["price"].isna().tolist() == [False] * 5 + [True] * 5 + [False]
    assert len(cleaned.quarantine) == 0


def test_item_medians_agree_with_pandas():
    rng = np.random.default_rng(1)
    prices = np.where(rng.random(2001) < 0.1, -1, rng.lognormal(3, 1, 2001)).astype("float32")
    items = rng.integers(0, 30, 2001)
    raw = raw_log(
        [("a", k, "view", f"{i}", p) for k, (i, p) in enumerate(zip(items, prices, strict=True))]
    )
    positive = raw["price"].where(raw["price"] > 0)
    expected = positive.astype("float64").groupby(raw["item_id"], observed=True).transform("median")
    np.testing.assert_array_equal(cleaning.item_medians(Rows(raw)), expected)


@pytest.mark.parametrize("as_category", [True, False])
def test_a_cut_title_is_completed_and_what_stood_behind_it(as_category: bool):
    full = [("a", 60 * k, "view", "x", 5, "Blue linen dress") for k in range(3)]
    raw = raw_log(
        [*full, ("a", 600, "view", "x", 5, "Blue lin"), ("a", 700, "view", "y", 5, "Blue")],
        brand=pd.Categorical(["Nordal"] * 3 + [None, None]),
    )
    raw["title"] = raw["title"].astype("category" if as_category else "str")
    cleaned = clean(raw)
    assert rows_of(cleaned, "truncated title") == [3]
    assert cleaned.log["title"].tolist() == ["Blue linen dress"] * 4 + ["Blue"]
    assert cleaned.log["brand"].tolist()[:4] == ["Nordal"] * 4
    assert raw["title"][3] == "Blue lin"


def test_a_regular_browser_is_a_bot_and_a_busy_shopper_is_not():
    rng = np.random.default_rng(2)
    robot = [("robot", 7.0 * k, "view", f"i{k}") for k in range(200)]
    person = [
        ("person", float(s), "cart" if k % 9 == 0 else "view", f"i{k}")
        for k, s in enumerate(np.cumsum(rng.lognormal(3, 1, 200) + 2))
    ]
    cleaned = clean(raw_log(robot + person))
    assert set(cleaned.quarantine["user_id"]) == {"robot"}
    assert set(cleaned.log["user_id"]) == {"person"}
    assert len(cleaned.log) == len(person)


def test_invoices_lose_what_sells_nothing():
    raw = raw_log(
        [
            ("a", 60 * k, "purchase", item, 2)
            for k, item in enumerate([*"12345"] * 20 + ["POST", "1"])
        ],
        invoice=["536365"] * 101 + ["C536366"],
        quantity=[1] * 101 + [-1],
    )
    cleaned = clean(raw)
    assert cleaned.quarantine["reason"].tolist() == ["no product", "cancellation"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", None]),
            st.sampled_from([0.0, 0.5, 1.0, 60.0, -1e9, 1e8, np.nan]),
            st.sampled_from(["view", "cart", None]),
            st.sampled_from(["x", "y", None]),
            st.sampled_from([1.0, -1.0, 0.0, 1e6, None, np.inf]),
            st.sampled_from(["long title", "long", "", None]),
        ),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from(["time", "day", "session", "order"]),
)
def test_no_row_ever_vanishes(lines: list[tuple], clock: str):
    raw = raw_log(lines, clock=clock)
    before = raw.copy()
    cleaned = clean(raw)
    places = np.concatenate([cleaned.log["source_row"], cleaned.quarantine["source_row"]])
    assert sorted(places) == list(range(len(raw)))
    assert cleaned.quarantine["reason"].notna().all()
    assert cleaned.report["set_aside"].sum() == len(cleaned.quarantine)
    validate_log(cleaned.log)
    pd.testing.assert_frame_equal(raw, before)
    assert len(cleaned.findings.columns) == 4


@given(st.lists(st.integers(0, 2**34), max_size=50))
def test_radix_order_is_a_stable_sort(codes: list[int]):
    values = np.array(codes, dtype=np.int64)
    np.testing.assert_array_equal(stable_order(values), np.argsort(values, kind="stable"))


def test_rules_compose_and_a_misspelt_one_is_refused():
    raw = raw_log([("a", 0, "view", "x", 5), ("a", 0, "view", "x", 5), ("b", 9, "view", "x", 5)])
    only_b = Rule("user b", lambda rows: (rows.raw["user_id"] == "b").to_numpy())
    cleaned = clean(raw, rules=["exact duplicate", only_b])
    assert cleaned.quarantine["reason"].tolist() == ["exact duplicate", "user b"]
    assert clean(raw, rules=[]).log["source_row"].tolist() == [0, 1, 2]
    with pytest.raises(CourseError, match="did you mean 'double fire'"):
        clean(raw, rules=["double fires"])
    with pytest.raises(CourseError, match="add rule 'missing user'"):
        clean(raw_log([(None, 0, "view", "x")]), rules=[])
    with pytest.raises(CourseError, match="no column 'event'"):
        clean(raw.drop(columns="event"))


def test_every_rule_explains_itself():
    assert all(len(rule.why) > 20 for rule in RULES)


@pytest.mark.parametrize("seed", [1, 2])
def test_shopworld_is_cleaned_without_its_truth(seed: int):
    from course_lib.datasets.shopworld import simulate

    world = simulate("quick", seed, users=1200, days=60)
    cleaned = clean(world.raw)
    score = score_cleaning(cleaned, world.truth)
    kinds = ["duplicate", "clock", "absurd_price", "truncated", "missing_price"]
    assert (score.loc[kinds, ["precision", "recall"]] >= 0.95).all(axis=None), score
    assert (score.loc["bot", ["precision", "recall"]] >= 0.85).all(), score
    happened = world.truth["log_row"] >= 0
    kept = np.zeros(len(world.raw), dtype=bool)
    kept[cleaned.log["source_row"]] = True
    lost = happened & ~kept & ~world.truth["clock"]
    assert lost.sum() <= 0.001 * happened.sum()
    with pytest.raises(CourseError, match="same simulation"):
        score_cleaning(cleaned, world.truth.iloc[1:])


def test_cleaning_never_looks_at_a_lookalike_of_the_truth():
    """The truth's columns in the raw log change nothing."""
    from course_lib.datasets.shopworld import simulate

    world = simulate("quick", 1, users=300, days=30)
    rng = np.random.default_rng(0)
    noise = {name: rng.random(len(world.raw)) < 0.5 for name in ("duplicate", "bot", "clock")}
    plain, noisy = clean(world.raw), clean(world.raw.assign(**noise))
    flags = [rule.name for rule in RULES if rule.name != "exact duplicate"]
    pd.testing.assert_frame_equal(plain.flags[flags], noisy.flags[flags])


def test_online_retail_to_the_row(course_data):
    cleaned = clean(_load("online_retail"))
    found = cleaned.findings.set_index("what")["count"]
    listed = {
        "exact duplicate": 5268,
        "cancellation": 9288,
        "quantity negative": 10_624,
        "quantity negative, on no cancellation": 1336,
        "price zero": 2515,
        "price negative": 2,
        "no product": 2995,
        "several titles": 650,
        "missing user": 135_080,
    }
    assert found[list(listed)].to_dict() == listed
    assert cleaned.read == 541_909 == len(cleaned.log) + len(cleaned.quarantine)
    assert round(found["missing user"] / cleaned.read, 3) == 0.249


def test_rees46_to_the_row(course_data):
    cleaned = clean(_load("rees46"))
    found = cleaned.findings.set_index("what")["count"]
    listed = {
        "cut-off row": 1,
        "exact duplicate": 5,
        "price zero": 19,
        "session id of several users": 1,
        "purchase without a cart": 135,
        "hour almost without events (gap in the recording?)": 1,
    }
    assert found[list(listed)].to_dict() == listed
    assert found["category_path missing"] / 17_435 == pytest.approx(0.33, abs=0.005)
    assert found["brand missing"] / 17_435 == pytest.approx(0.14, abs=0.005)
    assert 17_434 in cleaned.quarantine["source_row"].tolist()


@pytest.mark.parametrize("name", ["eshop", "dmm", "yoochoose", "beauty", "jd"])
def test_every_published_log_comes_out_valid(course_data, name: str):
    raw = _load(name)
    cleaned = clean(raw)
    validate_log(cleaned.log)
    assert len(cleaned.log) + len(cleaned.quarantine) == len(raw)
    assert len(cleaned.log) > 0.98 * len(raw)


def _load(name: str) -> pd.DataFrame:
    from course_lib import datasets

    return datasets.load(name, profile="full")
