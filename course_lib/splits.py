"""Honest splits and the leakage audit (lesson 02).

A split gives whole sessions to training, validation and test. The one of this course is by
time: a model is fitted on what was known on one day and judged on the sessions that began
later. It depends on nothing but the log and the seed, so (dataset, profile, seed) name it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from course_lib.errors import CourseError, unknown_name
from course_lib.events import keep_together
from course_lib.sessions import EXAMPLE_COLUMNS, session_bounds, session_ids, session_table

PARTS = ("train", "validation", "test")
STRADDLING = "straddling"
_PART_TYPE = pd.CategoricalDtype([*PARTS, STRADDLING])
_DAYS_FOR_MIDNIGHT = 30
_DAY = 86_400_000_000  # microseconds

VIOLATIONS: dict[str, str] = {
    "target in window": "the event to be predicted is among the visible ones",
    "decision in prefix": "the visible events include the purchase (or what gives it away)",
    "shared events": "one event is used by examples of two parts",
    "session in two parts": "examples of one session are in two parts",
    "visit in two parts": "sessions that are copies of one visit are in two parts",
    "user in two parts": "examples of one user are in two parts of a split by users",
    "training after test": "a part learns from events later than the ones the next part asks about",
    "statistics": "a mean, a vocabulary or a model was fitted on rows outside training",
}
"""The kinds of leakage that `audit_leakage` names, and what each one is."""


@dataclass(frozen=True)
class Split:
    """Which session belongs to which part.

    Attributes:
        parts: session_id -> train, validation, test or straddling (used by no part).
        by: ``"time"``, ``"hash of users"``, ``"hash of sessions"`` or ``"hash of visits"``.
        boundaries: Split by time: the first moment of validation and of test; else empty.
        reason: Why this split and not another, for the reader.
        fingerprint: 12 hex digits of the SHA-256 of every session's user, start and part: the
            same log split in the same way has the same fingerprint on every machine.
    """

    parts: pd.Series = field(repr=False, compare=False)
    by: str
    boundaries: dict[str, pd.Timestamp] = field(compare=False)
    reason: str
    fingerprint: str
    _codes: np.ndarray = field(repr=False, compare=False)

    def part_of_rows(self, log: pd.DataFrame) -> pd.Series:
        """Return the part of each row of a log that has the sessions of this split (category).

        Raises:
            CourseError: If the log has a session that this split does not know.
        """
        sessions = session_ids(log)
        known = (sessions >= 0) & (sessions < len(self._codes))
        codes = np.where(known, self._codes[np.where(known, sessions, 0)], -1)
        if (codes < 0).any():
            stranger = sessions[int(np.argmin(codes))]
            raise CourseError(
                f"This split does not know session {stranger} of the log; split the log you use."
            )
        parts = pd.Categorical.from_codes(codes, dtype=_PART_TYPE)
        return pd.Series(parts, index=log.index, name="part", copy=False)

    def rows(self, log: pd.DataFrame, part: str) -> np.ndarray:
        """Return a bool array of shape (rows,): the row's session is in `part`."""
        return self.part_of_rows(log).cat.codes.to_numpy() == _part_code(part)

    def sessions(self, part: str) -> np.ndarray:
        """Return the session ids of a part (int64)."""
        return np.flatnonzero(self._codes == _part_code(part))

    def apply(self, log: pd.DataFrame, examples: pd.DataFrame) -> pd.DataFrame:
        """Return the examples with a column ``part``, without those of straddling sessions."""
        part = self.part_of_rows(log).array[examples["row"].to_numpy()]
        used = np.asarray(part != STRADDLING)
        kept = examples[used].reset_index(drop=True)
        return kept.assign(part=part[used].remove_categories(STRADDLING))

    def table(self, log: pd.DataFrame) -> pd.DataFrame:
        """Return one row a part: sessions, events, users and the first and last time."""
        part = self.part_of_rows(log)
        columns = {"user_id": log["user_id"], "timestamp": log["timestamp"]}
        frame = pd.DataFrame({"session_id": log["session_id"], **columns})
        return frame.groupby(part, observed=False).agg(
            sessions=("session_id", "nunique"),
            events=("session_id", "size"),
            users=("user_id", "nunique"),
            first=("timestamp", "min"),
            last=("timestamp", "max"),
        )

    def __str__(self) -> str:
        """Say in one sentence how the log was split."""
        form = "%Y-%m-%d %H:%M"
        where = "; ".join(f"{part} from {edge:{form}}" for part, edge in self.boundaries.items())
        return f"Split by {self.by} ({where or self.reason}), fingerprint {self.fingerprint}."


