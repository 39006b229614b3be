"""Cleaning: from what a shop recorded to a log that can be trusted (lesson 01).

Cleaning is a list of rules. A rule looks at the raw log and returns one truth value a row, in
file order; what happens then is the rule's action: the row is set aside, a value in it is
repaired, or it is only reported. Nothing is dropped: every raw row ends up either in the log or
in the quarantine, and says there which row of the file it was and why it stands there.

Every rule is a handful of array operations over integer codes, linear in the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from course_lib.errors import CourseError, unknown_name
from course_lib.events import REQUIRED

SECOND = 1_000_000  # timestamps are counted in microseconds
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
MISSING = np.iinfo(np.int64).min  # what a missing time is in microseconds
EARLIEST = pd.Timestamp("1990-01-01", tz="UTC")
"""No online shop is older; an earlier date is a clock that was reset."""

Values = np.ndarray | pd.api.extensions.ExtensionArray
QUARANTINE, REPAIR, REPORT = "set aside", "repaired", "kept"


class NotApplicable(Exception):
    """A rule cannot be asked of this log; its text says, in words, what the log lacks."""


class Rows:
    """A raw log, read once for all rules: integer codes and times, in file order.

    Attributes:
        raw: The raw log.
        set_aside: bool, one a row: quarantined by a rule that ran before.
    """

    def __init__(self, raw: pd.DataFrame) -> None:
        missing = [column for column in REQUIRED if column not in raw]
        if missing:
            raise CourseError(
                f"This raw log has no column {missing[0]!r}; it needs {', '.join(REQUIRED)}."
            )
        self.raw = raw
        self.clock = raw.attrs.get("clock", "time")
        self.set_aside = np.zeros(len(raw), dtype=bool)
        self._coded: dict[str, tuple[np.ndarray, pd.Index]] = {}

    def __len__(self) -> int:
        return len(self.raw)

    def need(self, *columns: str) -> None:
        """Raise `NotApplicable` unless the log has all these columns."""
        for column in columns:
            if column not in self.raw or self.raw[column].isna().all():
                raise NotApplicable(f"the log records no {column}")

    def coded(self, column: str) -> tuple[np.ndarray, pd.Index]:
        """The column as integers into an index of its values; -1 where it is missing."""
        if column not in self._coded:
            values = self.raw[column]
            if isinstance(values.dtype, pd.CategoricalDtype):
                self._coded[column] = values.cat.codes.to_numpy(), values.cat.categories
            else:
                codes, known = pd.factorize(values)
                self._coded[column] = codes, pd.Index(known)
        return self._coded[column]

    def codes(self, column: str) -> np.ndarray:
        """Integers that are equal where the column is equal; -1 where it is missing."""
        return self.coded(column)[0]

    def microseconds(self, column: str) -> np.ndarray:
        """A time column as int64 microseconds since 1970; the smallest int64 where missing."""
        return _microseconds(self.raw[column])

    @cached_property
    def time(self) -> np.ndarray:
        """`timestamp` in microseconds."""
        return self.microseconds("timestamp")

    @cached_property
    def user(self) -> np.ndarray:
        """The rank of each row's user among all users, -1 where the user is missing."""
        codes, users = pd.factorize(self.raw["user_id"])
        users = users.astype(str) if users.dtype == object else users
        rank = np.empty(len(users) + 1, dtype=np.int64)
        rank[np.argsort(np.asarray(users), kind="stable")] = np.arange(len(users))
        rank[-1] = -1  # where factorize's -1 looks
        return rank[codes]

    @cached_property
    def order(self) -> np.ndarray:
        """File rows sorted by user and time; ties stay in file order."""
        by_time = np.argsort(self.time, kind="stable")
        return stable_order(self.user + 1, by_time)

    @cached_property
    def price(self) -> np.ndarray:
        """`price` as float32, NaN where missing."""
        return self.raw["price"].to_numpy("float32", na_value=np.nan)

    def in_order(self) -> np.ndarray:
        """`order` without the rows that are set aside already."""
        return self.order[~self.set_aside[self.order]]


