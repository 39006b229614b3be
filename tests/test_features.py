"""Features: by hand, against a plain loop, blind to the future, and fitted where they say."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler

from course_lib import features
from course_lib.cleaning import clean
from course_lib.datasets import available, load, shopworld
from course_lib.errors import CourseError
from course_lib.events import attach_attrs
from course_lib.features import (
    FAMILIES,
    NOTHING,
    ItemVectors,
    PriceWithinCategory,
    feature_pipeline,
    fitted_rows,
    path_levels,
    session_features,
    session_words,
)
from course_lib.features import past as past_module
from course_lib.sessions import assign_sessions, examples, purchase_later, session_bounds
from course_lib.splits import audit_leakage, temporal_split

REAL = ("online_retail", "rees46", "jd", "eshop", "dmm", "yoochoose", "beauty")
COLUMNS = ("user_id", "second", "event", "item_id", "category_id", "price")
KINDS = ["view", "search", "cart", "remove", "purchase"]
NAMES = {
    "event": KINDS,
    "item_id": ["a", "b", "c"],
    "category_id": ["home.pans", "home.pots", "toys"],
}
BY_HAND = [
    (1, 0, "view", "a", "home.pans", 9.0),
    (1, 60, "cart", "a", "home.pans", 9.0),
    (1, 61, "search", None, None, None),
    (1, 90, "view", "b", "toys", 3.0),
    (1, 100, "purchase", "a", "home.pans", 9.0),
    (1, 200_000, "view", "b", "toys", None),
    (2, 0, "remove", "b", "toys", 3.0),
    (2, 10, "cart", "b", "toys", 3.0),
]


def make_log(rows: list[tuple], clock: str = "time") -> pd.DataFrame:
    """Build a log with sessions from (user, second, event, item, category, price) tuples."""
    log = pd.DataFrame(rows, columns=list(COLUMNS))
    start = pd.Timestamp("2024-03-02 18:00", tz="UTC")  # a Saturday
    log["timestamp"] = (start + pd.to_timedelta(log.pop("second"), unit="s")).astype(
        "datetime64[us, UTC]"
    )
    for column, names in NAMES.items():
        log[column] = pd.Categorical(log[column], categories=names)
    log["price"] = log["price"].astype("float32")
    tasks = ("next_event", "purchase_intent", "next_item")
    return assign_sessions(attach_attrs(log, dataset="hand", tasks=tasks, clock=clock))


@cache
def shop() -> pd.DataFrame:
    """A small ShopWorld, clean, with sessions."""
    return assign_sessions(clean(shopworld.simulate(users=150, days=60, seed=3).raw).log)


@cache
def real_log(name: str) -> pd.DataFrame:
    log = assign_sessions(clean(load(name)).log)
    few = log[log["session_id"] < 1500].copy()
    few.attrs = log.attrs
    return few


def test_by_hand():
    table = session_features(make_log(BY_HAND), since=pd.Timestamp("2024-03-01", tz="UTC"))
    log1p = np.log1p

    def column(name: str) -> list[float]:
        return table[name].astype(float).round(5).tolist()

    def expected(*values: float) -> list[float]:
        return np.round(np.float32(values).astype(float), 5).tolist()

    hour = 2 * np.pi * 18 / 24
    assert column("time_hour_sin")[0] == pytest.approx(np.sin(hour), abs=1e-5)
    assert column("time_weekday_cos")[0] == pytest.approx(np.cos(2 * np.pi * 5 / 7), abs=1e-5)
    assert column("time_days")[0] == pytest.approx(1.75)
    assert column("history_first") == [1, 1, 1, 1, 1, 0, 1, 1]
    assert column("history_purchases") == expected(0, 0, 0, 0, 0, log1p(1), 0, 0)
    assert column("history_days")[5] == pytest.approx(log1p((200_000 - 100) / 86_400), abs=1e-5)
    ten, four = log1p(9.0), log1p(3.0)
    assert column("price_log") == expected(ten, ten, ten, four, ten, 0, four, four)
    assert column("price_none") == [0, 0, 0, 0, 0, 1, 0, 0]
    assert column("price_mean")[3] == pytest.approx((2 * ten + four) / 3, abs=1e-5)
    assert table["price_category"].tolist()[2:6] == ["home.pans", "toys", "home.pans", NOTHING]
    assert column("counts_view") == expected(*log1p([1, 1, 1, 2, 2, 1, 0, 0]))
    assert column("counts_distinct_items") == expected(*log1p([1, 1, 1, 2, 2, 1, 1, 1]))
    assert column("counts_same_item") == expected(*log1p([0, 1, 0, 0, 2, 0, 0, 1]))
    assert column("counts_in_cart") == expected(*log1p([0, 1, 1, 1, 0, 0, 0, 1]))
    assert column("recency_events_cart") == expected(*log1p([0, 0, 1, 2, 3, 0, 0, 0]))
    assert column("recency_seconds_cart") == expected(*log1p([0, 0, 1, 30, 40, 0, 0, 0]))
    assert column("recency_never_cart") == [1, 0, 0, 0, 0, 1, 1, 0]
    assert column("dwell_last") == expected(*log1p([0, 60, 1, 29, 10, 0, 0, 10]))
    assert column("dwell_mean")[3] == pytest.approx(log1p(30), abs=1e-5)
    assert table["crosses_pair"].tolist()[:3] == ["start, view", "view, cart", "cart, search"]
    assert table["crosses_cart"].tolist()[3:5] == ["view, cart one", "purchase, cart empty"]
    assert table["crosses_hour"].tolist()[0] == "evening, view"
    assert table["paths_level_1"].tolist()[2:5] == ["home", "toys", "home"]
    assert table["paths_level_2"].tolist()[2:5] == ["home.pans", "toys", "home.pans"]
    assert column("paths_changes_1") == expected(*log1p([0, 0, 0, 1, 2, 0, 0, 0]))
    assert table.attrs["left_out"] == {}


def plain_loop(log: pd.DataFrame) -> pd.DataFrame:
    """The same counts and recencies, session by session and event by event."""
    rows = []
    for _, session in log.groupby("session_id", sort=False):
        seen, items, carts, last = {}, [], 0, {}
        for place, event in enumerate(session.itertuples()):
            seen[event.event] = seen.get(event.event, 0) + 1
            last[event.event] = place
            step = {"cart": 1, "remove": -1}.get(event.event, 0)
            carts = 0 if event.event == "purchase" else max(carts + step, 0)
            item = event.item_id
            same = items.count(item) if isinstance(item, str) else 0
            items += [item] if isinstance(item, str) else []
            rows.append(
                {f"counts_{kind}": seen.get(kind, 0) for kind in log["event"].cat.categories}
                | {"counts_same_item": same, "counts_distinct_items": len(set(items))}
                | {"counts_in_cart": carts}
                | {
                    f"recency_events_{kind}": place - last.get(kind, place)
                    for kind in log["event"].cat.categories
                }
            )
    return np.log1p(pd.DataFrame(rows, index=log.index)).astype("float32")


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, 9000),
        st.sampled_from(KINDS),
        st.sampled_from([*NAMES["item_id"], None]),
        st.sampled_from([*NAMES["category_id"], None]),
        st.sampled_from([1.0, 20.0, None]),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(EVENTS)
def test_as_a_plain_loop_has_it(rows: list[tuple]):
    log = make_log(sorted(rows, key=lambda row: row[:2]))
    expected = plain_loop(log)
    pd.testing.assert_frame_equal(session_features(log)[list(expected)], expected, atol=1e-6)


def changed_after(log: pd.DataFrame, row: int, rng: np.random.Generator) -> pd.DataFrame:
    """Shuffle the values of everything that comes after `row`; the times stay in order."""
    later = np.arange(row + 1, len(log))
    drawn = rng.permutation(later)
    changed = log.copy()
    for column in log.columns.difference(["user_id", "session_id", "timestamp"]):
        changed[column] = log[column].array[np.concatenate([np.arange(row + 1), drawn])]
    changed.attrs = log.attrs
    return changed


def assert_blind_to_the_future(log: pd.DataFrame, make: Callable, rows: np.ndarray) -> None:
    """Changing or dropping the rows after a row must leave its features as they are."""
    rng = np.random.default_rng(0)
    whole = make(log)
    for row in rows:
        known = log.iloc[: row + 1]
        known.attrs = log.attrs
        here = whole.iloc[: row + 1].reset_index(drop=True)
        for other in (make(changed_after(log, row, rng)), make(known)):
            pd.testing.assert_frame_equal(other.iloc[: row + 1].reset_index(drop=True), here)


def stopped(log: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Stop every user at a row drawn by lot: nothing of theirs that comes later is left."""
    user = log.groupby("user_id")["event"]
    luck = rng.random(user.ngroups)[user.ngroup()]
    return log[user.cumcount() <= user.transform("size") * luck]


