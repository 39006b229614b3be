"""Sequences of kinds of events, right-padded (derived in lesson 05)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from course_lib.baselines import outcomes_and_codes
from course_lib.errors import CourseError
from course_lib.sessions import session_ids

PADDING = 0


@dataclass(frozen=True)
class Vocabulary:
    """What each code of a sequence stands for: 0 padding, 1.. the names, the last one unknown.

    Attributes:
        names: The names that have a code of their own, in the order of their codes.
    """

    names: tuple[str, ...]

    @classmethod
    def fit(cls, values: pd.Series, rows: np.ndarray | None = None) -> Vocabulary:
        """Give each value that occurs a code, in the order of the column's categories.

        Args:
            values: A column of the log, one value a row; missing ones get no code.
            rows: Mask of the rows to look at, those of the training part; None: all.
        """
        seen = values if rows is None else values[np.asarray(rows)]
        categories = seen.astype("category").cat.remove_unused_categories().cat.categories
        return cls(tuple(str(name) for name in categories))

    @property
    def unknown(self) -> int:
        """The code of a value that the vocabulary has no name for, a missing one included."""
        return len(self.names) + 1

    @property
    def size(self) -> int:
        """How many codes there are, padding and unknown included."""
        return len(self.names) + 2

    def encode(self, values: pd.Series | Iterable[str]) -> np.ndarray:
        """Return the int32 code of each value."""
        column = pd.Series(values).astype("category")
        code = {name: number for number, name in enumerate(self.names, start=1)}
        table = [code.get(str(name), self.unknown) for name in column.cat.categories]
        return np.array([*table, self.unknown], dtype=np.int32)[column.cat.codes.to_numpy()]

    def decode(self, codes: np.ndarray) -> list[str]:
        """Return the name of each code; padding reads ``"(padding)"``."""
        names = ["(padding)", *self.names, "(unknown)"]
        return [names[code] for code in np.asarray(codes).ravel()]


@dataclass(frozen=True)
class Sequences:
    """Right-padded sequences, all arrays of shape ``[sequences, length]``.

    Attributes:
        inputs: int32 codes of a `Vocabulary`, 0 = padding.
        targets: int32 place of the right answer in `outcomes`, 0 where `mask` is False.
        mask: bool, True where the position is scored: a real event, selected, with a label.
        rows: int64 row of the log that the position stands for, -1 where there is none: at
            padding, and at events repeated from the sequence before as context.
        session_id: The session of each sequence, shape ``[sequences]``.
        outcomes: What is predicted, in the order of the network's outputs.
    """

    inputs: np.ndarray
    targets: np.ndarray
    mask: np.ndarray
    rows: np.ndarray
    session_id: np.ndarray
    outcomes: tuple

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def length(self) -> int:
        """Positions in a sequence, padding included."""
        return self.inputs.shape[1]

    def read(self, inputs: np.ndarray) -> np.ndarray:
        """Return what a network reads for inputs [..., length]: here the codes themselves."""
        return inputs

    def take(self, which: np.ndarray) -> Sequences:
        """Return some of the sequences, by number or mask."""
        arrays = ("inputs", "targets", "mask", "rows", "session_id")
        return replace(self, **{name: getattr(self, name)[which] for name in arrays})

    def to_rows(self, predictions: np.ndarray, n_rows: int) -> np.ndarray:
        """Bring predictions made at positions back to the rows of the log.

        Args:
            predictions: Shape ``[sequences, length, ...]``.
            n_rows: Rows of the log.

        Returns:
            Shape ``[n_rows, ...]``; NaN in rows that no sequence stands for.
        """
        predictions = np.asarray(predictions)
        if predictions.shape[:2] != self.rows.shape:
            raise CourseError(
                f"These predictions have shape {predictions.shape}, but the sequences are "
                f"{self.rows.shape[0]} x {self.rows.shape[1]} positions: predict at every "
                "position (return_sequences=True)."
            )
        by_row = np.full((n_rows, *predictions.shape[2:]), np.nan, dtype=np.float64)
        real = self.rows >= 0
        by_row[self.rows[real]] = predictions[real]
        return by_row


def event_sequences(
    log: pd.DataFrame,
    vocabulary: Vocabulary,
    labels: pd.Series,
    *,
    rows: np.ndarray | None = None,
    length: int = 48,
    overlap: int | None = None,
) -> Sequences:
    """Lay the sessions of a log out as right-padded sequences, every row scored once.

    A session of more than `length` events goes on in further sequences; each of them begins
    with the last `overlap` events of the one before, which are read as context and not scored
    a second time.

    Args:
        log: A clean log with ``session_id``.
        vocabulary: Codes for ``log[log.attrs["event_column"]]``.
        labels: What follows each row: `sessions.next_event`, or `sessions.purchase_later`,
            whose outcomes are False and True.
        rows: Mask of the rows to score, e.g. ``split.rows(log, "train")``; None: all. They are
            read behind the events before them, selected or not.
        length: Positions in a sequence.
        overlap: Events repeated as context; None: half of `length`.

    Raises:
        CourseError: If the lengths do not fit together, labels or mask do not fit the log, or
            no row is selected.
    """
    row, real, asked = ask_at_rows(log, labels, rows, length, overlap)
    codes = vocabulary.encode(log[log.attrs.get("event_column", "event")])
    return Sequences(inputs=np.where(real, codes[row], PADDING).astype(np.int32), **asked)


def ask_at_rows(
    log: pd.DataFrame,
    labels: pd.Series,
    rows: np.ndarray | None,
    length: int,
    overlap: int | None,
) -> tuple[np.ndarray, np.ndarray, dict[str, object]]:
    """Lay sessions out and ask at every selected row; arguments as `event_sequences`.

    Returns:
        The row that stands at each position, int64 [sequences, length], whether one does, and
        what `Sequences` holds besides its inputs.
    """
    chosen = chosen_rows(log, rows)
    outcomes, targets = answers_of_rows(log, labels)
    session = session_ids(log)
    row, real, fresh = lay_out(session, chosen, length, overlap)
    mask = fresh & (targets[row] >= 0)
    asked = {
        "targets": np.where(mask, targets[row], 0).astype(np.int32),
        "mask": mask,
        "rows": np.where(fresh, row, -1),
        "session_id": session[row[:, 0]],
        "outcomes": tuple(outcomes),
    }
    return row, real, asked


def answers_of_rows(log: pd.DataFrame, labels: pd.Series) -> tuple[list, np.ndarray]:
    """The outcomes, and the place of each row's among them, int64 [rows], -1 without a label."""
    if len(labels) != len(log):
        raise CourseError(
            f"The log has {len(log)} rows and the labels {len(labels)}: give one label to each."
        )
    return outcomes_and_codes(labels)


