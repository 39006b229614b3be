"""Sessions, labels and examples: what one example is, and what it may look at (lesson 02).

Everything here is aligned with the rows of a clean log: row ``i`` sees the rows of its own
session up to and including ``i``, and asks about something after ``i``. A session is one
contiguous run of rows, so every function is a few array operations, O(n) beside at most one
sort, with no Python per session.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from course_lib.errors import CourseError, unknown_name
from course_lib.events import TASKS, require_clock, require_task

LEAVE = "leave"
"""The outcome of a session's last row: nothing follows, the shopper left."""

SOURCES = ("auto", "shop", "inactivity", "user")
EXAMPLE_COLUMNS = ("row", "start", "stop", "target", "label", "decided_at")


def assign_sessions(
    log: pd.DataFrame, gap: str | pd.Timedelta = "30min", source: str = "auto"
) -> pd.DataFrame:
    """Return the log with a dense ``session_id``: 0, 1, 2, ... in row order. Derived in lesson 02.

    Args:
        log: A clean log, sorted by user and time.
        gap: The longest silence within a session; a longer one starts the next session.
        source: ``"inactivity"`` cuts a user's rows at silences longer than `gap`.
            ``"shop"`` keeps the ids that the shop recorded, taken per user (one id shared by
            two users is two sessions); sessions of one user that overlap in time become one,
            since what the person did in one window was known in the other; a row without an
            id continues the row before it unless the silence is longer than `gap`.
            ``"user"`` makes one session a user. ``"auto"`` takes the shop's where there are
            any, else inactivity where the clock tells gaps, else one session a user.

    Returns:
        A copy of the log whose ``session_id`` (int64) never decreases from row to row;
        ``attrs["sessions"]`` says how it was made.

    Raises:
        CourseError: If the source is unknown, the log has no sessions of the shop's or no
            gaps to cut at, or `gap` is no positive duration.
    """
    if source not in SOURCES:
        raise unknown_name("source of sessions", source, SOURCES)
    limit = gap_in_microseconds(gap)
    recorded = "session_id" in log and bool(log["session_id"].notna().any())
    if source == "auto":
        has_gaps = log.attrs.get("clock", "time") == "time"
        source = "shop" if recorded else "inactivity" if has_gaps else "user"
    user_changes = changes(log["user_id"])
    if source == "user":
        begins, how = user_changes, "one session a user"
    elif source == "inactivity":
        require_clock(log, "gaps", "Cutting sessions at inactivity")
        begins = user_changes | _silences(log, limit)
        how = f"cut at silences longer than {limit / 60_000_000:g} min"
    elif recorded:
        begins, how = _shop_sessions(log, user_changes, limit), "the shop's own"
    else:
        name = log.attrs.get("dataset", "this log")
        raise CourseError(
            f"Log {name!r} has no session ids of the shop's; use source='inactivity' or 'user'."
        )
    sessions = np.cumsum(begins, dtype=np.int64) - 1
    result = log.assign(session_id=sessions)
    result.attrs["sessions"] = how
    return result


def session_ids(log: pd.DataFrame) -> np.ndarray:
    """Return ``log["session_id"]`` as an int64 array, after a check that sessions are in order.

    Raises:
        CourseError: If the log has no sessions yet, or a session's rows do not stand together.
    """
    if "session_id" not in log:
        raise CourseError("This log has no sessions yet; call assign_sessions(log) first.")
    if not pd.api.types.is_integer_dtype(log["session_id"]):
        raise CourseError(
            "This log still has the shop's own session ids; call assign_sessions(log) first."
        )
    sessions = log["session_id"].to_numpy(dtype=np.int64)
    if (sessions[1:] < sessions[:-1]).any():
        row = int(np.flatnonzero(sessions[1:] < sessions[:-1])[0]) + 1
        raise CourseError(
            f"The sessions of this log are not in row order, first at row {row}; sort it with "
            "sort_log(log) and call assign_sessions(log)."
        )
    return sessions


