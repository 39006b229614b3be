"""Checks of lesson 01's exercises: nothing vanishes, duplicates, prices, scales, masks, bots."""

from __future__ import annotations

import numpy as np
import pandas as pd

from course_lib.checks.core import Answer, Cases, exercise
from course_lib.cleaning import precision_recall
from course_lib.events import sort_log

START = pd.Timestamp("2025-03-01 12:00", tz="UTC")


def _rows(lines: list[tuple]) -> pd.DataFrame:
    """A raw log from (user, seconds after START, event, item), in the order of a file."""
    log = pd.DataFrame(lines, columns=["user_id", "seconds", "event", "item_id"])
    since = pd.to_timedelta(log.pop("seconds"), unit="s")
    log.insert(1, "timestamp", (START + since).astype("datetime64[us, UTC]"))
    return log.astype({"event": "category", "item_id": "category"})


# ------------------------------------------------------------------------------- 01.1


def _log_with_holes() -> pd.DataFrame:
    log = _rows(
        [
            ("ann", 0, "view", "pen"),
            ("ann", 9, "search", None),
            (None, 12, "view", "pen"),
            ("ben", np.nan, "view", "cup"),
            ("ben", 30, None, "cup"),
            ("ben", 40, "view", "cup"),
            ("ben", 40, "view", "cup"),
            (None, np.nan, "view", "pen"),
        ]
    )
    log["price"] = [2.0, np.nan, 2.0, 5.0, 5.0, np.nan, np.nan, 2.0]
    return log.set_axis(range(100, 108))


@exercise(
    "01.1",
    title="Nothing vanishes",
    objects=("set_aside",),
    hints=(
        "Count the rows before and after: what is in `raw` and in neither of the two results?",
        "Which columns must a row have to be an event at all? `isna()` of those, and only those.",
        "A boolean mask and its opposite (`~mask`) split a table without losing a row or an index.",
        'Lesson 01, section "Three things to do with a bad row" says what may be set aside, and '
        "what the quarantine has to tell.",
    ),
)
def nothing_vanishes(answer: Answer, cases: Cases) -> None:
    """Split a small log with every kind of hole, then the lesson's own."""
    split = answer.function("set_aside", returns=tuple)
    raw = _log_with_holes()
    parts = split(raw)
    if not cases(
        "two tables come back: kept and quarantine",
        len(parts) == 2 and all(isinstance(part, pd.DataFrame) for part in parts),
        otherwise="what came back is no pair of two tables.",
    ):
        return
    kept, quarantine = parts
    searches = int((kept["event"] == "search").sum()) if "event" in kept else 0
    cases.mistake(
        len(kept) + len(quarantine) == len(raw) and searches == 0,
        "The search was set aside because it has no item and no price. A search has none: it is "
        "complete. Only a missing user, time or event makes a row useless.",
    )
    cases.mistake(
        searches == 0,
        "The search vanished. dropna() over all columns takes every row for dirty that lacks an "
        "item or a price, and a search has neither by nature.",
    )
    cases.mistake(
        len(kept) + len(quarantine) == len(raw) - 1 and list(kept.index) == [100, 101, 105],
        "Two equal rows became one. Whether they are one click or two is another question, and "
        "the row that went is in no quarantine.",
    )
    cases.mistake(
        len(kept) + len(quarantine) < len(raw),
        f"{len(raw) - len(kept) - len(quarantine)} of {len(raw)} rows are in neither table: read "
        "is not kept + quarantine, and nobody can ask any more what they were.",
    )
    cases.mistake(
        not set(kept.index) <= set(raw.index) or not set(quarantine.index) <= set(raw.index),
        "The row numbers were made anew (reset_index), so no row can be found again in the file.",
    )
    cases.equal(
        "the kept rows, by their number in the file", list(kept.index), [100, 101, 105, 106]
    )
    cases.equal("the rows set aside", sorted(quarantine.index), [102, 103, 104, 107])
    if not cases(
        "the quarantine has a column 'reason'",
        "reason" in quarantine,
        otherwise="a row without its reason cannot be argued about.",
    ):
        return
    first = {102: "missing user", 103: "missing time", 104: "missing event", 107: "missing user"}
    reasons = quarantine["reason"].astype("str").sort_index()
    cases.equal(
        "each row's first reason: user, then time, then event", list(reasons), list(first.values())
    )
    whole = raw.loc[[100, 105]]
    kept, quarantine = split(whole)
    cases.mistake(
        len(kept) + len(quarantine) > 2,
        "From a log without holes more rows came out than went in. Assigning a column to an empty "
        "table fills it with all rows of the column: assign the reason first, then choose rows.",
    )
    cases.equal("of a log without holes all is kept", (len(kept), len(quarantine)), (2, 0))
    raw = answer.given("raw")
    kept, quarantine = split(raw)
    complete = raw[["user_id", "timestamp", "event"]].notna().all(axis=1)
    cases.equal("on the lesson's log: rows kept", len(kept), int(complete.sum()))
    cases.equal("on the lesson's log: rows set aside", len(quarantine), int((~complete).sum()))