def chosen_rows(log: pd.DataFrame, rows: np.ndarray | None) -> np.ndarray:
    """The mask of selected rows, bool [rows of the log]; not an empty one."""
    chosen = np.ones(len(log), bool) if rows is None else np.asarray(rows)
    if chosen.dtype != bool or chosen.shape != (len(log),):
        raise CourseError(
            f"The log has {len(log)} rows: select among them with a boolean mask as "
            "split.rows(log, 'train') gives it."
        )
    if not chosen.any():
        raise CourseError("No row of the log is selected, so there is no sequence to build.")
    return chosen


def lay_out(
    session: np.ndarray, chosen: np.ndarray, length: int, overlap: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut sessions into pieces of at most `length` that overlap, and keep those that score.

    Args:
        session: The session of each element, never decreasing, int64 [elements].
        chosen: Which elements are to be scored, bool [elements].
        length: Positions in a piece.
        overlap: Elements repeated from the piece before; None: half of `length`.

    Returns:
        Three arrays [pieces, positions]: the element that stands at a position (0 at padding),
        whether one does, and whether it is scored here.
    """
    overlap = length // 2 if overlap is None else overlap
    if not 0 <= overlap < length:
        raise CourseError(
            f"Sequences of {length} events cannot repeat {overlap} events as context: choose an "
            f"overlap from 0 to {length - 1}."
        )
    starts = np.flatnonzero(np.diff(session, prepend=-1))
    ends = np.r_[starts[1:], len(session)]
    wanted = np.logical_or.reduceat(chosen, starts)
    starts, ends = starts[wanted], ends[wanted]

    step = length - overlap
    pieces = 1 + np.maximum(0, -(-(ends - starts - length) // step))
    part = np.arange(pieces.sum()) - np.repeat(pieces.cumsum() - pieces, pieces)
    begin = np.repeat(starts, pieces) + part * step
    end = np.repeat(ends, pieces)

    width = int(min(length, (ends - starts).max()))
    position = np.arange(width)
    row = begin[:, None] + position
    real = row < end[:, None]
    row = np.where(real, row, 0)
    fresh = real & ((part == 0)[:, None] | (position >= overlap)) & chosen[row]
    # What lies behind the last selected row of a session need not be read.
    used, width = fresh.any(axis=1), 1 + np.flatnonzero(fresh.any(axis=0))[-1]
    return row[used, :width], real[used, :width], fresh[used, :width]