def assert_blind_to_what_comes_later(log: pd.DataFrame, make: Callable, draws: int = 1) -> None:
    """Stopping all users, or the whole shop, must leave the features of the rows before."""
    rng = np.random.default_rng(0)
    whole = make(log)
    moments = log["timestamp"].quantile([0.3, 0.7])
    earlier = [log[log["timestamp"] <= moment] for moment in moments]
    for known in (*earlier, *(stopped(log, rng) for _ in range(draws))):
        pd.testing.assert_frame_equal(make(known), whole.loc[known.index], atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(EVENTS, st.data())
def test_no_row_sees_the_future(rows: list[tuple], data: st.DataObject):
    log = make_log(sorted(rows, key=lambda row: row[:2]))
    row = data.draw(st.integers(0, len(log) - 1))
    assert_blind_to_the_future(log, session_features, np.array([row]))
    assert_blind_to_what_comes_later(log, session_features)


def test_no_row_sees_the_future_on_shopworld():
    rows = np.random.default_rng(1).choice(len(shop()), 4)
    assert_blind_to_the_future(shop(), session_features, rows)
    assert_blind_to_what_comes_later(shop(), session_features, draws=3)
    assert_blind_to_the_future(shop().iloc[:3000], lambda log: session_words(log).to_frame(), [900])


@pytest.mark.parametrize("name", REAL)
def test_real_logs(name: str, course_data):
    if not available(name):
        pytest.skip(f"{name} is not on this machine")
    log = real_log(name)
    table = session_features(log)
    assert table.index.equals(log.index)
    assert not table.isna().any().any()
    told = set(table.attrs["families"]) | {what.split(":")[0] for what in table.attrs["left_out"]}
    assert told == set(FAMILIES)
    assert_blind_to_the_future(log, session_features, np.random.default_rng(2).choice(len(log), 2))
    assert_blind_to_what_comes_later(log, session_features)


@pytest.mark.parametrize("family", ["counts", "recency", "price"])
def test_a_feature_that_peeks_is_caught(family: str, monkeypatch: pytest.MonkeyPatch):
    def totals(past, values: np.ndarray) -> np.ndarray:
        """The classic: a sum over the whole session, later events included."""
        return past.of_session(np.add.reduceat(values.astype(float), past.starts))

    honest = past_module._Past.last

    def one_ahead(past, flags: np.ndarray) -> np.ndarray:
        return honest(past, flags | np.append(flags[1:], False))

    leak = ("last", one_ahead) if family == "recency" else ("so_far", totals)
    monkeypatch.setattr(past_module._Past, *leak)
    with pytest.raises(AssertionError):
        rows = np.random.default_rng(1).choice(len(shop()), 6)
        assert_blind_to_the_future(shop(), lambda log: session_features(log, [family]), rows)


def _of(log: pd.DataFrame, key: str, values: pd.Series, what: str) -> pd.Series:
    return values.groupby(log[key]).transform(what)


PEEKING: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "length of the session": lambda log: _of(log, "session_id", log["event"], "size"),
    "time left": lambda log: (
        _of(log, "session_id", log["timestamp"], "max") - log["timestamp"]
    ).dt.total_seconds(),
    "seconds to the next event": lambda log: (
        log.groupby("session_id")["timestamp"].diff(-1).dt.total_seconds().fillna(0.0)
    ),
    "buys in this session": lambda log: purchase_later(log).fillna(False).astype(int),
    "purchases of the user": lambda log: _of(log, "user_id", log["event"] == "purchase", "sum"),
    "carts of the session": lambda log: _of(log, "session_id", log["event"] == "cart", "sum"),
    "items of the session": lambda log: _of(log, "session_id", log["item_id"], "nunique"),
    "the next event": lambda log: log.groupby("session_id")["event"].shift(-1).cat.codes,
    "sessions of the user": lambda log: _of(log, "user_id", log["session_id"], "nunique"),
    "less the mean of the log": lambda log: log["price"].fillna(0) - log["price"].mean(),
    "place from the end": lambda log: log.groupby("session_id").cumcount(ascending=False),
}
"""Features that know what is still to come, as they are commonly written."""