# ------------------------------------------------------------------------------- 01.2


def _is_double(log: pd.DataFrame, seconds: float) -> np.ndarray:
    ordered = log.sort_values(["user_id", "timestamp"], kind="stable")
    same = ordered["user_id"].eq(ordered["user_id"].shift()).to_numpy(copy=True)
    for column in ("event", "item_id"):
        codes = ordered[column].cat.codes.to_numpy()
        same[1:] &= codes[1:] == codes[:-1]
    soon = (ordered["timestamp"].diff() <= pd.Timedelta(seconds=seconds)).to_numpy()
    return pd.Series(same & soon, ordered.index).reindex(log.index).to_numpy(dtype=bool)


@exercise(
    "01.2",
    title="One click, two rows",
    objects=("double_fires",),
    hints=(
        "Which row must a row be compared with? In the file, other visitors' rows stand between.",
        "Sort by user and time (kind='stable'), compare each column with its own shift(), and "
        "bring the answer back to the order of the file with reindex.",
        "NaN == NaN is False, so two searches seem to have different items; category codes are "
        "-1 for both.",
        'Lesson 01, section "One click, two rows" measures the seconds since the same click.',
    ),
)
def find_double_fires(answer: Answer, cases: Cases) -> None:
    """Small logs, one for each thing that must be equal, then a random one."""
    find = answer.function("double_fires", returns=(pd.Series, np.ndarray))

    def asked(lines: list[tuple], seconds: float = 1.0) -> list[bool]:
        return [bool(value) for value in np.asarray(find(_rows(lines), seconds))]

    pair = [("ann", 0, "view", "pen"), ("ann", 1, "view", "pen")]
    got = asked(pair)
    if not cases.equal("one truth value a row", len(got), 2):
        return
    cases.mistake(
        got == [True, False],
        "The first click is marked and its copy is kept: shift(-1) looks at the row after. The "
        "click that came first is the real one.",
    )
    cases.mistake(
        got == [True, True],
        "Both rows are marked, so the click itself would be lost. One of the two is real.",
    )
    cases.mistake(
        got == [False, False] and asked(pair, 1.5) == [False, True],
        "The copy came exactly one second later and passes: *at most* `seconds` includes the last "
        "one, so compare with <=, not with <.",
    )
    cases.mistake(
        got == [False, False] and asked([pair[0]] * 2) == [False, True],
        "Only rows with the very same time are marked, as duplicated() does over all columns. A "
        "second click comes a moment later: measure the seconds between the two rows.",
    )
    cases.mistake(
        any(asked([("ann", 0, "view", "pen"), ("ann", 600, "view", "pen")])),
        "Ten minutes later the same visitor looked at the pen again, and that was taken for a "
        "copy: the time is not compared. duplicated() only asks whether the like was there before.",
    )
    cases.equal("the second of two equal clicks a second apart is the copy", got, [False, True])
    others = [("ann", 0, "view", "pen"), ("ben", 1, "view", "pen")]
    cases.mistake(
        any(asked(others)),
        "Two visitors looked at the same item within a second, and one of them was taken for a "
        "copy of the other: the rows of different users must not be compared.",
    )
    cases.mistake(
        any(asked([("ann", 0, "view", "pen"), ("ann", 1, "cart", "pen")])),
        "Putting an item into the cart right after viewing it is no double click: the event must "
        "be the same, too.",
    )
    between = [("ann", 0, "view", "pen"), ("ben", 0, "view", "cup"), ("ann", 1, "view", "pen")]
    cases.mistake(
        not any(asked(between)),
        "A row of another visitor stood between click and copy in the file, and the copy was "
        "missed: sort by user and time before comparing.",
    )
    cases.mistake(
        asked([("ann", 0, "search", None), ("ann", 1, "search", None)]) == [False, False],
        "Two searches within a second passed: neither has an item, and NaN == NaN is False. Here "
        "missing equals missing.",
    )
    upside_down = [pair[1], *between[1:2], pair[0]]
    cases.mistake(
        asked(upside_down) == [False, True, False],
        "The right number of rows, in the wrong places: the answer is in the sorted order, not in "
        "the order of the file. reindex(log.index) brings it back.",
    )
    cases.mistake(
        asked(upside_down) == [False, False, True],
        "The later click stands above the earlier one in this file (it was received first), and "
        "the earlier one was taken for the copy: sort by time as well, not only by user.",
    )
    cases.mistake(
        asked([pair[0], ("ann", 0.5, "cart", "pen"), pair[1]]) == [False, False, True],
        "View, cart, view within a second: the row before the second view is the cart, so it "
        "repeats nothing. Compare each row with the same user's row just before it.",
    )
    cases.equal("a late row is put in its place first", asked(upside_down), [True, False, False])
    slow = [("ann", 0, "view", "pen"), ("ann", 2, "view", "pen")]
    cases.equal("two seconds are too long for seconds=1", asked(slow), [False, False])
    cases.equal("and are not for seconds=2", asked(slow, 2.0), [False, True])
    rng = np.random.default_rng(answer.given("seed"))
    lines = [
        (user, second, "view" if cup < 2 else "search", ["pen", "cup", None][cup])
        for user, second, cup in zip(
            rng.choice(["ann", "ben"], 300),
            rng.integers(0, 200, 300),
            rng.integers(0, 3, 300),
            strict=True,
        )
    ]
    truth = _is_double(_rows(lines), 1.0).tolist()
    cases.equal("the same on three hundred random rows", asked(lines), truth)


