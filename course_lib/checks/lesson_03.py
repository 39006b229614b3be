"""Checks of lesson 03's exercises: cycles, prices, counts, a target encoding, a selection."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

from course_lib.checks.core import Answer, Cases, exercise
from course_lib.errors import CourseError
from course_lib.events import COLUMNS
from course_lib.sessions import position_in_session, purchase_later
from course_lib.splits import temporal_split

MOMENTS = (2, 4, 8, 16)
"""The open task asks a session that is undecided when it has shown so many events."""
_SHARE_OF_GAIN = 1.2
_KEEPS_UP = 1.02
_MOST_COLUMNS = 300
_USERS_REPLAYED = 400


def _numbers(value: object) -> np.ndarray:
    """The answer as float64, shape kept; what is no number becomes missing."""
    table = pd.DataFrame(np.asarray(value)).apply(pd.to_numeric, errors="coerce")
    return table.to_numpy(dtype=float, na_value=np.nan).reshape(np.shape(value))


def _same(got: np.ndarray, wanted: np.ndarray, tolerance: float = 1e-6) -> bool:
    return np.shape(got) == np.shape(wanted) and bool(
        np.allclose(got, wanted, rtol=0, atol=tolerance, equal_nan=True)
    )


# ------------------------------------------------------------------------------- 03.1


def _around(times: pd.Series, hours: float) -> np.ndarray:
    day = times.dt.hour + times.dt.minute / 60 + times.dt.second / 3600
    angle = 2 * np.pi * (24 * times.dt.day_of_week + day) / hours
    return np.column_stack([np.sin(angle), np.cos(angle)])


@exercise(
    "03.1",
    title="Around the clock, around the week",
    objects=("around",),
    hints=(
        "First a single number: how many hours have gone by since Monday, 0:00?",
        "One turn of the circle is 2 pi, and `hours` hours make a turn. Which angle belongs to "
        "the number?",
        "A whole turn more changes neither sine nor cosine, so the hours since Monday serve the "
        "day as well as the week.",
        'Lesson 03, section "2. Time comes round again" does it for the hour of the day.',
    ),
)
def around_the_clock(answer: Answer, cases: Cases) -> None:
    """A week by hand, whose corners are known; then the lesson's log."""
    around = answer.function("around", returns=(np.ndarray, pd.DataFrame))
    monday = pd.Timestamp("2025-03-03", tz="UTC")
    hours = [0, 6, 9.5, 12, 23, 36, 167.5, 168]
    times = pd.Series(monday + pd.to_timedelta(hours, unit="h"))
    day, week = around(times, 24), around(times, 168)
    cases.mistake(
        np.shape(day) == (8,),
        "A single column comes back. The sine alone takes 4:00 and 8:00 for the same time, for "
        "each height is passed twice a turn; the cosine tells which.",
    )
    if not all(
        cases.equal(f"two columns, sine and cosine, for each time ({name})", np.shape(got), (8, 2))
        for name, got in (("a turn a day", day), ("a turn a week", week))
    ):
        return
    day, week = _numbers(day), _numbers(week)
    true_day, true_week = _around(times, 24), _around(times, 168)
    cases.mistake(
        _same(day[:, ::-1], true_day), "The cosine stands first: the sine is column 0, by the task."
    )
    cases.mistake(
        np.abs(true_day[4] - day[0]).max() > 0.01 and _same(day[4], day[0]),
        "23:00 and 0:00 are one and the same point: the day was divided by 23, the last hour's "
        "number. A day has 24 hours, 23:00 is one hour *before* 0:00.",
    )
    cases.mistake(
        _same(day[:4], np.column_stack([f(np.array(hours[:4]) / 24) for f in (np.sin, np.cos)])),
        "2 pi is missing: sine and cosine want an angle, and a whole day makes a turn of one "
        "radian only. Midnight stays far from 23:00.",
    )
    cases.mistake(
        _same(day[2], _around(times.dt.floor("h"), 24)[2]),
        "9:30 lies where 9:00 lies: the minutes are lost, so all of an hour is one point.",
    )
    cases.mistake(
        _same(day, true_day) and _same(week[3], week[5]),
        "Around the week, Monday noon and Tuesday noon are the same point: the hour of the day "
        "was used, and the weekday was not.",
    )
    cases.mistake(
        _same(day, true_day) and _same(week[0], week[3]) and not _same(week[0], week[5]),
        "Around the week, all of Monday is one point: the weekday was used, and the hour was not.",
    )
    cases.mistake(
        _same(day, true_day) and _same(week, _around(times + pd.Timedelta("1D"), 168)),
        "The circle of the week begins on Sunday: pandas calls Monday 0, so Monday at 0:00 has "
        "the angle 0.",
    )
    cases(
        "every point lies on the circle of radius 1",
        _same((day**2).sum(axis=1), np.ones(8)) and _same((week**2).sum(axis=1), np.ones(8)),
        "the squares of sine and cosine add up to 1, and yours do not.",
    )
    gap = float(np.linalg.norm(week[6] - week[7]))
    cases(
        "Sunday 23:30 is a neighbour of Monday 0:00",
        gap < 0.05,
        f"they are {gap:.2f} apart, and the circle is 2 wide.",
    )
    cases.equal("a turn a day", day, true_day, tolerance=1e-6)
    cases.equal("a turn a week", week, true_week, tolerance=1e-6)
    sample = answer.given("log")["timestamp"].head(20_000).dt.floor("s").reset_index(drop=True)
    got = around(sample, 24)
    if cases.equal("two numbers for each row of the lesson's log", np.shape(got), (len(sample), 2)):
        expected = _around(sample, 24)
        cases.equal("the same on the lesson's log", _numbers(got), expected, tolerance=1e-6)