def session_bounds(log: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each row, the first row of its session and the row after its last one.

    Returns:
        Two int64 arrays of shape (rows,): the session of row i is ``log.iloc[first[i]:stop[i]]``.
    """
    first, stop, ordinal = _bounds(session_ids(log))
    return first[ordinal], stop[ordinal]


def session_table(log: pd.DataFrame) -> pd.DataFrame:
    """Return one row a session: user_id, first (row), stop (row), start, end (times), events."""
    sessions = session_ids(log)
    first, stop, _ = _bounds(sessions)
    return pd.DataFrame(
        {
            "user_id": log["user_id"].array[first],
            "first": first,
            "stop": stop,
            "start": log["timestamp"].array[first],
            "end": log["timestamp"].array[stop - 1],
            "events": stop - first,
        },
        index=pd.Index(sessions[first], name="session_id"),
    )


def position_in_session(log: pd.DataFrame) -> np.ndarray:
    """Return each row's place in its session, counted from 0 (int64, shape (rows,))."""
    return np.arange(len(log), dtype=np.int64) - session_bounds(log)[0]


def next_event(log: pd.DataFrame) -> pd.Series:
    """Return the outcome of each row: the next row's event in the session, or `LEAVE` at its end.

    The event is ``log.attrs["event_column"]`` (default ``"event"``). Derived in lesson 02.

    Returns:
        A categorical Series with the log's index; its categories are the column's, then `LEAVE`.

    Raises:
        CourseError: If the log cannot serve `next_event`, has no sessions, or already uses
            the name `LEAVE` for an event.
    """
    require_task(log, "next_event")
    column = log[log.attrs.get("event_column", "event")].astype("category")
    known = column.cat.categories
    if LEAVE in known:
        raise CourseError(
            f"Column {column.name!r} has an event called {LEAVE!r}, which stands for the end of a "
            "session here; rename it."
        )
    codes = _shifted(log, column.cat.codes.to_numpy(dtype=np.int32), at_end=len(known))
    categories = known.append(pd.Index([LEAVE], dtype=known.dtype if _is_text(known) else object))
    return _categorical(codes, categories, log.index, "next_event")


def next_item(log: pd.DataFrame) -> pd.Series:
    """Return the item of the next row of the session, missing at the end or where it has none.

    Raises:
        CourseError: If the log cannot serve `next_item` or has no sessions.
    """
    require_task(log, "next_item")
    column = log["item_id"].astype("category")
    codes = _shifted(log, column.cat.codes.to_numpy(dtype=np.int32), at_end=-1)
    return _categorical(codes, column.cat.categories, log.index, "next_item")


def first_decision(log: pd.DataFrame) -> np.ndarray:
    """Return, for each row, the row of its session's first decision event, or -1 if it has none.

    Decision events are those that give the answer to "will this session buy?" away:
    ``log.attrs["decision_events"]``, by default the purchase itself.
    """
    decides = log["event"].isin(log.attrs.get("decision_events", ["purchase"])).to_numpy()
    first, stop, ordinal = _bounds(session_ids(log))
    after = _next_true(decides)[first]
    return np.where(after < stop, after, -1)[ordinal]


def purchase_later(log: pd.DataFrame) -> pd.Series:
    """Say for each row whether a purchase follows it in its session. Derived in lesson 02.

    From the session's first decision event on (see `first_decision`) the answer is visible, so
    there is no question: the label is missing. Where the shop recorded only per session whether
    it bought (column ``session_purchase``), that is the answer for the rows before the decision.

    Returns:
        A Series of dtype boolean with the log's index.

    Raises:
        CourseError: If the log cannot serve `purchase_intent` or has no sessions.
    """
    require_task(log, "purchase_intent")
    if "session_purchase" in log:
        buys = log["session_purchase"].to_numpy(dtype=bool)
    else:
        buys = _purchase_after(log) >= 0
    decision = first_decision(log)
    decided = (decision >= 0) & (np.arange(len(log)) >= decision)
    return pd.Series(
        pd.arrays.BooleanArray(buys, decided), index=log.index, name="purchase_later", copy=False
    )


def examples(log: pd.DataFrame, task: str, prefix: int | None = None) -> pd.DataFrame:
    """Return the examples of a task: what each may look at, and what it is asked.

    Args:
        log: A clean log with sessions.
        task: ``"next_event"`` (every row), ``"next_item"`` (every row that is followed by an
            item) or ``"purchase_intent"`` (every row before the session's decision).
        prefix: Where given, at most one example a session, asked when exactly so many events
            are visible.

    Returns:
        One row an example: ``row`` (position in the log of the last visible event), ``start``
        and ``stop`` (the visible rows are ``log.iloc[start:stop]``, ``stop == row + 1``),
        ``target`` (position of the row that holds the answer, -1 where the answer is that
        nothing follows), ``label``, and ``decided_at`` (purchase intent: position of the
        session's first decision event; -1 elsewhere). ``attrs["task"]`` names the task.

    Raises:
        CourseError: If the task is unknown, the log cannot serve it, or `prefix` is below 1.
    """
    if task not in TASKS:
        raise unknown_name("task", task, TASKS)
    label = {"next_event": next_event, "next_item": next_item, "purchase_intent": purchase_later}
    labels = label[task](log)
    keep = labels.notna().to_numpy()
    first, stop = session_bounds(log)
    if prefix is not None:
        if prefix < 1:
            raise CourseError(f"A prefix shows at least 1 event, not {prefix}.")
        keep = keep & (np.arange(len(log)) - first == prefix - 1)
    rows = np.flatnonzero(keep)
    following = rows + 1
    if task == "purchase_intent":
        target, decided_at = _purchase_after(log)[rows], first_decision(log)[rows]
    else:
        target = np.where(following < stop[rows], following, -1)
        decided_at = np.full(len(rows), -1)
    return _example_frame(rows, first[rows], target, labels.array[rows], decided_at, task)


def windows(log: pd.DataFrame, length: int, task: str = "next_event") -> pd.DataFrame:
    """Return every window of `length` consecutive events of a session: they overlap.

    This is how most tutorials cut sequences. It is sound as long as windows of one session
    stay in one part; lesson 02 shows the score that a random split of them would have claimed.

    Args:
        log: A clean log with sessions.
        length: Visible events a window.
        task: As in `examples`.

    Returns:
        The same columns as `examples`, with ``start == stop - length``.
    """
    if length < 1:
        raise CourseError(f"A window shows at least 1 event, not {length}.")
    asked = examples(log, task)
    whole = (asked["stop"] - asked["start"] >= length).to_numpy()
    cut = asked[whole].reset_index(drop=True)
    return cut.assign(start=cut["stop"] - length)


def changes(column: pd.Series) -> np.ndarray:
    """Return a bool array: True where a row differs from the row before it, and at row 0."""
    values = (
        column.to_numpy()
        if pd.api.types.is_integer_dtype(column) and not column.hasnans
        else pd.factorize(column)[0]
    )
    result = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=result[1:])
    return result