# ------------------------------------------------------------------------------- 01.3


def _priced(prices: dict[str, list[float]]) -> pd.DataFrame:
    pairs = [(item, price) for item, values in prices.items() for price in values]
    frame = pd.DataFrame(pairs, columns=["item_id", "price"])
    return frame.astype({"item_id": "category"})


@exercise(
    "01.3",
    title="A pen at 200",
    objects=("absurd",),
    hints=(
        "Whose mean is it? A pen and a television share one in this code.",
        "A mean and a standard deviation are moved by the very price that they should judge. "
        "Which summary of an item's prices is not?",
        "groupby(...).transform('median') gives each row its own item's usual price; think of "
        "ratios, upwards and downwards, and of prices that are not positive.",
        'Lesson 01, section "What did it cost?" compares each price with its own item\'s.',
    ),
)
def judge_prices(answer: Answer, cases: Cases) -> None:
    """Prices of two items far apart, then few prices, then honest sales."""
    find = answer.function("absurd", returns=(pd.Series, np.ndarray))

    def asked(prices: dict[str, list[float]]) -> list[bool]:
        return [bool(value) for value in np.asarray(find(_priced(prices)))]

    many = {"pen": [2.0] * 30 + [2.1] * 30 + [200.0], "television": [900.0] * 30 + [950.0] * 30}
    got = asked(many)
    if not cases.equal("one truth value a row", len(got), 121):
        return
    cases.mistake(
        not got[60],
        "The pen at 200 passes. It was judged by the prices of all items, televisions included, "
        "and there 200 is nothing special: compare a price with its own item's prices.",
    )
    cases.mistake(
        sum(got) > 1,
        "Prices that nobody would call absurd are marked: the televisions, or the pens. They were "
        "judged by a usual price over all items: each item needs its own.",
    )
    cases.equal("only the pen at 200 is absurd", np.flatnonzero(got).tolist(), [60])
    few = {"pen": [2.0] * 7 + [200.0]}
    cases.mistake(
        not any(asked(few)),
        "Of eight prices of a pen, seven are 2 and one is 200, and it passes: it inflates the "
        "standard deviation by which it is judged, so that none of n values can be more than "
        "(n-1)/√n deviations away (2.5 of eight). The median does not move.",
    )
    cases.mistake(
        sum(asked(few)) > 1,
        "Seven pens cost 2 and one costs 200, and the seven are marked: the usual price was a "
        "mean, and the one wrong price pulls it up until all others look cheap. The median stays.",
    )
    cases.equal("seven pens at 2, one at 200", asked(few), [False] * 7 + [True])
    low = {"television": [900.0] * 7 + [9.0]}
    cases.mistake(
        not any(asked(low)),
        "A television at 9 passes: only prices that are too high are looked for. A comma lost to "
        "the left is as wrong as one lost to the right.",
    )
    sale = {"pen": [2.0] * 20 + [1.4] + [1.0]}
    cases.mistake(
        any(asked(sale)),
        "A pen at 30 % or 50 % off is marked: where most prices are equal, fences made of the "
        "spread have no width, and every honest sale lies outside.",
    )
    cases.equal("a sale is no fault", asked(sale), [False] * 22)
    odd = {"pen": [2.0] * 7 + [-2.0, 0.0, np.nan]}
    cases.mistake(
        asked(odd)[-1],
        "A missing price is marked as absurd. Comparisons with NaN are False, so their opposite "
        "(~between(...)) is True where nothing is known.",
    )
    cases.equal(
        "negative and zero are absurd, missing is not",
        asked(odd),
        [False] * 7 + [True, True, False],
    )