def temporal_split(
    log: pd.DataFrame, validation: float = 0.15, test: float = 0.15, seed: int = 1
) -> Split:
    """Split a log by the time at which its sessions start. Derived in lesson 02.

    The last share `test` of the sessions to start is the test part, the share `validation`
    before it the validation part. A session that crosses a boundary is *straddling*: it began
    before the boundary and its end was not known then, so no part uses it. In a log of at least
    30 days, and in one that knows only days, a boundary is moved to the midnight before it.

    A log without dates cannot be split by time: it is split as by `user_split`, and
    ``split.reason`` says so.

    Args:
        log: A clean log with sessions.
        validation: Share of the sessions for validation.
        test: Share of the sessions for the test.
        seed: Seed of the hash that splits a log without dates; a split by time has no chance
            in it.

    Raises:
        CourseError: If the shares leave nothing to train on, the log has no sessions, or a
            part would be empty.
    """
    _check_shares(validation, test)
    if log.attrs.get("clock", "time") not in ("time", "day"):
        return _hash_split(log, validation, test, seed, reason="the log has no dates")
    table = session_table(log)
    start, end = (_microseconds(table[column]) for column in ("start", "end"))
    shares = (1 - validation - test, 1 - test)
    edges = [_edge(start, share) for share in shares]
    midnights = [edge // _DAY * _DAY for edge in edges]
    long_enough = np.ptp(start) >= _DAYS_FOR_MIDNIGHT * _DAY if len(start) else False
    if log.attrs.get("clock") == "day" or (
        long_enough and start.min() < midnights[0] < midnights[1]
    ):
        edges = midnights
    codes = np.searchsorted(edges, start, side="right").astype(np.int8)
    crosses = np.searchsorted(edges, end, side="right") != codes
    codes[crosses] = _PART_TYPE.categories.get_loc(STRADDLING)
    boundaries = {
        part: pd.Timestamp(edge, unit="us", tz="UTC")
        for part, edge in zip(PARTS[1:], edges, strict=True)
    }
    return _split(table, codes, "time", boundaries, "sessions are dated")


def user_split(
    log: pd.DataFrame, validation: float = 0.15, test: float = 0.15, seed: int = 1
) -> Split:
    """Split a log by users: all sessions of a user are in one part. Derived in lesson 02.

    It answers another question than a split by time: how good is the model for people it has
    never seen? The part follows from a hash of the user's id and the seed alone, so a user
    stays where they are when the log grows. Where sessions are copies of one visit (column
    ``visit_id``, see `course_lib.events.COLUMNS`), the visit takes the place of the user: copies
    in training would tell the answers of the test. Parameters and errors as in `temporal_split`.
    """
    _check_shares(validation, test)
    return _hash_split(log, validation, test, seed, reason="new users are the question")


def audit_leakage(
    log: pd.DataFrame,
    examples: pd.DataFrame,
    split: Split | None = None,
    statistics: Mapping[str, np.ndarray] | None = None,
) -> pd.DataFrame:
    """Name every way in which the answers of later parts leak into training. Lesson 02.

    Each fault is named once, by its narrowest name: a session whose windows overlap across
    parts is *shared events* and not also *session in two parts*; a visit or a user whose session
    is in two parts is not also *visit* or *user in two parts*. Events of earlier sessions that a
    window shows (a shopper's history) are the past and may be shown to every part.

    Args:
        log: A clean log with sessions.
        examples: As from `course_lib.sessions.examples`, with a column ``part``.
        split: The split that the parts claim to follow. A split by hash makes no promise on
            time; without a split, the order of time is checked where the log has dates.
        statistics: Name of whatever was fitted (a scaler, a vocabulary, a model) -> the rows of
            the log it was fitted on, as a bool array of shape (rows,) or positions.

    Returns:
        One row a violation: ``kind`` (a key of `VIOLATIONS`), ``count`` (examples, events,
        sessions, visits, users or rows), ``first`` (the first offender: position of the example, or
        row of the log) and a ``sentence``. Empty where nothing leaks.

    Raises:
        CourseError: If a column is missing, a part is unknown, or a window or a statistic
            reaches outside the log.
    """
    asked = _Asked.read(log, examples)
    found = [*_answer_visible(asked), *_shared(asked)]
    if split is None or split.by == "time":
        found += _time_order(asked, split)
    for name, fitted_on in (statistics or {}).items():
        found += _fitted_outside(name, fitted_on, asked, split)
    found += _sessions_and_users(asked, by_users=split is not None and split.by != "time")
    columns = ["kind", "count", "first", "sentence"]
    violations = pd.DataFrame(found, columns=columns).astype({"count": int, "first": int})
    order = {kind: place for place, kind in enumerate(VIOLATIONS)}
    return violations.sort_values(
        "kind", key=lambda kinds: kinds.map(order), kind="stable", ignore_index=True
    )


_Violation = tuple[str, int, int, str]


@dataclass(frozen=True)
class _Asked:
    """The examples as arrays of shape (examples,), checked against the log."""

    log: pd.DataFrame
    start: np.ndarray
    stop: np.ndarray
    target: np.ndarray
    decided_at: np.ndarray
    part: np.ndarray
    session: np.ndarray
    session_first: np.ndarray
    times: np.ndarray

    @classmethod
    def read(cls, log: pd.DataFrame, examples: pd.DataFrame) -> _Asked:
        missing = [column for column in (*EXAMPLE_COLUMNS, "part") if column not in examples]
        if missing:
            raise CourseError(
                f"The examples lack column {missing[0]!r}; build them with examples(log, task) "
                "and give each its part with split.apply(log, examples)."
            )
        part = pd.Categorical(examples["part"], categories=PARTS).codes.astype(np.int64)
        if (part < 0).any():
            raise unknown_name("part", examples["part"].array[int(np.argmin(part))], PARTS)
        start, stop, target, decided_at = (
            examples[column].to_numpy(dtype=np.int64)
            for column in ("start", "stop", "target", "decided_at")
        )
        wrong = (start < 0) | (stop <= start) | (stop > len(log)) | (target >= len(log))
        if wrong.any():
            which = int(np.argmax(wrong))
            raise CourseError(
                f"Example {which} looks at rows {start[which]} to {stop[which] - 1} and asks about "
                f"row {target[which]}: that is no part of this log of {len(log)} rows."
            )
        last = stop - 1
        return cls(
            log=log,
            start=start,
            stop=stop,
            target=target,
            decided_at=decided_at,
            part=part,
            session=session_ids(log)[last],
            session_first=session_bounds(log)[0][last],
            times=_microseconds(log["timestamp"]),
        )

    @cached_property
    def used(self) -> np.ndarray:
        """Which rows a part's examples see or ask about, in their own sessions: (parts, rows)."""
        steps = np.zeros((len(PARTS), len(self.log) + 1), dtype=np.int64)
        np.add.at(steps, (self.part, np.maximum(self.start, self.session_first)), 1)
        np.add.at(steps, (self.part, self.stop), -1)
        rows = np.cumsum(steps[:, :-1], axis=1) > 0
        asked = self.target >= 0
        rows[self.part[asked], self.target[asked]] = True
        return rows

    @cached_property
    def shared(self) -> np.ndarray:
        """Which rows more than one part uses, shape (rows,)."""
        return self.used.sum(axis=0) > 1


def _answer_visible(asked: _Asked) -> list[_Violation]:
    found: list[_Violation] = []
    decided = (asked.decided_at >= asked.start) & (asked.decided_at < asked.stop)
    inside = (asked.target >= asked.start) & (asked.target < asked.stop) & ~decided
    for kind, wrong, row in (
        ("target in window", inside, asked.target),
        ("decision in prefix", decided, asked.decided_at),
    ):
        if wrong.any():
            first = int(np.argmax(wrong))
            rows = f"rows {asked.start[first]} to {asked.stop[first] - 1}"
            story = (
                f"is asked about row {row[first]} and already sees it among {rows}: the target "
                "stands inside its own window"
                if kind == "target in window"
                else f"sees {rows}, and row {row[first]} is the decision it is asked to foresee: "
                "cut the prefix before the decision"
            )
            total = int(wrong.sum())
            found.append((kind, total, first, f"Example {first} {story} ({total:,} such)."))
    return found


def _shared(asked: _Asked) -> list[_Violation]:
    if not asked.shared.any():
        return []
    row = int(np.argmax(asked.shared))
    names = " and ".join(np.array(PARTS)[asked.used[:, row]])
    total = int(asked.shared.sum())
    sentence = (
        f"Event {row} is used by the parts {names}: their windows overlap, so a model is asked "
        f"what it was taught ({total:,} such events); give whole sessions to a part."
    )
    return [("shared events", total, row, sentence)]


def _time_order(asked: _Asked, split: Split | None) -> list[_Violation]:
    if asked.log.attrs.get("clock", "time") not in ("time", "day"):
        return []
    last_used = asked.times[np.maximum(asked.stop - 1, asked.target)]
    asked_at = asked.times[asked.stop - 1]
    found: list[_Violation] = []
    late = np.zeros(len(last_used), dtype=bool)
    until = np.full(len(PARTS), np.iinfo(np.int64).max)
    for part in (1, 0):
        until[part] = until[part + 1]
        later = asked.part == part + 1
        if split is not None:
            until[part] = min(until[part], split.boundaries[PARTS[part + 1]].value // 1000)
        elif later.any():
            until[part] = min(until[part], asked_at[later].min() + 1)
        late |= (asked.part == part) & (last_used >= until[part])
    if late.any():
        first = int(np.argmax(late))
        total = int(late.sum())
        moment = pd.Timestamp(int(last_used[first]), unit="us").floor("s")
        sentence = (
            f"Example {first} of part {PARTS[asked.part[first]]} uses what happened at {moment}, "
            f"when a later part is already being asked ({total:,} such): it learns from the future."
        )
        found.append(("training after test", total, first, sentence))
    return found


def _fitted_outside(
    name: str, fitted_on: np.ndarray, asked: _Asked, split: Split | None
) -> list[_Violation]:
    count = len(asked.log)
    rows = np.asarray(fitted_on)
    if rows.dtype == bool and rows.shape != (count,):
        raise CourseError(f"The rows of {name!r} are {rows.shape}, the log has {count} rows.")
    if rows.dtype != bool:
        if rows.size and not 0 <= rows.min() <= rows.max() < count:
            raise CourseError(f"{name!r} was fitted on rows outside this log of {count} rows.")
        positions, rows = rows.astype(np.int64), np.zeros(count, dtype=bool)
        rows[positions] = True
    if split is not None:
        wrong = rows & ~split.rows(asked.log, "train")
    else:
        wrong = rows & ~asked.used[0] & (asked.used[1] | asked.used[2])
    if not wrong.any():
        return []
    total, first = int(wrong.sum()), int(np.argmax(wrong))
    sentence = (
        f"{name!r} was fitted on {total:,} rows outside the training part, the first is row "
        f"{first}: it carries what the test is meant to be asked; fit it on training rows only."
    )
    return [("statistics", total, first, sentence)]


def _sessions_and_users(asked: _Asked, by_users: bool) -> list[_Violation]:
    found: list[_Violation] = []
    overlapping = np.unique(session_ids(asked.log)[asked.shared])
    split_sessions = _in_two_parts(asked.session, asked.part)
    named = split_sessions[~np.isin(split_sessions, overlapping)]
    if len(named):
        first = int(np.argmax(np.isin(asked.session, named)))
        sentence = (
            f"Session {named[0]} has examples in two parts ({len(named):,} such sessions): what "
            "the shopper wants is the same in both, so the test is no longer new."
        )
        found.append(("session in two parts", len(named), first, sentence))
    explained = np.isin(asked.session, split_sessions)
    if "visit_id" in asked.log:
        divided, among, name = _divided(asked, "visit_id", explained)
        explained = explained | among
        if len(divided):
            sentence = (
                f"Visit {name} has copies in two parts ({len(divided):,} such visits): they "
                "have one answer, so the test is no longer new; split by visits."
            )
            found.append(("visit in two parts", len(divided), int(np.argmax(among)), sentence))
    if not by_users:
        return found
    divided, among, name = _divided(asked, "user_id", explained)
    if len(divided):
        sentence = (
            f"User {name} has examples in two parts ({len(divided):,} such users), "
            "but this split promises that tested users are new."
        )
        found.append(("user in two parts", len(divided), int(np.argmax(among)), sentence))
    return found


def _divided(
    asked: _Asked, column: str, explained: np.ndarray
) -> tuple[np.ndarray, np.ndarray, object]:
    """The ids of a column whose examples are in two parts and which no narrower fault explains.

    Returns:
        Their codes, ascending; which examples are theirs, bool [examples]; the first one's id.
    """
    codes, ids = pd.factorize(asked.log[column])
    code = codes[asked.stop - 1]
    divided = np.setdiff1d(_in_two_parts(code, asked.part), np.unique(code[explained]))
    return divided, np.isin(code, divided), ids[divided[0]] if len(divided) else None


def _in_two_parts(groups: np.ndarray, part: np.ndarray) -> np.ndarray:
    """The groups whose examples are in more than one part, ascending."""
    pairs = pd.unique(groups * len(PARTS) + part)
    group, times = np.unique(pairs // len(PARTS), return_counts=True)
    return group[times > 1]


def _check_shares(validation: float, test: float) -> None:
    if not (validation > 0 and test > 0 and validation + test < 1):
        raise CourseError(
            f"Shares validation={validation} and test={test} must be positive and leave something "
            "to train on."
        )


def _part_code(part: str) -> int:
    if part not in _PART_TYPE.categories:
        raise unknown_name("part", part, _PART_TYPE.categories)
    return int(_PART_TYPE.categories.get_loc(part))


def _microseconds(times: pd.Series) -> np.ndarray:
    return times.array.as_unit("us").asi8


def _edge(start: np.ndarray, share: float) -> int:
    """The moment (microseconds) before which `share` of the sessions start."""
    if len(start) == 0:
        return 0
    place = min(round(share * len(start)), len(start) - 1)
    return int(np.partition(start, place)[place])


def _hash_split(log: pd.DataFrame, validation: float, test: float, seed: int, reason: str) -> Split:
    table = session_table(log)
    column = keep_together(log, "user_id")
    codes, ids = pd.factorize(log[column].array[table["first"].to_numpy()])
    draw = _uniform(np.asarray(ids), seed)
    edges = [1 - validation - test, 1 - test]
    part = np.searchsorted(edges, draw, side="right").astype(np.int8)[codes]
    by = "hash of users" if len(ids) < len(table) else "hash of sessions"
    if column == "visit_id":
        by, reason = "hash of visits", f"{reason}, and copies of one visit stay together"
    return _split(table, part, by, {}, reason)


def _uniform(ids: np.ndarray, seed: int) -> np.ndarray:
    """A number in [0, 1) for each id that depends on the id and the seed alone."""
    keyed = pd.util.hash_array(np.asarray(ids)) ^ pd.util.hash_array(np.array([seed], np.int64))
    return (pd.util.hash_array(keyed) >> np.uint64(11)) / float(1 << 53)


def _split(
    table: pd.DataFrame,
    codes: np.ndarray,
    by: str,
    boundaries: dict[str, pd.Timestamp],
    reason: str,
) -> Split:
    for code, part in enumerate(PARTS):
        if not (codes == code).any():
            raise CourseError(
                f"A split by {by} leaves the {part} part of these {len(table)} sessions empty; use "
                "more sessions or another share."
            )
    lookup = np.full(int(table.index[-1]) + 1, -1, dtype=np.int8)
    lookup[table.index.to_numpy()] = codes
    parts = pd.Series(
        pd.Categorical.from_codes(codes, dtype=_PART_TYPE), index=table.index, name="part"
    )
    digest = hashlib.sha256(by.encode())
    digest.update(pd.util.hash_array(table["user_id"].to_numpy()).astype("<u8").tobytes())
    digest.update(_microseconds(table["start"]).astype("<i8").tobytes())
    digest.update(codes.astype("<i1").tobytes())
    return Split(parts, by, boundaries, reason, digest.hexdigest()[:12], lookup)