@pytest.mark.parametrize("name", PEEKING)
def test_a_peeking_column_among_honest_ones_is_caught(name: str):
    def make(log: pd.DataFrame) -> pd.DataFrame:
        return session_features(log, ["counts"]).assign(peeks=PEEKING[name](log))

    with pytest.raises(AssertionError):
        assert_blind_to_what_comes_later(shop(), make)


@pytest.mark.parametrize("family", ["time", "history", "dwell"])
def test_a_family_that_peeks_at_times_is_caught(family: str, monkeypatch: pytest.MonkeyPatch):
    honest = past_module._MAKERS[family]

    def peeks(past) -> dict:
        last = past.times[past.starts + past.lengths - 1]
        return honest(past) | {"left": past.of_session(last) - past.times}

    monkeypatch.setitem(past_module._MAKERS, family, peeks)
    with pytest.raises(AssertionError):
        assert_blind_to_what_comes_later(shop(), lambda log: session_features(log, [family]))


def test_what_a_log_cannot_tell_is_left_out_and_said():
    log = make_log(BY_HAND, clock="order").drop(columns=["price", "category_id"])
    table = session_features(log)
    assert set(table.attrs["families"]) == {"counts", "recency", "crosses"}
    assert "records no prices" in table.attrs["left_out"]["price"]
    assert "only the order of events" in table.attrs["left_out"]["dwell"]
    assert not [column for column in table if "seconds" in column or "hour" in column]
    assert list(session_features(log, ["price"])) == []
    with pytest.raises(CourseError, match="'counts'"):
        session_features(log, ["count"])
    with pytest.raises(CourseError, match="assign_sessions"):
        session_features(log.drop(columns="session_id"))