def _microseconds(times: pd.Series) -> np.ndarray:
    if not isinstance(times.dtype, pd.DatetimeTZDtype):
        raise CourseError(
            f"Column {times.name!r} of this raw log holds {times.dtype}, not UTC timestamps; "
            "read it with pd.to_datetime(..., utc=True)."
        )
    plain = times.dt.tz_convert("UTC").dt.tz_localize(None).dt.as_unit("us")
    return plain.to_numpy("datetime64[us]").view("int64")


def stable_order(codes: np.ndarray, order: np.ndarray | None = None) -> np.ndarray:
    """Rows sorted by small non-negative integers, stably, in linear time.

    numpy sorts 16-bit integers by radix; larger codes take one pass for every 16 bits.

    Args:
        codes: Integers >= 0, shape (rows,).
        order: An order to start from, whose sequence decides between equal codes.
    """
    largest = int(codes.max(initial=0))
    order = np.arange(len(codes)) if order is None else order
    for shift in range(0, max(largest.bit_length(), 1), 16):
        digits = ((codes >> shift) & 0xFFFF).astype(np.uint16)
        order = order[np.argsort(digits[order], kind="stable")]
    return order


def _runs(*keys: np.ndarray) -> np.ndarray:
    """True where a row differs from the row before it in any key; the first row always."""
    starts = np.ones(len(keys[0]), dtype=bool)
    starts[1:] = False
    for key in keys:
        starts[1:] |= key[1:] != key[:-1]
    return starts


def _mask(rows: Rows, hits: np.ndarray) -> np.ndarray:
    """A truth value for every row of the file from the file rows that were hit."""
    mask = np.zeros(len(rows), dtype=bool)
    mask[hits] = True
    return mask


# ----------------------------------------------------------------- rows without an event


def missing_user(rows: Rows) -> np.ndarray:
    """Nobody acted: the row belongs to no sequence."""
    return rows.user < 0


def missing_time(rows: Rows) -> np.ndarray:
    """No time: the row has no place in a sequence."""
    return rows.raw["timestamp"].isna().to_numpy()


def missing_event(rows: Rows) -> np.ndarray:
    """Nothing is said to have happened."""
    return rows.raw["event"].isna().to_numpy()


def cut_off_row(rows: Rows) -> np.ndarray:
    """A shop that records sessions left this row without one: the line was cut off.

    What stands before the cut may be cut as well (a user id short of its last digit), so the
    whole row is set aside.
    """
    rows.need("session_id")
    return rows.raw["session_id"].isna().to_numpy()


# ------------------------------------------------------------------------- duplicates


def exact_duplicates(rows: Rows) -> np.ndarray:
    """Copies of an earlier row, equal in every column but the time of receipt.

    Only rows that share user and time with a neighbour can be copies, so only those are
    compared. Without clock times two equal rows may be two events: then nothing is said.
    """
    _need_clock_times(rows)
    order = rows.order
    starts = _runs(rows.user[order], rows.time[order])
    shared = ~starts
    shared[:-1] |= ~starts[1:]
    candidates = np.sort(order[shared])
    twins = rows.raw.drop(columns="received_at", errors="ignore").iloc[candidates]
    return _mask(rows, candidates[twins.duplicated().to_numpy()])


def double_fires(rows: Rows, within: float = 1.0) -> np.ndarray:
    """The same user, event and item again within a second of the row before it.

    One click, recorded twice. Timestamps to the minute cannot tell it from two clicks.

    Args:
        rows: The raw log.
        within: Seconds.
    """
    _need_clock_times(rows)
    if not np.any(rows.time % MINUTE):
        raise NotApplicable("timestamps to the minute do not tell one click from two")
    order = rows.order
    user, time = rows.user[order], rows.time[order]
    soon = (np.diff(time) <= within * SECOND) & (user[1:] == user[:-1]) & (user[1:] >= 0)
    near = np.flatnonzero(soon & (time[1:] != MISSING)) + 1
    for column in ("event", "item_id"):
        codes = rows.codes(column)
        near = near[codes[order[near]] == codes[order[near - 1]]]
    return _mask(rows, order[near])


def _need_clock_times(rows: Rows) -> None:
    if rows.clock != "time":
        raise NotApplicable("without clock times two equal rows may be two events")


# ----------------------------------------------------------------------------- clocks


