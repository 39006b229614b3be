"""The event log: one row an event, one table that every lesson and every shop speaks.

A *raw* log has the columns of `COLUMNS` but may hold anything a shop recorded: missing
ids, rows out of order, duplicates. Cleaning (lesson 01) turns it into a *log* that passes
`validate_log`. Facts about a log as a whole travel in ``log.attrs`` (see `describe_attrs`).
"""

from __future__ import annotations

import pandas as pd
import pandera.pandas as pa

from course_lib.errors import CourseError

TASKS = ("next_event", "purchase_intent", "next_item")

COLUMNS: dict[str, str] = {
    "user_id": "who acted (int64 or str); a log without users has one user a session",
    "session_id": "the shop's own session (int64 or str), or none",
    "visit_id": "the visit a session is a copy of (int64 or str), where a log holds altered copies "
    "of sessions: they stay in one part of a split and count as one",
    "timestamp": "when, datetime64[us, UTC]",
    "event": "what happened (category): view, search, cart, remove, favorite, purchase, ...",
    "item_id": "on which item (category); missing where the event has none",
    "category_id": "the item's category (category)",
    "brand": "the item's brand (category)",
    "price": "price per unit (float32)",
    "quantity": "how many units (negative: returned)",
    "title": "the item's name as the shop writes it",
}
REQUIRED = ("user_id", "timestamp", "event", "item_id")

CLOCKS: dict[str, str] = {
    "time": "real clock times",
    "day": "real dates, and within a day only the order of events",
    "session": "seconds since the start of each session, no dates",
    "order": "only the order of events",
}
_OFFERS = {
    "dates": ("time", "day"),
    "gaps": ("time", "session"),
    "hours": ("time",),
}


def attach_attrs(
    log: pd.DataFrame,
    *,
    dataset: str,
    tasks: tuple[str, ...],
    clock: str = "time",
    event_column: str = "event",
) -> pd.DataFrame:
    """Write the facts about a log into ``log.attrs`` and return the log.

    Args:
        log: A raw or clean event log; changed in place.
        dataset: Its name.
        tasks: Which of `TASKS` it can serve.
        clock: What its timestamps mean, a key of `CLOCKS`.
        event_column: The column that plays the event in `next_event`. A log that knows one
            event type only (a shop that recorded nothing but views) predicts another
            column, its categories.

    Raises:
        CourseError: If a task or clock is unknown.
    """
    unknown = set(tasks) - set(TASKS)
    if unknown or clock not in CLOCKS:
        raise CourseError(
            f"Log {dataset!r} declares tasks {tasks} and clock {clock!r}; "
            f"tasks are {', '.join(TASKS)}, clocks {', '.join(CLOCKS)}."
        )
    log.attrs.update(dataset=dataset, tasks=list(tasks), clock=clock, event_column=event_column)
    return log


def require_clock(log: pd.DataFrame, what: str, purpose: str) -> None:
    """Refuse, by name, to compute what the log's clock cannot tell.

    Args:
        log: An event log; without ``attrs["clock"]`` it is taken to have real times.
        what: ``"dates"`` (order of sessions, calendar), ``"gaps"`` (seconds between events
            of a session) or ``"hours"`` (time of day).
        purpose: What it is needed for, for the message.

    Raises:
        CourseError: If the log does not have it.
    """
    if not offers(log, what):
        name, clock = log.attrs.get("dataset", "this log"), CLOCKS[log.attrs["clock"]]
        raise CourseError(f"{purpose} needs {what}, but log {name!r} has only {clock}.")


def offers(log: pd.DataFrame, what: str) -> bool:
    """Say whether a log's clock tells ``"dates"``, ``"gaps"`` or ``"hours"``."""
    return log.attrs.get("clock", "time") in _OFFERS[what]


def require_task(log: pd.DataFrame, task: str) -> None:
    """Raise `CourseError` if the log cannot serve `task`."""
    tasks = log.attrs.get("tasks", list(TASKS))
    if task not in tasks:
        name = log.attrs.get("dataset", "this log")
        raise CourseError(f"Log {name!r} cannot serve {task}; it serves {', '.join(tasks)}.")


def keep_together(log: pd.DataFrame, otherwise: str) -> str:
    """Name the column whose equal values are one for a split, a fold or a bootstrap.

    Args:
        log: An event log.
        otherwise: The column it is where no session is a copy of another, such as
            ``"session_id"``.

    Returns:
        ``"visit_id"`` where the log has it: its sessions with one value are altered copies of
        one visit, so the one tells the other's answer. Else `otherwise`.
    """
    return "visit_id" if "visit_id" in log else otherwise


def _is_id(column: pd.Series) -> bool:
    return bool(pd.api.types.is_integer_dtype(column) or pd.api.types.is_string_dtype(column))


_id = pa.Check(_is_id, error="ids are int64 or str")
_SCHEMA = pa.DataFrameSchema(
    {
        "user_id": pa.Column(checks=_id, nullable=False),
        "session_id": pa.Column(checks=_id, nullable=False, required=False),
        "visit_id": pa.Column(checks=_id, nullable=False, required=False),
        "timestamp": pa.Column(pd.DatetimeTZDtype("us", "UTC"), nullable=False),
        "event": pa.Column(pd.CategoricalDtype(), nullable=False),
        "item_id": pa.Column(pd.CategoricalDtype(), nullable=True),
        "category_id": pa.Column(pd.CategoricalDtype(), nullable=True, required=False),
        "brand": pa.Column(pd.CategoricalDtype(), nullable=True, required=False),
        "price": pa.Column("float32", nullable=True, required=False),
    }
)


def validate_log(log: pd.DataFrame) -> pd.DataFrame:
    """Return the log if it keeps the schema: columns, types, sorted by user and time.

    Args:
        log: A cleaned event log, one row an event.

    Raises:
        CourseError: Naming the column and the first offending row.
    """
    try:
        _SCHEMA.validate(log)
    except pa.errors.SchemaError as error:
        where = ""
        if isinstance(error.failure_cases, pd.DataFrame) and "index" in error.failure_cases:
            first = error.failure_cases["index"].dropna().head(1).tolist()
            where = f", first at row {first[0]}" if first else ""
        reason = str(error).splitlines()[0]
        raise CourseError(f"This is no event log: {reason}{where}.") from error
    same_user = (log["user_id"] == log["user_id"].shift()).to_numpy()
    backwards = same_user & (log["timestamp"].diff() < pd.Timedelta(0)).to_numpy()
    if backwards.any():
        row = log.index[backwards][0]
        raise CourseError(
            f"This log is not sorted: row {row} is earlier than the row before it of the same "
            "user; sort it with sort_log(log)."
        )
    return log


def sort_log(log: pd.DataFrame) -> pd.DataFrame:
    """Return the log sorted by user and time; rows of equal time keep their order."""
    return log.sort_values(["user_id", "timestamp"], kind="stable", ignore_index=True)