def test_one_family_alone_is_the_same_and_an_empty_log_has_no_rows():
    whole = session_features(shop())
    for family, columns in whole.attrs["families"].items():
        alone = session_features(shop(), [family])
        assert list(alone) == columns
        pd.testing.assert_frame_equal(alone, whole[columns])
    assert len(session_features(shop().iloc[:0])) == 0


def test_a_log_worked_on_in_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch):
    whole = session_features(shop())
    monkeypatch.setattr(past_module, "BLOCK", 500)
    in_blocks = session_features(shop())
    assert len(past_module._blocks(shop())) > 5
    pd.testing.assert_frame_equal(in_blocks, whole)
    assert in_blocks.attrs == whole.attrs


def test_path_levels():
    levels = path_levels(pd.Index(["a.b.c", "a.d", "flat"]))
    assert levels.to_numpy().tolist() == [
        ["a", "a.b", "a.b.c"],
        ["a", "a.d", "a.d"],
        ["flat", "flat", "flat"],
    ]


def test_words_by_hand_and_beside_a_plain_loop():
    log = make_log(BY_HAND).assign(title=["Red pan 12", "Red pan 12", None, "Ball"] + [None] * 4)
    words = session_words(log)
    assert words[0] == "red pan home home.pans"
    assert words[3] == "red pan home home.pans red pan home home.pans ball toys"
    assert words[5] == "toys"
    assert session_words(log, np.array([3]), last=2).tolist() == ["ball toys"]
    assert session_words(log, np.array([2]), last=1).tolist() == [""]
    assert session_words(log, columns=["title"])[1] == "red pan red pan"

    both = log.assign(category_path=log["category_id"], category_id="2053013565069067197")
    assert session_words(both, columns=None)[5] == "toys"

    part = shop().iloc[:2000]
    said = session_words(part, np.arange(0, 2000, 7), columns=["category_id"])
    first = session_bounds(part)[0]
    for row in range(0, 2000, 7):
        names = part["category_id"].iloc[first[row] : row + 1].dropna()
        levels = [".".join(n.split(".")[: k + 1]) for n in names for k in range(n.count(".") + 1)]
        assert said[row].split() == levels
    with pytest.raises(CourseError, match="has no column 'name'"):
        session_words(log, columns=["name"])
    with pytest.raises(CourseError, match="at least the last 1"):
        session_words(log, last=0)