def clock_reset(rows: Rows) -> np.ndarray:
    """A date before there were online shops: the device's clock fell back to its first day."""
    if rows.clock not in ("time", "day"):
        raise NotApplicable("the log has no dates")
    return (rows.time < _instant(EARLIEST)) & ~missing_time(rows)


def clock_ahead(rows: Rows, tolerance: str = "5min") -> np.ndarray:
    """Stamped later than it was received: the device's clock ran ahead.

    With ``received_at`` that is one comparison. Without it the file itself is a clock, if it
    was written as the rows came in: a row that is later than the rows far below it is ahead.

    Args:
        rows: The raw log.
        tolerance: How far ahead an honest clock may be.
    """
    _need_dates_to_the_second(rows)
    allowance = pd.Timedelta(tolerance) // pd.Timedelta("1us")
    if "received_at" in rows.raw and rows.raw["received_at"].notna().any():
        received = rows.microseconds("received_at")
        ahead = rows.time > received + allowance
        return ahead & rows.raw["received_at"].notna().to_numpy()
    return rows.time > receipt_by_neighbours(rows) + max(allowance, HOUR)


def receipt_by_neighbours(rows: Rows, block: int = 101, ahead: int = 5) -> np.ndarray:
    """When a row must have arrived at the latest, told by the rows below it in the file.

    The file is cut into blocks. Rows of later blocks were received later, and a few strange
    clocks cannot move a median; the latest of several medians is not moved by a bulk upload of
    old rows either.

    Args:
        rows: The raw log.
        block: Rows a block.
        ahead: How many following blocks to look at.

    Returns:
        int64 microseconds, shape (rows,); far in the future for the rows of the last block.

    Raises:
        NotApplicable: If the file is not in the order of receipt.
    """
    time = rows.time
    whole = len(time) // block
    limit = np.full(len(time), np.iinfo(np.int64).max // 2)
    if whole < 2:
        return limit
    medians = np.median(time[: whole * block].reshape(whole, block), axis=1).astype(np.int64)
    if np.mean(np.diff(medians) < 0) > 0.05:
        raise NotApplicable("no received_at, and the file is not in the order of receipt")
    latest = medians[1:].copy()
    for step in range(2, ahead + 1):
        np.maximum(latest[: 1 - step], medians[step:], out=latest[: 1 - step])
    limit[: len(latest) * block] = np.repeat(latest, block)
    return limit


def late(rows: Rows, after: str = "1min") -> np.ndarray:
    """Received long after it happened, or filed below a later row of the same user.

    Sorting puts such rows where they belong; a pipeline that trusts the order of the file
    does not.

    Args:
        rows: The raw log.
        after: The longest delay that is no news.
    """
    _need_dates_to_the_second(rows)
    if "received_at" in rows.raw and rows.raw["received_at"].notna().any():
        delay = rows.microseconds("received_at") - rows.time
        waited = delay > pd.Timedelta(after) // pd.Timedelta("1us")
        known = ~missing_time(rows) & rows.raw["received_at"].notna().to_numpy()
        return waited & known & ~clock_reset(rows)
    order = rows.in_order()
    behind = _runs(rows.user[order])
    behind[1:] |= order[1:] > order[:-1]
    return _mask(rows, order[~behind])


def _need_dates_to_the_second(rows: Rows) -> None:
    if rows.clock != "time":
        raise NotApplicable("the log has no clock times")


def _instant(stamp: pd.Timestamp) -> int:
    return int(stamp.timestamp() * SECOND)


# ------------------------------------------------------------------------------- bots

BROWSING = ("view", "search")
ENOUGH_GAPS = 20  # fewer gaps do not tell how regular a visitor is


@dataclass(frozen=True)
class BotLimits:
    """What no person does. A user must be past `events` and one of the other limits.

    Attributes:
        events: Fewer events than this say too little.
        acts: The largest share of events that are neither a view nor a search.
        regular: The largest spread (standard deviation) of log seconds between events.
        hours: The smallest number of different hours of the day.
    """

    events: int = 60
    acts: float = 0.01
    regular: float = 0.5
    hours: int = 20


def visitor_table(rows: Rows, pause: str = "30min") -> pd.DataFrame:
    """One row a user: events, acts (share), spread (of log gaps), hours (distinct).

    Rows set aside so far do not count. Gaps longer than `pause` are absences, no gaps; the
    spread is missing where there are fewer than `ENOUGH_GAPS`.

    Args:
        rows: The raw log.
        pause: The longest silence within a visit.
    """
    order = rows.in_order()
    user, time = rows.user[order], rows.time[order]
    first = np.flatnonzero(_runs(user))
    ordinal = np.cumsum(_runs(user)) - 1
    count = np.diff(first, append=len(user))
    event, names = rows.coded("event")
    acts = ~np.append(names.isin(BROWSING), True)[event[order]]
    gap = np.diff(time, prepend=time[:1]).astype(np.float32) / SECOND
    within = ~_runs(user) & (gap <= pd.Timedelta(pause).total_seconds())
    log_gap = np.log(np.maximum(gap[within], 0.5))
    gaps = np.bincount(ordinal[within], minlength=len(first))
    mean = np.bincount(ordinal[within], log_gap, len(first)) / np.maximum(gaps, 1)
    square = np.bincount(ordinal[within], log_gap**2, len(first)) / np.maximum(gaps, 1)
    hour = np.left_shift(1, (time // HOUR) % 24)
    seen = np.bitwise_or.reduceat(hour, first) if len(first) else hour
    return pd.DataFrame(
        {
            "user": user[first],
            "events": count,
            "acts": np.bincount(ordinal[acts], minlength=len(first)) / count,
            "spread": np.where(
                gaps >= ENOUGH_GAPS, np.sqrt(np.maximum(square - mean**2, 0)), np.nan
            ),
            "hours": np.bitwise_count(seen),
        }
    )


def bots(rows: Rows, limits: BotLimits | None = None) -> np.ndarray:
    """All rows of users who behave as no person does: see `BotLimits`."""
    limits = limits or BotLimits()
    _need_dates_to_the_second(rows)
    event, names = rows.coded("event")
    present = set(names[np.unique(event[event >= 0])])
    if "view" not in present or present <= set(BROWSING):
        raise NotApplicable("telling bots from people needs views and carts or purchases")
    table = visitor_table(rows)
    strange = (table["spread"] < limits.regular) | (table["hours"] >= limits.hours)
    guilty = (table["events"] >= limits.events) & (table["acts"] <= limits.acts) & strange
    named = np.zeros(int(rows.user.max(initial=-1)) + 2, dtype=bool)
    named[table["user"][guilty]] = True
    return named[rows.user]


# --------------------------------------------------------------------------- invoices


def no_product(rows: Rows) -> np.ndarray:
    """Invoice lines that sell no product: postage, fees, adjustments, vouchers.

    In a catalogue whose codes begin with a digit, these begin with a letter.
    """
    rows.need("invoice", "item_id")
    codes, items = rows.coded("item_id")
    digit = items.astype(str).str[:1].str.isdigit()
    letter = np.append(~np.asarray(digit, dtype=bool), False)
    lines = letter[codes]
    if lines.mean() > 0.05:
        raise NotApplicable("item codes have no common shape")
    return lines


def cancellation(rows: Rows) -> np.ndarray:
    """Invoice lines that undo a purchase (invoice numbers ``C...``): no step of a visit."""
    rows.need("invoice")
    codes, invoices = rows.coded("invoice")
    undone = invoices.astype(str).str.startswith("C")
    return np.append(np.asarray(undone, dtype=bool), False)[codes]


# ----------------------------------------------------------------------------- values


def missing_price(rows: Rows) -> np.ndarray:
    """An event on an item, without its price."""
    rows.need("price")
    return np.isnan(rows.price) & (rows.codes("item_id") >= 0)


def item_medians(rows: Rows) -> np.ndarray:
    """For each row the median of its item's positive prices, over all rows, float64.

    NaN for rows without an item and for items without a price.
    """
    items = rows.codes("item_id")
    usable = np.flatnonzero((rows.price > 0) & (items >= 0))
    item, price = items[usable].astype(np.int64), rows.price[usable]
    # Positive float32 sort as their bits do, so a radix sort serves.
    order = stable_order(item, stable_order(price.view(np.uint32)))
    count = np.bincount(item, minlength=int(items.max(initial=-1)) + 1)
    has, first = count > 0, np.cumsum(count) - count
    lower, upper = (price[order[(first + half)[has]]] for half in ((count - 1) // 2, count // 2))
    median = np.full(len(count) + 1, np.nan)
    median[:-1][has] = (lower.astype(np.float64) + upper) / 2
    return median[items]


def absurd_prices(rows: Rows, factor: float = 5.0) -> np.ndarray:
    """Prices that are not positive, or more than `factor` times off the item's own median.

    Args:
        rows: The raw log.
        factor: How far a promotion or a price rise may take a price.
    """
    rows.need("price")
    price, median = rows.price, item_medians(rows)
    with np.errstate(invalid="ignore"):
        far = (price > factor * median) | (price * factor < median)
    return (price <= 0) | far


def _forget_prices(rows: Rows, mask: np.ndarray) -> dict[str, Values]:
    price = rows.price.copy()
    price[mask] = np.nan
    return {"price": price}


@dataclass(frozen=True)
class _Titles:
    """Every pair (item, title) of a log: `pair` of each row, and for each pair the rest."""

    pair: np.ndarray
    item: np.ndarray
    text: np.ndarray
    usual: np.ndarray  # the pair of the title that most rows of the item carry
    row: np.ndarray  # a file row that has it


def _titles(rows: Rows) -> _Titles:
    item, title = rows.codes("item_id").astype(np.int64), rows.codes("title")
    wide = int(title.max(initial=-1)) + 1
    pair, keys = pd.factorize(np.where((item >= 0) & (title >= 0), item * wide + title, -1))
    row = np.zeros(len(keys), dtype=np.int64)
    row[pair[::-1]] = np.arange(len(rows))[::-1]
    of = np.where(keys < 0, -1, keys // max(wide, 1))
    usual = np.arange(len(keys))
    ranked = np.lexsort((-row, np.bincount(pair, minlength=len(keys)), of))
    last = np.flatnonzero(np.append(of[ranked][1:] != of[ranked][:-1], True))
    usual[ranked] = np.repeat(ranked[last], np.diff(last, prepend=-1))
    text = np.asarray(rows.raw["title"].array[row].astype(object))
    return _Titles(pair, of, text, usual, row)


def truncated_titles(rows: Rows) -> np.ndarray:
    """Titles that are only the beginning of the title that the item has on most other rows."""
    rows.need("title", "item_id")
    titles = _titles(rows)
    cut = [
        known >= 0 and len(text) < len(whole) and whole.startswith(text)
        for known, text, whole in zip(
            titles.item, titles.text, titles.text[titles.usual], strict=True
        )
    ]
    return np.array(cut, dtype=bool)[titles.pair]


def _complete(rows: Rows, mask: np.ndarray) -> dict[str, Values]:
    """Title, brand and category of the marked rows, as the item's other rows have them."""
    titles = _titles(rows)
    hits = np.flatnonzero(mask)
    repaired = {"title": _copied(rows, "title", hits, titles.row[titles.usual[titles.pair[hits]]])}
    items = rows.codes("item_id")
    for column in ("brand", "category_id"):
        if column not in rows.raw or not (lost := hits[rows.codes(column)[hits] < 0]).size:
            continue
        donors = np.flatnonzero(rows.codes(column) >= 0)[::-1]
        source = np.full(int(items.max(initial=-1)) + 2, -1)
        source[items[donors]] = donors
        lost = lost[source[items[lost]] >= 0]
        repaired[column] = _copied(rows, column, lost, source[items[lost]])
    return repaired


def _copied(rows: Rows, column: str, to: np.ndarray, source: np.ndarray) -> Values:
    values = rows.raw[column].array.copy()
    values[to] = values[source]
    return values


# -------------------------------------------------------------------------- the rules


@dataclass(frozen=True)
class Rule:
    """One kind of dirt.

    Attributes:
        name: What the report and the quarantine call it.
        find: From `Rows` to one truth value a row, in file order; it raises `NotApplicable`
            where the log cannot tell.
        action: `QUARANTINE` (the row is set aside), `REPAIR` or `REPORT` (the row stays).
        repair: For `REPAIR`: from the rows and the mask to whole new columns, in file order.
            Where two rules repair one column, the later one's stands.
    """

    name: str
    find: Callable[[Rows], np.ndarray]
    action: str = QUARANTINE
    repair: Callable[[Rows, np.ndarray], dict[str, Values]] | None = None

    @property
    def why(self) -> str:
        """The first line of the documentation of `find`."""
        return (self.find.__doc__ or "").strip().split("\n")[0]


RULES: tuple[Rule, ...] = (
    Rule("missing user", missing_user),
    Rule("missing time", missing_time),
    Rule("missing event", missing_event),
    Rule("cut-off row", cut_off_row),
    Rule("exact duplicate", exact_duplicates),
    Rule("double fire", double_fires),
    Rule("clock reset", clock_reset),
    Rule("clock ahead", clock_ahead),
    Rule("no product", no_product),
    Rule("cancellation", cancellation),
    Rule("bot", bots),
    Rule("absurd price", absurd_prices, REPAIR, _forget_prices),
    Rule("missing price", missing_price, REPORT),
    Rule("truncated title", truncated_titles, REPAIR, _complete),
    Rule("late", late, REPORT),
)
"""The default rules, in order: a row that several rules would set aside carries the first."""


@dataclass(frozen=True)
class Cleaned:
    """What cleaning made of a raw log.

    Attributes:
        log: The rows to trust: valid, sorted by user and time, values repaired;
            ``source_row`` is the row of the raw log.
        quarantine: The raw rows set aside, in file order, with ``reason`` (the first rule that
            set the row aside) and ``source_row``.
        report: One row a rule: action, rows found, rows set aside, why.
        flags: One bool column a rule, one row a raw row: everything a rule found, whether or
            not another rule came first.
    """

    log: pd.DataFrame
    quarantine: pd.DataFrame
    report: pd.DataFrame
    flags: pd.DataFrame
    _rows: Rows = field(repr=False)

    @property
    def read(self) -> int:
        """How many raw rows there were: always ``len(log) + len(quarantine)``."""
        return len(self.flags)

    @cached_property
    def findings(self) -> pd.DataFrame:
        """What was found in the log, also where nothing was done: see `survey`."""
        return survey(self._rows, self.report)


def clean(raw: pd.DataFrame, rules: Iterable[Rule | str] | None = None) -> Cleaned:
    """Clean a raw event log. Derived rule by rule in lesson 01.

    Args:
        raw: A raw log: the columns of `course_lib.events.COLUMNS`, anything in them.
        rules: Rules, or names of rules of `RULES`, in the order in which they run; all of
            `RULES` by default. A rule that the log cannot answer is skipped, and the report
            says why.

    Returns:
        The log, the quarantine and the report. Every raw row is in exactly one of the first two.

    Raises:
        CourseError: If a required column is missing, a rule is unknown, or a row without user,
            time or event would get into the log because its rule was left out.
    """
    rows = Rows(raw)
    flags, lines, repaired = {}, [], {}
    reason = np.full(len(raw), -1, dtype=np.int8)
    chosen = [_rule(rule) for rule in (RULES if rules is None else rules)]
    for number, rule in enumerate(chosen):
        action, why = rule.action, rule.why
        try:
            mask = rule.find(rows)
        except NotApplicable as lack:
            mask, action, why = np.zeros(len(raw), dtype=bool), "not looked for", str(lack)
        flags[rule.name], found = mask, int(np.count_nonzero(mask))
        fresh = 0
        if found and rule.action == QUARANTINE:
            new = mask & ~rows.set_aside
            reason[new] = number
            rows.set_aside |= new
            fresh = int(np.count_nonzero(new))
        elif found and rule.action == REPAIR:
            repaired |= rule.repair(rows, mask)
        lines.append((rule.name, action, found, fresh, why))
    report = pd.DataFrame(lines, columns=["rule", "action", "rows", "set_aside", "why"])
    log = _build_log(rows, repaired)
    quarantine = _build_quarantine(rows, reason, [rule.name for rule in chosen])
    flags = pd.DataFrame(flags, index=raw.index, copy=False)
    return Cleaned(log, quarantine, report.set_index("rule"), flags, rows)


def _rule(rule: Rule | str) -> Rule:
    if isinstance(rule, Rule):
        return rule
    known = {known.name: known for known in RULES}
    if rule not in known:
        raise unknown_name("cleaning rule", rule, known)
    return known[rule]


def _build_log(rows: Rows, repaired: dict[str, Values]) -> pd.DataFrame:
    kept = rows.in_order()
    for find in (missing_user, missing_time, missing_event):
        if find(rows)[kept].any():
            name = find.__name__.replace("_", " ")
            raise CourseError(f"Some rows have {name.replace('missing', 'no')}; add rule {name!r}.")
    columns = {}
    for name in rows.raw.columns:
        values = repaired.get(name, rows.raw[name].array)[kept]
        if name in ("user_id", "session_id", "visit_id"):
            values = _plain_ids(values)
        elif name in ("event", "item_id", "category_id", "brand"):
            values = pd.Categorical(values)
        elif name == "price":
            values = np.asarray(values, dtype="float32")
        elif name == "timestamp":
            values = values.as_unit("us")
        columns[name] = values
    log = pd.DataFrame(columns | {"source_row": kept}, copy=False)
    log.attrs.update(rows.raw.attrs)
    return log


def _plain_ids(ids: Values) -> Values:
    """Ids as int64 where all are whole numbers, else as text."""
    series = pd.Series(ids)
    if pd.api.types.is_integer_dtype(series):
        return series.astype("int64").array
    if pd.api.types.is_float_dtype(series) and (series % 1 == 0).all():
        return series.astype("int64").array
    return series.astype("str").array


def _build_quarantine(rows: Rows, reason: np.ndarray, names: list[str]) -> pd.DataFrame:
    aside = np.flatnonzero(reason >= 0)
    quarantine = rows.raw.iloc[aside].reset_index(drop=True)
    quarantine["reason"] = pd.Categorical.from_codes(reason[aside], categories=names)
    quarantine["source_row"] = aside
    return quarantine


# ---------------------------------------------------------------------------- findings


def survey(rows: Rows, report: pd.DataFrame) -> pd.DataFrame:
    """Everything worth knowing about a raw log before it is used, found rows and kept quirks.

    Args:
        rows: The raw log.
        report: The report of `clean`.

    Returns:
        One finding a row: what, count, of (rows, items, sessions, ...), action.
    """
    found = report[report["rows"] > 0]
    lines = [(name, line["rows"], "rows", line["action"]) for name, line in found.iterrows()]
    for look in (_gaps_in_columns, _number_findings, _item_findings, _session_findings, _silence):
        for what, count, of in look(rows):
            part_of = "absurd price" if what.startswith("price") else None
            action = found["action"].get(part_of, REPORT)
            lines += [(what, int(count), of, action)] * bool(count)
    return pd.DataFrame(lines, columns=["what", "count", "of", "action"])


def _gaps_in_columns(rows: Rows) -> list[tuple[str, int, str]]:
    raw = rows.raw
    watched = ("item_id", "category_id", "category_path", "brand", "title")
    return [(f"{name} missing", raw[name].isna().sum(), "rows") for name in watched if name in raw]


def _number_findings(rows: Rows) -> list[tuple[str, int, str]]:
    raw, lines = rows.raw, []
    if "price" in raw:
        lines += [("price zero", (rows.price == 0).sum(), "rows")]
        lines += [("price negative", (rows.price < 0).sum(), "rows")]
    if "quantity" in raw:
        quantity = raw["quantity"].to_numpy("float64", na_value=np.nan)
        lines += [("quantity negative", (quantity < 0).sum(), "rows")]
        lines += [("quantity of 10,000 or more, either sign", (abs(quantity) >= 1e4).sum(), "rows")]
        if "invoice" in raw:
            stray = (quantity < 0) & ~cancellation(rows)
            lines += [("quantity negative, on no cancellation", stray.sum(), "rows")]
    return lines


def _item_findings(rows: Rows) -> list[tuple[str, int, str]]:
    lines = []
    for column, what in (("title", "titles"), ("category_id", "categories")):
        if column in rows.raw:
            item, other = rows.codes("item_id"), rows.codes(column)
            pairs = pd.DataFrame({"item": item, "other": other})[(item >= 0) & (other >= 0)]
            several = pairs.drop_duplicates()["item"].duplicated(keep=False)
            lines.append(
                (f"several {what}", pairs.loc[several[several].index, "item"].nunique(), "items")
            )
    order = rows.in_order()
    group, item = rows.user[order], rows.codes("item_id")[order]
    again = (group[1:] == group[:-1]) & (item[1:] == item[:-1]) & (item[1:] >= 0)
    return [*lines, ("same item as in the user's event before", again.sum(), "rows")]


def _session_findings(rows: Rows) -> list[tuple[str, int, str]]:
    raw = rows.raw
    if "session_id" not in raw:
        return []
    session, event = rows.codes("session_id"), raw["event"].astype("str")
    pairs = pd.DataFrame({"session": session, "user": rows.user})[session >= 0].drop_duplicates()
    shared = pairs["session"].value_counts() > 1
    lines = [("session id of several users", shared.sum(), "sessions")]
    bought = np.unique(session[(event == "purchase") & (session >= 0)])
    filled = np.unique(session[(event == "cart") & (session >= 0)])
    if len(filled):
        lines += [("purchase without a cart", len(np.setdiff1d(bought, filled)), "sessions")]
    length = np.bincount(session[session >= 0])
    return [*lines, ("session of more than 100 events", (length > 100).sum(), "sessions")]


def _silence(rows: Rows) -> list[tuple[str, int, str]]:
    """Hours with less than a fifth of the events of either hour around them, both busy."""
    if rows.clock != "time":
        return []
    hour = np.sort(rows.time[~rows.set_aside] // HOUR)
    if not len(hour):
        return []
    count = np.bincount(hour - hour[0])
    around = np.minimum(np.append(count[1:], 0), np.append(0, count[:-1]))
    silent = (count < 0.2 * around) & (around >= 500)
    return [("hour almost without events (gap in the recording?)", silent.sum(), "hours")]


# ------------------------------------------------------------------------------ score

KINDS: dict[str, tuple[str, ...]] = {
    "duplicate": ("exact duplicate", "double fire"),
    "bot": ("bot",),
    "clock": ("clock reset", "clock ahead"),
    "absurd_price": ("absurd price",),
    "missing_price": ("missing price",),
    "truncated": ("truncated title",),
    "late": ("late",),
}
"""Which rules look for which kind of ShopWorld's dirt."""


def score_cleaning(cleaned: Cleaned, truth: pd.DataFrame) -> pd.DataFrame:
    """Score each kind of dirt against ShopWorld's truth.

    Args:
        cleaned: What `clean` made of ``simulate(...).raw``.
        truth: ``simulate(...).truth``: one bool column a kind of dirt.

    Returns:
        One row a kind: dirty (rows that are), found (rows said to be), precision, recall, f1.

    Raises:
        CourseError: If the truth belongs to another log.
    """
    if len(truth) != cleaned.read:
        raise CourseError(
            f"This truth has {len(truth)} rows and the raw log had {cleaned.read}; take both "
            "from the same simulation."
        )
    lines = {}
    for kind, rules in KINDS.items():
        said = cleaned.flags[[rule for rule in rules if rule in cleaned.flags]].any(axis=1)
        lines[kind] = precision_recall(said, truth[kind])
    return pd.DataFrame.from_dict(lines, orient="index")


def precision_recall(said: np.ndarray, is_so: np.ndarray) -> dict[str, float]:
    """Count and score bool arrays (or Series) against one another, position by position.

    Returns:
        dirty, found (counts), precision, recall, f1; 0 where a share has nothing to divide by.
    """
    said, is_so = np.asarray(said, dtype=bool), np.asarray(is_so, dtype=bool)
    both = int(np.count_nonzero(said & is_so))
    found, dirty = int(np.count_nonzero(said)), int(np.count_nonzero(is_so))
    precision, recall = both / found if found else 0.0, both / dirty if dirty else 0.0
    f1 = 2 * both / (found + dirty) if both else 0.0
    return {"dirty": dirty, "found": found, "precision": precision, "recall": recall, "f1": f1}