# ------------------------------------------------------------------------------- 03.2


def _within(log: pd.DataFrame, train: np.ndarray) -> np.ndarray:
    price = np.log(log["price"].astype(float))
    known = price[train].groupby(log["category_id"][train]).mean()
    usual = log["category_id"].map(known).fillna(price[train].mean())
    return (price - usual).to_numpy()


@exercise(
    "03.2",
    title="Debug: the price within its category",
    objects=("price_within_category",),
    hints=(
        "Make the price of one test row a hundred times as high. Which training rows move?",
        "Two steps instead of one: the training rows' mean of each category, then "
        "`log['category_id'].map(...)` gives it to all rows.",
        "A category that training never saw has no mean. What would you guess for it?",
        'Lesson 03, section "3. Prices: a log, and within their category" fits it in training.',
    ),
)
def price_in_its_category(answer: Answer, cases: Cases) -> None:
    """A shelf by hand, with a new category and a missing price; then the lesson's log."""
    within = answer.function("price_within_category", returns=(pd.Series, np.ndarray))
    shelf = pd.DataFrame(
        {
            "category_id": [*["pens"] * 2, *["desks"] * 2, "pens", "desks", "lamps", *["pens"] * 3],
            "price": [1.0, 4.0, 100.0, 900.0, 8.0, 2700.0, 30.0, np.nan, 2.0, 3.0],
        }
    )
    train = np.array([True] * 4 + [False] * 4 + [True] * 2)
    got = within(shelf, train)
    if not cases.equal(
        "one number for each row, test rows included",
        np.shape(got),
        (10,),
        "the test rows must be described as well, by what training knows",
    ):
        return
    got, truth = _numbers(got), _within(shelf, train)
    price = np.log(shelf["price"])
    all_rows = (price - price.groupby(shelf["category_id"]).transform("mean")).to_numpy()
    by_part = (price - price.groupby([shelf["category_id"], train]).transform("mean")).to_numpy()
    arithmetic = shelf[train].groupby("category_id")["price"].mean()
    of_means = (price - np.log(shelf["category_id"].map(arithmetic))).to_numpy()
    seen = slice(0, 6)
    cases.mistake(
        _same(got[seen], all_rows[seen]),
        "The mean of a category was taken over all rows: row 5, a test row at 2700, has changed "
        "what the training rows 2 and 3 are. In the shop that price comes next week.",
    )
    cases.mistake(
        _same(got[seen], by_part[seen]),
        "The test rows were compared with the mean of the test part. Only training is fitted: a "
        "price of 2700 must look dear beside the desks that training knew.",
    )
    cases.mistake(
        _same(got[seen], of_means[seen]),
        "The logarithm was taken of the mean price, instead of the mean of the logarithms: one "
        "dear item then moves what is usual for the whole category.",
    )
    cases.mistake(
        _same(got[seen], (price - price[train].mean())[seen]),
        "Every price was compared with one mean for the whole shop: a dear pen still looks cheap, "
        "since all desks cost more.",
    )
    right = _same(got[seen], truth[seen])
    cases.mistake(
        right and np.isnan(got[6]),
        "Row 6 is a lamp, a category that training never saw, and gets no number: NaN stops most "
        "models, and new categories come every week.",
    )
    cases.mistake(
        right and _same(got[6], np.array(0.0)),
        "Row 6 is a lamp, which training never saw, and gets 0: that says it costs what lamps "
        "cost, and nobody knows what lamps cost. Compare it with all prices of the training part.",
    )
    cases.mistake(
        right and _same(got[6], price[6] - price.mean()),
        "Row 6 is compared with the mean price of all rows: the fallback is fitted, too, and has "
        "seen the test part.",
    )
    by_category = price[train].groupby(shelf["category_id"][train]).mean()
    cases.mistake(
        right and _same(got[6], price[6] - by_category.mean()),
        "Row 6, of a new category, is compared with the mean of the categories' means: there two "
        "desks weigh as much as four pens. Take the mean of all training rows.",
    )
    cases.equal("training rows beside their category", got[:4], truth[:4], tolerance=1e-6)
    cases.equal("test rows beside the training rows", got[4:6], truth[4:6], tolerance=1e-6)
    cases.equal("a new category beside all of training", got[6], truth[6], tolerance=1e-6)
    cases("a missing price stays missing", np.isnan(got[7]), "row 7 has no price, but a number.")
    log = answer.given("log")
    if {"price", "category_id"} <= set(log):
        log = log.iloc[:: max(1, len(log) // 30_000)].reset_index(drop=True)
        log["category_id"] = log["category_id"].astype(object)  # plain strings, as on the shelf
        train = (log["timestamp"] < log["timestamp"].quantile(0.7)).to_numpy()
        got = within(log, train)
        if cases.equal("one number for each row of the lesson's log", len(got), len(log)):
            text = "the same on the lesson's log, its first 70 % for training"
            cases.equal(text, _numbers(got), _within(log, train), tolerance=1e-4)


# ------------------------------------------------------------------------------- 03.3


def _so_far(log: pd.DataFrame) -> dict[str, np.ndarray]:
    session = log["session_id"]
    new = log["item_id"].notna() & ~log.duplicated(["session_id", "item_id"])
    return {
        "carts": (log["event"] == "cart").groupby(session).cumsum().to_numpy(dtype=float),
        "items": new.groupby(session).cumsum().to_numpy(dtype=float),
    }


@exercise(
    "03.3",
    title="Debug: counts so far",
    objects=("count_so_far",),
    hints=(
        "Look at the first row of the first visit. What had happened by then?",
        "`transform` gives every row the number of the whole group. Which method of a group adds "
        "up row after row?",
        "An item counts once: in the row in which its session meets it first. `duplicated` finds "
        "the rows that repeat an earlier one.",
        'Lesson 03, section "Features that see the past only" counts in one cell.',
    ),
)
def counts_without_the_future(answer: Answer, cases: Cases) -> None:
    """Three visits by hand, two of them by one user; then the lesson's log."""
    count = answer.function("count_so_far", returns=pd.DataFrame)
    log = pd.DataFrame(
        {
            "user_id": [1] * 8 + [2] * 4,
            "session_id": [0] * 5 + [1] * 3 + [2] * 4,
            "event": [*"VCVVC", *"VCV", *"SVSV"],
            "item_id": ["A", "A", "B", "A", "B", "A", "A", "C", None, "A", None, "D"],
        }
    )
    log["event"] = log["event"].map({"V": "view", "C": "cart", "S": "search"})
    got = count(log)
    if not cases(
        "a table with the columns carts and items, and a line for each row",
        {"carts", "items"} <= set(got.columns) and len(got) == len(log),
        f"it has the columns {', '.join(map(str, got.columns))} and {len(got)} lines.",
    ):
        return
    carts, items = (_numbers(got[name]) for name in ("carts", "items"))
    session, user = log["session_id"], log["user_id"]
    cart = (log["event"] == "cart").astype(float)
    new = (log["item_id"].notna() & ~log.duplicated(["session_id", "item_id"])).astype(float)
    cases.mistake(
        _same(carts, cart.groupby(session).transform("sum"))
        or _same(items, log["item_id"].groupby(session).transform("nunique")),
        "Row 0 is the first event of its visit and knows already how many carts, or items, the "
        "whole visit will have: the count has seen its own future.",
    )
    cases.mistake(
        _same(carts, cart.cumsum()) or _same(items, new.cumsum()),
        "The count runs on from visit to visit: row 8 is the first event of another shopper's "
        "visit, and does not start at its own beginning.",
    )
    cases.mistake(
        _same(carts, cart.groupby(user).cumsum()),
        "The count runs over all visits of a user. That is a feature as well, but not this one: "
        "row 5 begins a visit in which nothing lies in the cart yet.",
    )
    cases.mistake(
        _same(carts, cart.groupby(session).cumsum() - cart)
        or _same(items, new.groupby(session).cumsum() - new),
        "Each row leaves its own event out. Row i sees its session up to *and including* event i: "
        "nothing leaks, but the latest event, the one that tells most, is thrown away.",
    )
    cases.mistake(
        _same(items, log["item_id"].notna().groupby(session).cumsum().astype(float))
        or _same(items, log.groupby("session_id").cumcount() + 1),
        "The column items counts events: row 3 comes back to item A, which row 0 has seen.",
    )
    bare = ~log.duplicated(["session_id", "item_id"])
    cases.mistake(
        _same(items, bare.groupby(session).cumsum().astype(float)),
        "Row 8 is a search, which has no item, and counts as an item: pandas takes all missing "
        "values for one and the same item.",
    )
    first = log["item_id"].notna() & ~log.duplicated("item_id")
    cases.mistake(
        _same(items, first.groupby(session).cumsum().astype(float))
        or _same(items, (~log.duplicated("item_id")).groupby(session).cumsum().astype(float)),
        "Item A is not counted in row 5, because an earlier visit has seen it. A visit counts for "
        "itself.",
    )
    truth = _so_far(log)
    cases.equal("carts so far in the visit, the row's own included", carts, truth["carts"])
    cases.equal("different items so far in the visit", items, truth["items"])
    sample = answer.given("log").head(20_000)
    got, truth = count(sample), _so_far(sample)
    for name, wanted in truth.items():
        text = f"the same on the lesson's log: {name}"
        cases.equal(text, _numbers(got[name]) if name in got else [], wanted)


# ------------------------------------------------------------------------------- 03.4


def _rates(known: pd.DataFrame, asked: pd.Series, weight: float) -> pd.Series:
    usual = known["buys"].mean()
    group = known.groupby("category")["buys"]
    rate = (group.sum() + weight * usual) / (group.count() + weight)
    return asked.map(rate).fillna(usual)


def _out_of_fold(table: pd.DataFrame, weight: float) -> np.ndarray:
    code = pd.Series(np.nan, index=table.index)
    train = table["part"] == "train"
    for fold in table.loc[train, "fold"].unique():
        inside = train & (table["fold"] == fold)
        code[inside] = _rates(table[train & ~inside], table["category"][inside], weight)
    code[~train] = _rates(table[train], table["category"][~train], weight)
    return code.to_numpy()


def chance_table(seed: int) -> pd.DataFrame:
    """Make sessions whose category is drawn by lot and tells nothing about whether they buy.

    Returns:
        3,000 rows, one a session: category (of 800), buys (0 or 1), part (``"train"`` or
        ``"test"``), fold (0 to 4 in the training part, -1 in the test).
    """
    random = np.random.default_rng([3, seed])
    rows, taught = 3000, 2000
    fold = np.where(np.arange(rows) < taught, random.permutation(rows) % 5, -1)
    return pd.DataFrame(
        {
            "category": [f"c{number:03d}" for number in random.integers(800, size=rows)],
            "buys": (random.random(rows) < 0.3).astype(int),
            "part": np.where(fold >= 0, "train", "test"),
            "fold": fold,
        }
    )


def area_by_part(table: pd.DataFrame, code: pd.Series) -> pd.Series:
    """Return how well a column tells buyers from others: the area under the ROC curve, by part.

    0.5 is what a column drawn by lot reaches, 1 is perfect.
    """
    from sklearn.metrics import roc_auc_score

    parts = table.assign(code=code).groupby("part", sort=False)
    return parts.apply(lambda rows: roc_auc_score(rows["buys"], rows["code"])).round(2)


def _tiny_table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "category": list("aaaaabbbbc") + list("abdc"),
            "buys": [1, 0, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 1, 0],
            "part": ["train"] * 10 + ["test"] * 4,
            "fold": [0, 0, 1, 1, 2, 0, 1, 2, 2, 0] + [-1] * 4,
        },
        index=range(100, 114),
    )