def gap_in_microseconds(gap: str | pd.Timedelta) -> int:
    """Return the length of a gap such as ``"30min"``.

    Raises:
        CourseError: If it is no positive duration.
    """
    try:
        limit = pd.Timedelta(gap)
    except ValueError as error:
        raise CourseError(f"Gap {gap!r} is no duration; write for example '30min'.") from error
    if not limit > pd.Timedelta(0):
        raise CourseError(f"Gap {gap!r} is not positive; write for example '30min'.")
    return int(limit.total_seconds() * 1_000_000)


def _silences(log: pd.DataFrame, limit: int) -> np.ndarray:
    """Rows that come more than `limit` microseconds after the row before them."""
    times = log["timestamp"].array.as_unit("us").asi8
    silent = np.zeros(len(times), dtype=bool)
    np.greater(np.diff(times), limit, out=silent[1:])
    return silent


def _shop_sessions(log: pd.DataFrame, user_changes: np.ndarray, limit: int) -> np.ndarray:
    """Rows at which a session begins, by the shop's own ids within each user."""
    count = len(log)
    rows = np.arange(count)
    recorded = pd.factorize(log["session_id"])[0].astype(np.int64)
    missing = recorded < 0
    if missing.any():
        anchored = ~missing | user_changes | _silences(log, limit)
        anchor = np.maximum.accumulate(np.where(anchored, rows, 0))
        recorded = np.where(missing, recorded.max() + 1 + anchor, recorded)
        borrowed = missing & ~missing[anchor]
        recorded[borrowed] = recorded[anchor[borrowed]]
    users = np.cumsum(user_changes, dtype=np.int64)
    begins = user_changes.copy()
    begins[1:] |= recorded[1:] != recorded[:-1]
    runs = np.flatnonzero(begins)
    key = users[runs] * (recorded.max() + 1 if count else 1) + recorded[runs]
    code, keys = pd.factorize(key)
    if len(keys) == len(runs):
        return begins
    # Some session comes back after another one of the same user: a run that starts before
    # every earlier session has had its last run belongs to them.
    last_run = np.zeros(len(keys), dtype=np.int64)
    last_run[code] = np.arange(len(runs))
    reach = np.maximum.accumulate(last_run[code])
    inside = np.zeros(len(runs), dtype=bool)
    inside[1:] = reach[:-1] >= np.arange(1, len(runs))
    begins[runs[inside]] = False
    return begins