def test_price_within_category_by_hand():
    table = pd.DataFrame(
        {"price_log": [1.0, 3.0, 5.0, 0.0], "price_category": ["a", "a", "b", "b"]}
    )
    fitted = PriceWithinCategory(prior=1.0).fit(table)
    assert fitted.means_.to_dict() == {"a": (4 + 3) / 3, "b": (5 + 3) / 2}
    asked = pd.DataFrame({"price_log": [1.0, 2.0, 0.0], "price_category": ["a", "new", "a"]})
    assert fitted.transform(asked)[:, 0].tolist() == pytest.approx([1 - 7 / 3, 2 - 3, 0])
    with pytest.raises(CourseError, match="two columns"):
        PriceWithinCategory().fit(table[["price_log"]])


def questions() -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray, np.ndarray]:
    """The log, its table, labels and the training rows of purchase intent."""
    log = shop()
    labels = purchase_later(log)
    train = temporal_split(log).rows(log, "train") & labels.notna().to_numpy()
    table = session_features(log).assign(words=session_words(log, last=5))
    return log, table, labels.fillna(False).to_numpy(bool), train


def test_the_audit_covers_everything_that_was_fitted():
    log, table, _, train = questions()
    split = temporal_split(log)
    asked = split.apply(log, examples(log, "purchase_intent"))
    vectors = ItemVectors(8, epochs=1).fit(log, rows=train)
    honest = fitted_rows(feature_pipeline().fit(table[train])) | fitted_rows(vectors, "vectors")
    assert list(honest) == ["Pipeline: rows", "Pipeline: columns: within: within", "vectors"]
    assert audit_leakage(log, asked, split, honest).empty
    leaky = fitted_rows(feature_pipeline().fit(table), "pipeline")
    leaky |= fitted_rows(ItemVectors(8, epochs=1).fit(log), "vectors")
    found = audit_leakage(log, asked, split, leaky)
    assert found["kind"].tolist() == ["statistics"] * 3
    assert "'pipeline: rows' was fitted on" in found["sentence"][0]
    with pytest.raises(CourseError, match="RememberRows"):
        fitted_rows(StandardScaler())
    with pytest.raises(CourseError, match="index"):
        feature_pipeline().fit(table[train].set_axis(np.arange(train.sum()) / 2))