@exercise(
    "03.4",
    title="Debug: a target encoding",
    objects=("target_encoding",),
    hints=(
        "The categories of this table are drawn by lot. What area can an honest code reach?",
        "Turn the label of one test session round. Which codes change? Then do the same with a "
        "training session.",
        "A training row may learn from the training rows of the *other* folds only; a test row "
        "from all training rows.",
        'Lesson 03, section "The choice is fitting too": whatever looks at answers is fitted.',
    ),
)
def leak_in_a_target_encoding(answer: Answer, cases: Cases) -> None:
    """Turn labels round and see which codes move; then compare, by hand and on chance."""
    encode = answer.function("target_encoding", returns=(pd.Series, np.ndarray))
    table, weight = _tiny_table(), 2.0
    got = encode(table, weight)
    if not cases.equal("one code for each row", np.shape(got), (len(table),)):
        return
    got, truth = _numbers(got), _out_of_fold(table, weight)
    train = (table["part"] == "train").to_numpy()

    def moved(rows: list[int]) -> np.ndarray:
        """Which codes change when the labels of these rows are turned round."""
        other = table.copy()
        column = other.columns.get_loc("buys")
        other.iloc[rows, column] = 1 - other.iloc[rows, column]
        again = encode(other, weight)
        if np.shape(again) != np.shape(got):
            return np.ones(len(got), dtype=bool)
        return ~np.isclose(_numbers(again), got, rtol=0, atol=1e-9, equal_nan=True)

    by_test, own, sibling = moved([10, 11, 12, 13]), moved([2]), moved([3])
    usual = pd.Series(np.nan, index=table.index)
    for fold in (0, 1, 2):
        rest = table[train & (table["fold"] != fold)].groupby("category")["buys"]
        rate = (rest.sum() + weight * table["buys"][train].mean()) / (rest.count() + weight)
        inside = table["fold"] == fold
        usual[inside] = table["category"][inside].map(rate)
    leaning = usual.notna().to_numpy()
    cases.mistake(
        by_test[train].any(),
        "The labels of the test part were turned round, and codes of training rows moved: the "
        "encoding was made from all rows. The test asks for labels that its own features hold.",
    )
    cases.mistake(
        by_test[~train].any(),
        "The test rows are encoded by the labels of the test part: in the shop these are the "
        "answers that are still to come.",
    )
    cases.mistake(
        _same(got[leaning], usual[leaning]),
        "The rate of a category is out of fold, but what it leans on is the mean of *all* training "
        "rows, with each row's own label in it: a thin leak is a leak. Lean on the other folds.",
    )
    cases.mistake(
        own[2],
        "The label of training row 2 was turned round, and its own code moved: a training row "
        "still reads its own answer. A rare category then is nothing but the label.",
    )
    cases.mistake(
        sibling[2],
        "Row 3's label moves the code of row 2, in the same fold: each row leaves out only itself. "
        "Then buyers of one category get a lower code than the others, and a model learns to read "
        "the label backwards. Leave the whole fold out.",
    )
    cases.mistake(
        np.isnan(got).any(),
        "Some rows have no code: their category is new (row 12 is the first `d`). It says nothing "
        "yet, so its code is the mean of the rows that may be read.",
    )
    cases.mistake(
        _same(got[13], np.array(1.0)) and not own[2],
        "Row 13 gets a code of 1: one training session of category `c`, and it bought. Rates of "
        "rare categories lean on the mean, as strongly as `weight` says.",
    )
    cases(
        "no code of a training row moves with its own label, or with its fold's",
        not own[2] and not sibling[2],
        "it does: see which labels a training row may read.",
    )
    cases.equal("training rows: rates of the other folds", got[train], truth[train], tolerance=1e-9)
    cases.equal("test rows: rates of all training rows", got[~train], truth[~train], tolerance=1e-9)
    chance = chance_table(int(answer.given("seed")))
    got = encode(chance, 10.0)
    if cases.equal("one code for each row of the table of chance", np.shape(got), (len(chance),)):
        expected = _out_of_fold(chance, 10.0)
        cases.equal("the same on the table of chance", _numbers(got), expected, tolerance=1e-9)