# ------------------------------------------------------------------------------- 01.4


@exercise(
    "01.4",
    title="A scale from the past",
    objects=("scale",),
    hints=(
        "If tomorrow's prices were ten times higher, would today's scaled prices change? May they?",
        "Two numbers are fitted, a mean and a deviation, both of log1p(train); the test part is "
        "only measured with them.",
        'Lesson 01, section "Getting the columns ready" fits on the past only.',
    ),
)
def scale_by_the_past(answer: Answer, cases: Cases) -> None:
    """Change the test part and see what moves; then the exact values, holes and constants."""
    scale = answer.function("scale", returns=tuple)
    train, test = pd.Series([1.0, 10.0, 100.0, 10.0]), pd.Series([10.0, 50.0])

    def asked(first: pd.Series, second: pd.Series) -> tuple[np.ndarray, np.ndarray]:
        both = scale(first, second)
        return tuple(np.asarray(part, dtype=float) for part in both)

    if not cases.equal("two parts come back", len(asked(train, test)), 2):
        return
    scaled, later = asked(train, test)
    if not cases.equal("as many values as went in", (len(scaled), len(later)), (4, 2)):
        return
    moved, _ = asked(train, test * 1000)
    cases.mistake(
        not np.allclose(moved, scaled, equal_nan=True),
        "The training part changes when the test part does: the scale was fitted on everything, "
        "so the model is told about prices it will only meet later.",
    )
    cases.mistake(
        not np.isclose(later[0], scaled[1]),
        "The same price, 10, has one value in the training part and another in the test part: "
        "each was fitted on itself. A model trained on one scale cannot read the other.",
    )
    plain = (train - train.mean()) / train.std()
    cases.mistake(
        np.allclose(scaled, plain, atol=0.02)
        or np.allclose(scaled, plain * np.sqrt(4 / 3), atol=0.02),
        "The prices were scaled without their logarithm: from 10 to 100 is ten times as far as "
        "from 1 to 10, although both are a factor of ten.",
    )
    bare = np.log(train)
    cases.mistake(
        np.allclose(scaled, (bare - bare.mean()) / bare.std(), atol=1e-3)
        or np.allclose(scaled, (bare - bare.mean()) / bare.std(ddof=0), atol=1e-3),
        "The logarithm here is log, not log1p: a price of 0 would become minus infinity, and with "
        "it the mean of all others.",
    )
    logs = np.log1p(train)
    centred = (logs - logs.mean()).to_numpy()
    spread = min((logs.std(), logs.std(ddof=0)), key=lambda one: abs(centred / one - scaled).sum())
    cases.equal(
        "the logs of the training part, standardised", scaled, centred / spread, tolerance=1e-5
    )
    test_logs = (np.log1p(test) - logs.mean()).to_numpy() / spread
    cases.equal("the test part on the same scale", later, test_logs, tolerance=1e-5)
    holes, _ = asked(pd.Series([1.0, np.nan, 10.0]), test)
    cases.equal("a missing price stays missing", np.isnan(holes).tolist(), [False, True, False])
    same, other = asked(pd.Series([0.0, 0.0, 0.0]), test)
    cases(
        "a constant column does not divide by zero",
        bool(np.isfinite(same).all() and np.isfinite(other).all()),
        otherwise="three equal prices have a deviation of 0, and the result is not finite.",
    )