def test_what_is_fitted_knows_nothing_of_other_parts():
    log, table, labels, train = questions()
    other = table.copy()
    later = np.flatnonzero(~train)
    shuffled = np.random.default_rng(1).permutation(later)
    other.iloc[later] = table.iloc[shuffled]
    for encoding in ("linear", "trees"):
        first = feature_pipeline(encoding=encoding).fit(table[train], labels[train])
        again = feature_pipeline(encoding=encoding).fit(other[train], labels[train])
        one, two = first.transform(table[train]), again.transform(table[train])
        assert np.allclose(_dense(one), _dense(two))
        assert one.shape[1] == len(first[-1].get_feature_names_out())
        assert first.transform(table).shape[0] == len(log)


def _dense(matrix: object) -> np.ndarray:
    return matrix.toarray() if hasattr(matrix, "toarray") else np.asarray(matrix)


def test_a_pipeline_can_be_cloned_and_pickled():
    _, table, labels, train = questions()
    again = pickle.loads(pickle.dumps(clone(feature_pipeline()).fit(table[train], labels[train])))
    here = feature_pipeline().fit(table[train], labels[train])
    assert np.allclose(_dense(again.transform(table)), _dense(here.transform(table)))


def test_a_pipeline_takes_the_families_asked():
    _, table, _, train = questions()
    fitted = feature_pipeline(("price", "dwell")).fit(table[train])
    names = list(fitted[-1].get_feature_names_out())
    assert "price_within_category" in names
    assert {name.split("_")[0] for name in names} == {"price", "dwell"}
    with pytest.raises(CourseError, match="'trees'"):
        feature_pipeline(encoding="tree")


def test_item_vectors_are_the_mean_of_what_was_seen():
    log = shop()
    train = temporal_split(log).rows(log, "train")
    fitted = ItemVectors(8, epochs=2, seed=4).fit(log, rows=train)
    place = {item: at for at, item in enumerate(fitted.items_)}
    first = session_bounds(log)[0]
    rows = np.random.default_rng(3).choice(len(log), 40, replace=False)
    got = fitted.transform(log, rows)
    assert got.index.tolist() == log.index[rows].tolist()
    for row, vector in zip(rows, got.to_numpy(), strict=True):
        seen = [place[i] for i in log["item_id"].iloc[first[row] : row + 1] if i in place]
        expected = fitted.vectors_[seen].mean(axis=0) if seen else np.zeros(8)
        assert vector == pytest.approx(expected, abs=1e-4)
    counts = log[train]["item_id"].value_counts()
    assert set(fitted.items_) == set(counts.index[counts >= 5].astype(str))
    near = fitted.nearest(3)
    unit = fitted.vectors_ / np.linalg.norm(fitted.vectors_, axis=1, keepdims=True)
    similar = unit @ unit.T
    np.fill_diagonal(similar, -np.inf)
    assert np.array_equal(near, np.argsort(-similar, axis=1)[:, :3])
    with pytest.raises(CourseError, match="lower `least`"):
        ItemVectors(least=10**6).fit(log)


def test_item_vectors_are_the_same_in_every_process():
    script = (
        "import zlib; import pandas as pd; from course_lib.features import ItemVectors; "
        "items = pd.Series([f'item {n * n % 37}' for n in range(900)], dtype='category'); "
        "log = pd.DataFrame({'session_id': [n // 9 for n in range(900)], 'item_id': items}); "
        "print(zlib.crc32(ItemVectors(8, epochs=1).fit(log).vectors_.tobytes()))"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": salt},
            stdout=subprocess.PIPE,
            text=True,
        )
        for salt in ("1", "2")
    ]
    said = {run.communicate()[0].strip() for run in runs}
    assert len(said) == 1 and said.pop().isdigit()


def test_hand_made_features_load_neither_scikit_learn_nor_gensim_nor_tensorflow():
    script = (
        "import sys; from course_lib.features import session_features; "
        "print([m for m in ('sklearn', 'gensim', 'tensorflow', 'scipy') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert said.stdout.strip() == "[]", said.stderr
    with pytest.raises(AttributeError, match="nonsense"):
        features.nonsense  # noqa: B018