# ------------------------------------------------------------------------------- 03.5


def noise_table(seed: int) -> tuple[pd.DataFrame, pd.Series, np.ndarray]:
    """Make 500 columns of noise, labels drawn by lot, and a part for each of 800 rows.

    Returns:
        The columns (float64 [800, 500]), whether each row buys (0 or 1), and its part:
        ``"train"``, ``"validation"`` or ``"test"``.
    """
    random = np.random.default_rng([35, seed])
    part = np.repeat(["train", "validation", "test"], [400, 160, 240])
    names = [f"noise_{number:03d}" for number in range(500)]
    columns = pd.DataFrame(random.normal(size=(len(part), len(names))), columns=names)
    return columns, pd.Series((random.random(len(part)) < 0.3).astype(int), name="buys"), part


def area_on_test(
    features: pd.DataFrame, buys: pd.Series, part: np.ndarray, names: list[str]
) -> float:
    """Fit a logistic regression on the training part; return the area under its test ROC curve."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    train, test = part == "train", part == "test"
    model = LogisticRegression().fit(features.loc[train, names], buys[train])
    return roc_auc_score(buys[test], model.predict_proba(features.loc[test, names])[:, 1])


def _temptation() -> tuple[pd.DataFrame, pd.Series, np.ndarray]:
    """Two columns that help, one each way, and one that shines in the test part only."""
    random = np.random.default_rng(35)
    part = np.repeat(["train", "validation", "test"], [240, 80, 200])
    buys = pd.Series((random.random(len(part)) < 0.4).astype(int))
    noise = random.normal(scale=3, size=(len(part), 20))
    columns = pd.DataFrame(noise, columns=[f"noise_{number:02d}" for number in range(20)])
    columns.insert(7, "more_carts", 1.2 * buys + random.normal(size=len(part)))
    columns.insert(3, "fewer_visits", -1.2 * buys + random.normal(size=len(part)))
    rest = 3.6 + columns["noise_00"] / 3
    columns.insert(11, "tempting", np.where(part == "test", 9.0 * buys, rest))
    return columns, buys, part


@exercise(
    "03.5",
    title="Debug: columns that help",
    objects=("choose_columns",),
    hints=(
        "All columns here are noise. Which area should a model reach in the test part?",
        "Which rows does the strength of a column come from? Which of them should have no say?",
        "A mask of rows, applied to the columns and to the labels alike, is all that is missing.",
        'Lesson 03, section "7. Selection, and who may have a say in it".',
    ),
)
def choice_without_the_test(answer: Answer, cases: Cases) -> None:
    """The choice must not depend on the test rows, and must find what helps."""
    choose = answer.function("choose_columns", returns=(list, tuple, np.ndarray, pd.Index))
    columns, buys, part = _temptation()
    test = part == "test"
    got = list(choose(columns, buys, part, 2))
    if not cases(
        "names of columns come back",
        all(isinstance(name, str) and name in columns for name in got),
        "what comes back is no list of names: strengths or positions alone say nothing.",
    ):
        return
    again = list(choose(columns, buys, part, 2))
    if not cases.equal(
        "the same call chooses the same columns",
        sorted(again),
        sorted(got),
        "chance is at work: give what you use a random_state",
    ):
        return
    turned = buys.where(~test, 1 - buys)
    without = columns.copy()
    without.loc[test, :] = 0.0
    bait = columns.assign(noise_05=columns["noise_05"].where(test, 9.0 * buys))
    by_test = sorted(choose(columns, turned, part, 2)) != sorted(got)
    by_test = by_test or sorted(choose(without, buys, part, 2)) != sorted(got)
    cases.mistake(
        "tempting" in got and sorted(choose(bait, buys, part, 2)) == sorted(got),
        "The columns were chosen by the test part alone: what is best there by luck is kept, and "
        "the test score says how lucky it was.",
    )
    cases.mistake(
        by_test or "tempting" in got,
        "The test rows had a say: a column that helps in no other part was chosen, or the choice "
        "changes with the test part's labels. Of hundreds of columns some fit any test by chance.",
    )
    cases.mistake(
        not by_test and "more_carts" in got and "fewer_visits" not in got,
        "The column `fewer_visits` is missing: the less of it, the more likely a purchase. A "
        "negative correlation helps as much as a positive one.",
    )
    cases.mistake(
        not by_test and "more_carts" not in got and "fewer_visits" in got,
        "The column `more_carts` is missing: sorted this way round, the weakest or the most "
        "negative columns come first.",
    )
    cases.equal("as many columns as were asked for, none twice", len(set(got)), 2)
    cases(
        "the two columns that help are chosen",
        {"more_carts", "fewer_visits"} <= set(got),
        f"chosen were {', '.join(got)}.",
    )
    cases("the test part has no say", not by_test, "turning its labels round changes the choice.")
    three = list(choose(columns, buys, part, 3))
    cases.equal("the number of columns is the one asked for", len(three), 3)


# ------------------------------------------------------------------------------- 03.6


@dataclass(frozen=True)
class IntentTask:
    """Purchase intent at a few moments of each session, ready for features.

    Attributes:
        name: The log it is played on.
        log: Rows with sessions, and only the columns that a shop knows when the event happens.
        asked: Rows at which a question is put, int64 [questions].
        buys: Whether a purchase follows, float64 [questions].
        taught: True where the question belongs to the training part, False where to validation.
    """

    name: str
    log: pd.DataFrame
    asked: np.ndarray
    buys: np.ndarray
    taught: np.ndarray

    def loss(self, features: pd.DataFrame) -> float:
        """Return the validation log-loss (nats) of a logistic regression on the features.

        The features have one row a row of the log. They are standardised, and the regression
        is fitted, on the training part.

        Raises:
            CourseError: If a row or a number is missing, or something is no number.
        """
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import log_loss
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        try:
            columns = np.asarray(features, dtype=float)
        except (TypeError, ValueError) as error:
            raise CourseError(f"Features are numbers, and one of these is not: {error}.") from error
        if columns.shape[:1] != (len(self.log),) or not np.isfinite(columns).all():
            raise CourseError(
                f"Features need one row for each of the log's {len(self.log)} rows and no missing "
                f"or infinite values; these have the shape {columns.shape}."
            )
        columns = columns[self.asked]
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(columns[self.taught], self.buys[self.taught])
            forecast = model.predict_proba(columns[~self.taught])
        return float(log_loss(self.buys[~self.taught], forecast, labels=[0.0, 1.0]))


def open_task(log: pd.DataFrame, seed: int) -> IntentTask:
    """Make exercise 03.6's task from a log; ShopWorld stands in for one that cannot serve it.

    Args:
        log: A clean log with sessions.
        seed: Of the ShopWorld that stands in, and of the split of a log without dates.
    """
    if "purchase_intent" not in log.attrs["tasks"]:
        from course_lib.cleaning import clean
        from course_lib.datasets import load
        from course_lib.sessions import assign_sessions

        log = assign_sessions(clean(load("shopworld", "quick", seed)).log)
    label, split = purchase_later(log), temporal_split(log, seed=seed)
    moment = np.isin(position_in_session(log) + 1, MOMENTS) & label.notna().to_numpy()
    taught = split.rows(log, "train")
    asked = np.flatnonzero(moment & (taught | split.rows(log, "validation")))
    known = [name for name in (*COLUMNS, "promotion") if name in log]
    return IntentTask(
        name=log.attrs["dataset"],
        log=log[known].reset_index(drop=True),
        asked=asked,
        buys=label.iloc[asked].to_numpy(dtype=float),
        taught=taught[asked],
    )


def count_events(log: pd.DataFrame) -> pd.DataFrame:
    """The open task's baseline: how often each event has happened in the session so far."""
    happens = pd.get_dummies(log["event"], dtype=float)
    return happens.groupby(log["session_id"]).cumsum()