# ------------------------------------------------------------------------------- 01.5


@exercise(
    "01.5",
    title="Masks that hold",
    objects=("mask",),
    hints=(
        "Who can undo your masks: somebody with the list of customers? Somebody with the code? "
        "Only the key may help.",
        "hmac.new(key, text.encode(), hashlib.sha256).hexdigest() hashes a text with a key.",
        'Lesson 01, section "Getting the columns ready" looks hashes up, with and without a key.',
    ),
)
def mask_the_users(answer: Answer, cases: Cases) -> None:
    """Same visitor, same mask; other key, other masks; no ids, no order, no collisions."""
    mask = answer.function("mask", returns=(pd.Series, np.ndarray, list))
    users, key = pd.Series([830917, 402910, 830917, 250333, 402910]), b"a key that nobody knows"

    def asked(ids: pd.Series, secret: bytes = key) -> list[str]:
        return [str(value) for value in mask(ids, secret)]

    got = asked(users)
    if not cases.equal("one mask a row", len(got), 5):
        return
    followed = got[0] == got[2] and got[1] == got[4]
    cases.mistake(
        not followed,
        "The same visitor got different masks: nobody can follow a visitor from row to row any "
        "more, and there are no sequences left to learn from.",
    )
    elsewhere = set(asked(pd.Series([250333, 830917]))) == {got[3], got[0]}
    cases.mistake(
        not elsewhere,
        "A visitor's mask depends on who else is in the table, or on the order: tomorrow's log "
        "would give the same person another mask.",
    )
    cases.mistake(
        any(str(user) in seen for user, seen in zip(users, got, strict=True)),
        "The id can be read off its own mask.",
    )
    cases.mistake(
        asked(users, b"another key") == got,
        "The key changes nothing: whoever has a list of ids hashes them all, and looks every "
        "mask up.",
    )
    many = pd.Series(np.arange(20_000))
    masks = asked(many)
    cases.mistake(
        len(set(masks)) < len(many),
        f"{len(many) - len(set(masks)):,} of {len(many):,} visitors share a mask with another: "
        "too few characters or buckets, so different people become one.",
    )
    cases("the same visitor has the same mask, everywhere", followed and elsewhere)
    cases(
        "another key gives every visitor another mask",
        not set(asked(many, b"another key")) & set(masks),
        otherwise="some masks are the same under two keys.",
    )
    cases.equal(
        "ids that are text are masked as well", len(set(asked(pd.Series(["a", "b", "a"])))), 2
    )


# ------------------------------------------------------------------------------- 01.6


