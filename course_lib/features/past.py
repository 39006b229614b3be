"""Features of every row from its own past: one table, no Python per session (lesson 03).

A session is one contiguous run of rows, so "so far" is a running sum less its value where the
session began, and "since the last" a running maximum of row numbers. Both are a few passes
over arrays: the time grows with the number of events and with nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import pairwise

import numpy as np
import pandas as pd

from course_lib.errors import unknown_name
from course_lib.events import CLOCKS
from course_lib.sessions import changes, session_ids

FAMILIES = ("time", "history", "price", "counts", "recency", "dwell", "crosses", "paths")
"""The families of features that `session_features` makes, each named for what it tells."""

MANY_KINDS = 32
"""With more kinds of events than this, no feature a kind is made."""
BLOCK = 1_000_000
"""Rows that are worked on at a time."""
NOTHING = "(nothing)"
"""The value of a category column where the session has shown none so far."""

_MINUTE, _DAY = 60_000_000, 86_400_000_000  # microseconds
_MONDAY = 3  # 1970-01-01 was a Thursday
_PARTS_OF_DAY = ("night", "morning", "afternoon", "evening")
_CART_STATES = ("empty", "one", "more")
_SPLIT_COLUMNS = ("category_path", "category_id")
_Column = np.ndarray | pd.Categorical
_Columns = dict[str, _Column]


def session_features(
    log: pd.DataFrame,
    families: Iterable[str] | None = None,
    *,
    since: pd.Timestamp | None = None,
) -> pd.DataFrame:
    """Return what each row knows about its session so far. Derived in lesson 03.

    Row ``i`` sees its session up to and including ``i``, and when its user's earlier sessions
    took place and what was bought in them; nothing after ``i`` has any influence. Nothing is
    fitted: what is (a mean price, a vocabulary, a scale) is in `course_lib.features.fitted`.

    ========  ==================================================================================
    family    columns (each begins with the family's name)
    ========  ==================================================================================
    time      hour of day and day of week, each as a point on a circle (``sin``, ``cos``); days
              since `since`, where given
    history   earlier sessions of the user and their purchases (log1p); days since the last one
              (log1p); ``first`` = 1 where there is none
    price     log1p of the price last seen, mean so far, its distance from that mean; ``none``
              = 1 before any; ``category`` of the item that had it (for `PriceWithinCategory`)
    counts    log1p of: events, events of each kind, distinct items and categories, earlier
              events on the same item, units in the cart (put in less taken out since the last
              purchase)
    recency   log1p of events, and of seconds, since the last event of each kind; ``never`` = 1,
              and both 0, where there was none
    dwell     log1p of seconds: since the previous event, mean gap so far, since the start
    crosses   category columns: previous and last event; last event and cart; part of the day
              and last event
    paths     category columns: the levels of the path last seen ("a.b.c": "a", "a.b",
              "a.b.c"); log1p of the changes at each level; a flat category is level 1
    ========  ==================================================================================

    Args:
        log: A clean log with sessions, [n] rows.
        families: Which of `FAMILIES`; by default all.
        since: Day 0 of ``time_days``. By default there is no such column: in a split by time
            every later part lies beyond all of its training values.

    Returns:
        A table with the log's index, [n, columns]: float32 and category columns without
        missing values. ``attrs["families"]`` maps each family to its columns;
        ``attrs["left_out"]`` maps what the log cannot tell to a sentence that says why.

    Raises:
        CourseError: If a family is unknown or the log has no sessions.
    """
    wanted = FAMILIES if families is None else tuple(families)
    for family in wanted:
        if family not in FAMILIES:
            raise unknown_name("family of features", family, FAMILIES)
    session_ids(log)  # refuse a log without sessions in order
    columns: dict[str, _Column] = {}
    types: dict[str, pd.CategoricalDtype] = {}
    members: dict[str, list[str]] = {}
    left_out: dict[str, str] = {}
    for block in _blocks(log):
        past = _Past(log.iloc[block], since)
        for family in (name for name in FAMILIES if name in wanted):
            made = {f"{family}_{name}": values for name, values in _MAKERS[family](past).items()}
            if made:
                members[family] = list(made)
            for name, values in made.items():
                _store(columns, types, name, values, block, len(log))
        left_out |= past.left_out
    for name, dtype in types.items():
        columns[name] = pd.Categorical.from_codes(columns[name], dtype=dtype, validate=False)
    table = pd.DataFrame(columns, index=log.index, copy=False)
    table.attrs = {"families": members, "left_out": left_out}
    return table


def _blocks(log: pd.DataFrame) -> list[slice]:
    """Cut a log into runs of whole users of about `BLOCK` rows: what is in use stays in cache."""
    users = np.flatnonzero(changes(log["user_id"]))
    edges = np.searchsorted(users, np.arange(BLOCK, len(log), BLOCK))
    cuts = np.unique([0, *users[edges[edges < len(users)]], len(log)])
    return [slice(a, b) for a, b in pairwise(cuts)] or [slice(0, 0)]


def _store(columns: dict, types: dict, name: str, values: _Column, at: slice, n: int) -> None:
    """Write the values of one block into the whole column; of a category column, its codes."""
    if isinstance(values, pd.Categorical):
        types[name] = values.dtype
        values = values.codes
    if at == slice(0, n):
        columns[name] = values
        return
    if name not in columns:
        columns[name] = np.empty(n, dtype=values.dtype)
    columns[name][at] = values


class _Past:
    """A log as arrays, with the three running operations that all families are made of."""

    def __init__(self, log: pd.DataFrame, since: pd.Timestamp | None):
        sessions = session_ids(log)
        self.log, self.since, self.n = log, since, len(log)
        self.clock = log.attrs.get("clock", "time")
        self.dataset = log.attrs.get("dataset", "this log")
        self.left_out: dict[str, str] = {}
        begins = np.ones(self.n, dtype=bool)
        np.not_equal(sessions[1:], sessions[:-1], out=begins[1:])
        self.starts = np.flatnonzero(begins)
        self.lengths = np.diff(self.starts, append=self.n)
        self.rows = np.arange(self.n)
        self.first = self.of_session(self.starts)
        self.times = log["timestamp"].array.as_unit("us").asi8
        column = log[log.attrs.get("event_column", "event")].astype("category")
        self.kinds = [str(kind) for kind in column.cat.categories]
        self.kind = column.cat.codes.to_numpy(np.int16)
        if (self.kind < 0).any():
            self.kinds.append(NOTHING)
            self.kind = np.where(self.kind < 0, np.int16(len(self.kinds) - 1), self.kind)

    def of_session(self, values: np.ndarray) -> np.ndarray:
        """Give each row the value of its session: [sessions] -> [n]."""
        return np.repeat(values, self.lengths)

    def so_far(self, values: np.ndarray) -> np.ndarray:
        """Sum of `values` in the session up to and including each row."""
        whole = values.dtype.kind in "bi"
        total = np.cumsum(values, dtype=np.int64 if whole else np.float64)
        before = total[self.starts] - values[self.starts]
        return total - self.of_session(before)

    def last(self, flags: np.ndarray) -> np.ndarray:
        """Latest row of the session, up to this one, that has the flag; -1 where none has."""
        row = np.maximum.accumulate(np.where(flags, self.rows, -1))
        row[row < self.first] = -1
        return row

    def occurrence(self, codes: np.ndarray) -> np.ndarray:
        """How often the session had this row's code before (codes below 0: not counted, 0)."""
        width = int(codes.max(initial=0)) + 2
        ordinal = self.of_session(np.arange(len(self.starts)))
        order = np.argsort(ordinal * width + codes + 1, kind="stable")
        sorted_codes, sorted_sessions = codes[order], ordinal[order]
        new = np.ones(self.n, dtype=bool)
        new[1:] = (sorted_codes[1:] != sorted_codes[:-1]) | (
            sorted_sessions[1:] != sorted_sessions[:-1]
        )
        run = np.maximum.accumulate(np.where(new, self.rows, 0))
        times = np.empty(self.n, dtype=np.int64)
        times[order] = self.rows - run
        times[codes < 0] = 0
        return times

    def seconds_since(self, row: np.ndarray) -> np.ndarray:
        """Seconds from `row` to this row, at least 0 (float32)."""
        return (np.maximum(self.times - self.times[row], 0) / 1e6).astype(np.float32)

    def tells(self, what: str, clocks: tuple[str, ...], needs: str) -> bool:
        """Whether the clock is one of `clocks`; if not, note that `what` is left out."""
        if self.clock in clocks:
            return True
        has = CLOCKS[self.clock].removeprefix("only ")
        self.left_out[what] = f"{what}: needs {needs}; log {self.dataset!r} has only {has}."
        return False

    def lacks(self, what: str, because: str) -> None:
        self.left_out[what] = f"{what}: log {self.dataset!r} {because}."

    def names(self, column: str) -> bool:
        """Whether the log has this column of names. Its rows are not asked: they come later."""
        if column not in self.log:
            return False
        dtype = self.log[column].dtype
        return not isinstance(dtype, pd.CategoricalDtype) or len(dtype.categories) > 0

    def few_kinds(self, what: str) -> bool:
        """Whether each kind of event can have columns of its own."""
        if len(self.kinds) > MANY_KINDS:
            self.lacks(what, f"has {len(self.kinds)} kinds of events, too many for one column each")
            return False
        return True

    def cart(self) -> np.ndarray | None:
        """Units in the cart after each row, never below 0; None for a log without carts."""
        if "cart" not in self.kinds:
            return None
        step = self._is("cart").astype(np.int64) - self._is("remove")
        bought = self._is("purchase")
        again = np.zeros(self.n, dtype=bool)
        again[self.starts] = True
        again[1:] |= bought[:-1]
        # A walk that starts anew at `again` and cannot go below 0 is the free walk less its
        # running minimum; falling steps between the walks keep their minima apart.
        free = np.cumsum(step)
        begins = np.flatnonzero(again)
        runs = np.diff(begins, append=self.n)
        free -= np.repeat(free[begins] - step[begins], runs)
        apart = np.repeat(np.arange(len(begins)), runs) * (2 * self.n + 2)
        lowest = np.minimum.accumulate(free - apart) + apart
        units = free - np.minimum(lowest, 0)
        units[bought] = 0
        return units

    def _is(self, kind: str) -> np.ndarray:
        if kind not in self.kinds:
            return np.zeros(self.n, dtype=bool)
        return self.kind == self.kinds.index(kind)


def _time(past: _Past) -> _Columns:
    made: _Columns = {}
    if past.tells("time: hour", ("time",), "the time of day"):
        minute = past.times // _MINUTE % 1440
        made |= _circle("hour", minute, 1440)
    if past.tells("time: weekday", ("time", "day"), "dates"):
        day = past.times // _DAY
        made |= _circle("weekday", (day + _MONDAY) % 7, 7)
        if past.since is not None:
            start = pd.Timestamp(past.since).value // 1000  # nanoseconds
            made["days"] = ((past.times - start) / _DAY).astype(np.float32)
    return made


def _circle(name: str, place: np.ndarray, period: int) -> _Columns:
    """A number that comes round again after `period`, as a point on a circle."""
    angle = 2 * np.pi * np.arange(period) / period
    return {
        f"{name}_sin": np.sin(angle).astype(np.float32)[place],
        f"{name}_cos": np.cos(angle).astype(np.float32)[place],
    }


def _history(past: _Past) -> _Columns:
    if not past.tells("history", ("time", "day"), "the order of a user's sessions"):
        return {}
    starts = past.starts
    new_user = changes(past.log["user_id"])[starts]
    ordinal = np.arange(len(starts))
    first_session = np.maximum.accumulate(np.where(new_user, ordinal, 0))
    earlier = ordinal - first_session
    bought = np.cumsum(past._is("purchase"))
    before = bought[starts] - past._is("purchase")[starts]  # in all rows above the session
    purchases = before - before[first_session] if len(starts) else before
    ended = past.times[np.maximum(starts - 1, 0)]
    days = np.where(new_user, 0, np.maximum(past.times[starts] - ended, 0) / _DAY)
    return {
        "sessions": past.of_session(_log1p(earlier)),
        "purchases": past.of_session(_log1p(purchases)),
        "days": past.of_session(_log1p(days)),
        "first": past.of_session(new_user.astype(np.float32)),
    }


def _price(past: _Past) -> _Columns:
    if "price" not in past.log:
        past.lacks("price", "records no prices")
        return {}
    price = past.log["price"].to_numpy(np.float32)
    seen = price > 0
    last = past.last(seen)
    logs = np.where(seen, np.log1p(np.where(seen, price, 0)), np.float32(0))
    times = past.so_far(seen)
    mean = (past.so_far(logs) / np.maximum(times, 1)).astype(np.float32)
    now = np.where(last >= 0, logs[last], np.float32(0))
    made: _Columns = {
        "log": now,
        "mean": mean,
        "above_mean": now - mean,
        "none": (last < 0).astype(np.float32),
    }
    if past.names("category_id"):
        made["category"] = _named(past.log["category_id"].astype("category"), last)
    return made


def _counts(past: _Past) -> _Columns:
    made: _Columns = {"events": _log1p(past.rows - past.first + 1)}
    if past.few_kinds("counts: kinds"):
        for code, name in _columns_of(past.kinds):
            made[name] = _log1p(past.so_far(past.kind == code))
    for column, name in (("item_id", "items"), ("category_id", "categories")):
        if not past.names(column):
            past.lacks(f"counts: {name}", f"records no {name}")
            continue
        codes = past.log[column].astype("category").cat.codes.to_numpy(np.int64)
        before = past.occurrence(codes)
        made[f"distinct_{name}"] = _log1p(past.so_far((codes >= 0) & (before == 0)))
        if name == "items":
            made["same_item"] = _log1p(before)
    units = past.cart()
    if units is not None:
        made["in_cart"] = _log1p(units)
    return made


def _recency(past: _Past) -> _Columns:
    if not past.few_kinds("recency"):
        return {}
    gaps = past.tells("recency: seconds", ("time", "session"), "the seconds between events")
    made: _Columns = {}
    for code, name in _columns_of(past.kinds):
        last = past.last(past.kind == code)
        never = last < 0
        since = np.where(never, past.rows, last)
        made[f"events_{name}"] = _log1p(past.rows - since)
        if gaps:
            made[f"seconds_{name}"] = _log1p(past.seconds_since(since))
        made[f"never_{name}"] = never.astype(np.float32)
    return made


def _dwell(past: _Past) -> _Columns:
    if not past.tells("dwell", ("time", "session"), "the seconds between events"):
        return {}
    place = past.rows - past.first
    whole = past.seconds_since(past.first)
    return {
        "last": _log1p(past.seconds_since(np.maximum(past.rows - 1, past.first))),
        "mean": _log1p(whole / np.maximum(place, 1).astype(np.float32)),
        "session": _log1p(whole),
    }


def _crosses(past: _Past) -> _Columns:
    if len(past.kinds) < 2 or not past.few_kinds("crosses"):
        past.left_out.setdefault(
            "crosses", f"crosses: log {past.dataset!r} knows one kind of event only."
        )
        return {}
    before = np.full(past.n, len(past.kinds), dtype=np.int16)
    before[1:] = past.kind[:-1]
    before[past.starts] = len(past.kinds)
    made: _Columns = {"pair": _crossed([*past.kinds, "start"], before, past.kinds, past.kind)}
    units = past.cart()
    if units is None:
        past.lacks("crosses: cart", "knows no carts")
    else:
        state = np.minimum(units, len(_CART_STATES) - 1)
        made["cart"] = _crossed(past.kinds, past.kind, [f"cart {s}" for s in _CART_STATES], state)
    if past.tells("crosses: hour", ("time",), "the time of day"):
        part = past.times // (360 * _MINUTE) % len(_PARTS_OF_DAY)
        made["hour"] = _crossed(list(_PARTS_OF_DAY), part, past.kinds, past.kind)
    return made


def _crossed(
    names: list[str], codes: np.ndarray, others: list[str], other: np.ndarray
) -> pd.Categorical:
    """Cross two columns: a category for each pair of values."""
    pairs = [f"{a}, {b}" for a in names for b in others]
    return _category(codes.astype(np.int16) * len(others) + other.astype(np.int16), pairs)


def _paths(past: _Past) -> _Columns:
    column = next((name for name in _SPLIT_COLUMNS if past.names(name)), None)
    if column is None:
        past.lacks("paths", "records no categories")
        return {}
    category = past.log[column].astype("category")
    codes = category.cat.codes.to_numpy(np.int64)
    last = past.last(codes >= 0)
    shown = np.where(last >= 0, codes[last], -1)
    before = np.full(past.n, -1)
    before[1:] = shown[:-1]
    before[past.starts] = -1
    made: _Columns = {}
    for level, names in path_levels(category.cat.categories).items():
        code, known = pd.factorize(names.to_numpy(object))
        here = np.append(code, -1)[shown]
        there = np.append(code, -1)[before]
        made[f"level_{level}"] = _category(here + 1, [NOTHING, *known])
        made[f"changes_{level}"] = _log1p(past.so_far((here != there) & (there >= 0)))
    return made


def path_levels(categories: pd.Index, separator: str = ".") -> pd.DataFrame:
    """Split category paths into levels. Derived in lesson 03.

    Args:
        categories: Names such as ``"home.kitchen.pans"``, [categories]; a name without a
            separator is flat, and its level 1 is the name itself.
        separator: What stands between the levels.

    Returns:
        One row a category and one column a level (1, 2, ...): the path down to that level. A
        path that ends above a level stands there as it is, so no level is ever missing.
    """
    parts = [str(name).split(separator) for name in categories]
    depth = max((len(part) for part in parts), default=1)
    levels = {
        level: [separator.join(part[:level]) for part in parts] for level in range(1, depth + 1)
    }
    return pd.DataFrame(levels, index=categories, columns=range(1, depth + 1), dtype=object)


def _columns_of(kinds: list[str]) -> Iterable[tuple[int, str]]:
    """Code and column name of each kind of event."""
    for code, kind in enumerate(kinds):
        yield code, re.sub(r"\W+", "_", kind)


def _named(column: pd.Series, row: np.ndarray) -> pd.Categorical:
    """The column's value at `row`, and `NOTHING` where row is -1 or the value is missing."""
    codes = column.cat.codes.to_numpy(np.int64)
    here = np.where(row >= 0, codes[row], -1)
    return _category(here + 1, [NOTHING, *(str(name) for name in column.cat.categories)])


def _category(codes: np.ndarray, names: list[str]) -> pd.Categorical:
    kind = np.int16 if len(names) < np.iinfo(np.int16).max else np.int32
    dtype = pd.CategoricalDtype(pd.Index(names, dtype=object).astype("str"))
    return pd.Categorical.from_codes(codes.astype(kind), dtype=dtype, validate=False)


def _log1p(values: np.ndarray) -> np.ndarray:
    """log(1 + values) as float32; whole numbers are looked up."""
    if values.dtype.kind == "i":
        most = int(values.max(initial=0))
        if most <= 1_000_000:
            return np.log1p(np.arange(most + 1)).astype(np.float32)[values]
    return np.log1p(values.astype(np.float32))


_MAKERS: dict[str, Callable[[_Past], _Columns]] = {
    "time": _time,
    "history": _history,
    "price": _price,
    "counts": _counts,
    "recency": _recency,
    "dwell": _dwell,
    "crosses": _crosses,
    "paths": _paths,
}