def _bounds(sessions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First row and stop row of each session, and each row's session counted from 0."""
    count = len(sessions)
    begins = np.ones(count, dtype=bool)
    np.not_equal(sessions[1:], sessions[:-1], out=begins[1:])
    first = np.flatnonzero(begins)
    stop = np.append(first[1:], count) if count else first
    return first, stop, np.cumsum(begins) - 1


def _next_true(flags: np.ndarray) -> np.ndarray:
    """Position of the first True at or after each row; the number of rows where there is none."""
    count = len(flags)
    positions = np.where(flags, np.arange(count), count)
    return np.minimum.accumulate(positions[::-1])[::-1]


def _purchase_after(log: pd.DataFrame) -> np.ndarray:
    """Row of the first purchase after each row in its session, or -1."""
    after = np.append(_next_true((log["event"] == "purchase").to_numpy())[1:], len(log))
    after = after[: len(log)]
    return np.where(after < session_bounds(log)[1], after, -1)


def _shifted(log: pd.DataFrame, codes: np.ndarray, at_end: int) -> np.ndarray:
    """The code of the row after each row of a session, and `at_end` at its last row."""
    sessions = session_ids(log)
    following = np.full(len(codes), at_end, dtype=np.int32)
    same = sessions[1:] == sessions[:-1]
    following[:-1][same] = codes[1:][same]
    return following


def _is_text(categories: pd.Index) -> bool:
    return bool(pd.api.types.is_string_dtype(categories))


def _categorical(codes: np.ndarray, categories: pd.Index, index: pd.Index, name: str) -> pd.Series:
    values = pd.Categorical.from_codes(codes, categories=categories)
    return pd.Series(values, index=index, name=name, copy=False)


def _example_frame(
    rows: np.ndarray,
    start: np.ndarray,
    target: np.ndarray,
    label: pd.api.extensions.ExtensionArray,
    decided_at: np.ndarray,
    task: str,
) -> pd.DataFrame:
    columns = (rows, start, rows + 1, target, label, decided_at)
    frame = pd.DataFrame(dict(zip(EXAMPLE_COLUMNS, columns, strict=True)))
    frame.attrs["task"] = task
    return frame