def disguised_world(seed: int) -> tuple[pd.DataFrame, set]:
    """A clean log with bots in it, half of them disguised, and the ids of the bots.

    Disguised bots pause as people do (their gaps are drawn from the people's), put something
    into the cart now and then, and load a page twice once in a while.

    Args:
        seed: Which world.
    """
    from course_lib.datasets.shopworld import DirtRates, simulate

    rates = DirtRates(0, 0.15, 0, 0, 0, 0, 0)
    world = simulate("quick", seed, users=1000, days=60, dirt=rates)
    log = sort_log(world.raw).drop(columns="received_at")
    bots = sorted(set(world.raw.loc[world.truth["bot"], "user_id"]))
    rng = np.random.default_rng([seed, 1])
    gaps = log.groupby("user_id")["timestamp"].diff().dt.total_seconds()
    people = gaps[(gaps < 1800) & ~log["user_id"].isin(bots)].to_numpy()
    hidden = log["user_id"].isin(bots[::2]) & (log["event"] == "view")
    first = log.groupby("user_id")["timestamp"].transform("min")
    walk = (
        pd.Series(np.where(hidden, rng.choice(people, len(log)), 0))
        .groupby(log["user_id"])
        .cumsum()
    )
    log.loc[hidden, "timestamp"] = (first + pd.to_timedelta(walk, unit="s"))[hidden]
    log.loc[hidden & (rng.random(len(log)) < 0.08), "event"] = "cart"
    again = np.flatnonzero(hidden & (rng.random(len(log)) < 0.03) & hidden.shift(fill_value=False))
    log.iloc[again, log.columns.get_loc("item_id")] = log["item_id"].array[again - 1]
    return sort_log(log), set(bots)


def most_active(log: pd.DataFrame, bots: set) -> float:
    """The best F1 that calling the k most active visitors bots can reach, for any k."""
    ranked = log["user_id"].value_counts().index[: 4 * len(bots)].isin(list(bots)).cumsum()
    return float((2 * ranked / (np.arange(len(ranked)) + 1 + len(bots))).max())


@exercise(
    "01.6",
    title="The bots of a world that nobody has seen",
    objects=("find_bots",),
    hints=(
        "Half of the bots pause like people and fill a cart now and then. What do they do that no "
        "shopper does, or never do that every shopper does?",
        "Take one accused and one loyal customer from `practice`, and read their items from top "
        "to bottom.",
        "Shoppers come back: count how many of a visitor's views are of different items.",
        'Lesson 01, section "Who is no person?" computes one row of features a visitor.',
    ),
    seconds=30,
)
def find_the_bots(answer: Answer, cases: Cases) -> None:
    """F1 over visitors in two worlds of other seeds; the floor lies far above counting events."""
    find = answer.function("find_bots", returns=(list, set, tuple, np.ndarray, pd.Series, pd.Index))
    for number in (1, 2):
        log, bots = disguised_world(1000 * number + int(answer.given("seed")))
        visitors = log["user_id"].unique()
        accused = set(pd.Series(list(find(log)), dtype=object))
        cases.mistake(not accused, "Nobody is accused: the shop's crawlers stay in the log.")
        cases.mistake(
            not accused <= set(visitors),
            "Some of the accused are not in this log: ids found in another world mean nothing "
            "here; compute them from the log that is passed.",
        )
        score = precision_recall(np.isin(visitors, list(accused)), np.isin(visitors, list(bots)))
        wrongly, missed = accused - bots, bots - accused
        spent = log[log["event"] == "purchase"]["user_id"]
        buyers = len(wrongly & set(spent))
        size = log["user_id"].value_counts()
        quiet = int((size.reindex(list(wrongly)) < 40).sum()) if wrongly else 0
        cases.mistake(
            buyers > len(wrongly) / 2 and buyers > 3,
            f"{buyers} of the visitors you accuse have bought something: the busiest visitors are "
            "loyal customers, and an outlier is not a fault.",
        )
        cases.mistake(
            quiet > len(wrongly) / 2 and quiet > 3,
            f"{quiet} of the visitors you accuse have fewer than 40 events: not buying is what "
            "most people do on most visits. So little tells nothing.",
        )
        escaped = len(missed & set(sorted(bots)[::2]))
        cases.mistake(
            score["precision"] > 0.8 and escaped > 0.6 * len(sorted(bots)[::2]),
            f"{escaped} bots escape because they pause like people and fill a cart now and then. "
            "An even pace and an empty cart no longer give a bot away: look at the items.",
        )
        baseline = most_active(log, bots)
        floor = baseline + 0.7 * (1 - baseline)
        cases(
            f"unseen world {number}: F1 of {floor:.2f} or more ({baseline:.2f} for the busiest)",
            score["f1"] >= floor,
            otherwise=f"F1 is {score['f1']:.2f}: {len(missed)} of {len(bots)} bots escape, "
            f"{len(wrongly)} people are accused.",
        )