def _replay(make_features, task: IntentTask) -> tuple[str, str]:
    """Take away what happened after a moment, three times, and look for features that move.

    Returns:
        What moved in words (``""``: nothing), and ``"session"`` where only visits that were
        cut moved, ``"log"`` where visits moved that were over by then.
    """
    users = task.log["user_id"]
    part = task.log[users.isin(users.unique()[:_USERS_REPLAYED])].reset_index(drop=True)
    whole = make_features(part)
    sizes = part.groupby("session_id").size().sort_values(ascending=False, kind="stable")
    ends = part["session_id"].map(part.groupby("session_id")["timestamp"].max())
    for session in sizes.index[:3]:
        rows = np.flatnonzero(part["session_id"] == session)
        moment = part["timestamp"][rows[len(rows) // 2]]
        kept = (part["timestamp"] < moment).to_numpy()
        early = make_features(part[kept].reset_index(drop=True))
        if early.shape[1] != whole.shape[1] or len(early) != kept.sum():
            return (
                f"without the events from {moment:%Y-%m-%d %H:%M} on, the table has the shape "
                f"{early.shape}, and not {whole[kept].shape}"
            ), "log"
        before, after = (_numbers(table) for table in (whole[kept], early))
        differs = ~np.isclose(before, after, rtol=1e-6, atol=1e-6, equal_nan=True)
        if differs.any():
            line, column = np.argwhere(differs)[0]
            over = (ends[kept] < moment).to_numpy()
            return (
                f"without the events from {moment:%Y-%m-%d %H:%M} on, `{whole.columns[column]}` of "
                f"an earlier row becomes {after[line, column]:.4g}, and was "
                f"{before[line, column]:.4g}"
            ), "log" if differs[over].any() else "session"
    return "", ""


@exercise(
    "03.6",
    title="Open: features for purchase intent",
    objects=("make_features",),
    hints=(
        "The baseline counts events. It does not know which event was the last one, and whether "
        "the tenth view says as much as the first.",
        "Columns that are 1 where the last event was a cart (`pd.get_dummies`), logarithms of "
        "counts (`np.log1p`), the seconds since the event before: the regression only adds up, so "
        "give it numbers that can be added up.",
        "Who is it? Earlier visits and purchases of the user are in the log, too; `groupby` with "
        "`cumsum` keeps to the past.",
        'Lesson 03, sections "3. Prices: a log, and within their category" to "6. What the items '
        'are: paths, words, company" print what each family gains on the validation part.',
    ),
    seconds=60,
)
def features_for_intent(answer: Answer, cases: Cases) -> None:
    """No feature moves when the future is taken away; then the log-loss beside the baseline's."""
    make_features = answer.function("make_features", returns=pd.DataFrame)
    task = open_task(answer.given("log"), int(answer.given("seed")))
    got = make_features(task.log)
    if not cases.equal("one line for each row of the log", len(got), len(task.log)):
        return
    odd = [
        str(name)
        for place, name in enumerate(got.columns)
        if not pd.api.types.is_numeric_dtype(got.dtypes.iloc[place])
    ]
    if not cases(
        f"between 1 and {_MOST_COLUMNS} columns, all of numbers",
        1 <= got.shape[1] <= _MOST_COLUMNS and not odd,
        f"there are {got.shape[1]} columns; no numbers are in: {', '.join(odd[:5]) or 'none'}.",
    ):
        return
    numbers = got.to_numpy(dtype=float, na_value=np.nan)
    finite = np.isfinite(numbers).all(axis=0)
    gaps = [str(name) for name, good in zip(got.columns, finite, strict=True) if not good]
    if not cases(
        "every number is there and finite",
        not gaps,
        f"missing or infinite values in: {', '.join(gaps[:5])}. A session's first row has no row "
        "before it, a search no price: say what stands there.",
    ):
        return
    moved, where = _replay(make_features, task)
    cases.mistake(
        where == "session",
        f"A feature knows the rest of its own session: {moved}. In the shop the shopper is still "
        "there, and nobody knows.",
    )
    cases.mistake(
        where == "log",
        f"A feature of a session that was over changes with later ones: {moved}. A mean, a spread "
        "or a total over the whole log has seen what came after.",
    )
    cases("no feature moves when the future is taken away", not moved, f"{moved}.")
    values = numbers[task.asked]
    cases.mistake(
        (values == values[0]).all(),
        "All moments have the same features, so nobody can be told from anybody.",
    )
    baseline_features = count_events(task.log)
    loss, baseline = task.loss(got), task.loss(baseline_features)
    cases.mistake(
        _same(values, baseline_features.to_numpy()[task.asked]),
        "These are the baseline's own features: how often each event happened, and no more.",
    )
    same_for_all = task.loss(pd.DataFrame({"nothing": np.zeros(len(task.log))}))
    floor = baseline * _KEEPS_UP
    if task.name == "shopworld":
        floor = same_for_all - _SHARE_OF_GAIN * (same_for_all - baseline)
    cases(
        "the score reaches the floor",
        loss <= floor,
        f"your validation log-loss is {loss:.4f}; the floor is {floor:.4f}, the counts of events "
        f"reach {baseline:.4f}, one forecast for all {same_for_all:.4f}. Lower is better.",
    )
