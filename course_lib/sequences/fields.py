"""Sequences of whole events: item, kind, category, price and time side by side (lesson 09).

An event is one row of the log, and what a network reads of it is one code a *field*. A sequence
holds the events' numbers (row + 2); `FieldSequences.read` looks their codes up. So an event can
be masked, or replaced by another one, as a whole: every field at once, none left to tell on
the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from course_lib.errors import CourseError, unknown_name
from course_lib.events import offers
from course_lib.sequences.events import (
    PADDING,
    Sequences,
    answers_of_rows,
    ask_at_rows,
    chosen_rows,
    lay_out,
)
from course_lib.sessions import session_bounds, session_ids

MASK, UNKNOWN = 1, 2
"""Codes that every field has besides 0, padding: masked; missing, or not known in training."""
_FIRST = 3

NAMES = ("item", "event", "category", "price", "gap")
PRICE_BANDS = 10
GAP_EDGES = (2.0, 5.0, 10.0, 20.0, 45.0, 90.0, 180.0, 420.0)
"""Seconds since the event before; a session's first event has a band of its own."""


@dataclass(frozen=True)
class Fields:
    """What the codes of each field stand for.

    ``item`` has a code for every item that the log knows, so that a cold one can be ranked, too;
    ``event`` and ``category`` for what the training part knows. ``price`` is the tenth of the
    shop's own prices, ``gap`` the band of `GAP_EDGES`: these two and ``event`` mean the same
    in every shop, which is what a network takes along when it changes shops.

    Attributes:
        values: What the codes from 3 on stand for, by field, in the order of the codes.
        price_edges: Where the bands of the price end, float64 [bands - 1].
    """

    values: dict[str, tuple]
    price_edges: np.ndarray

    @classmethod
    def fit(
        cls,
        log: pd.DataFrame,
        rows: np.ndarray | None = None,
        names: Iterable[str] | None = None,
        like: Fields | None = None,
    ) -> Fields:
        """Learn the codes from the training rows of a log.

        Args:
            log: A clean log with sessions.
            rows: Mask of the training rows, bool [rows of the log]; None: all.
            names: Fields of `NAMES`, in this order; None: all that the log has.
            like: Fields of another shop, whose kinds of events keep their codes here.

        Raises:
            CourseError: If there is no such field or none is named, the log lacks it, or no row
                is selected.
        """
        chosen = chosen_rows(log, rows)
        there = served(log)
        names = there if names is None else tuple(names)
        if not names:
            raise CourseError(f"Events are read by at least one field: name some of {NAMES}.")
        for name in names:
            if name not in NAMES:
                raise unknown_name("field", name, NAMES)
            if name not in there:
                raise CourseError(
                    f"Log {log.attrs.get('dataset', 'of yours')!r} has nothing to make the field "
                    f"{name!r} of; it has {', '.join(there)}."
                )
        values: dict[str, tuple] = {}
        edges = np.empty(0)
        for name in names:
            if name == "price":
                prices = log["price"].to_numpy(np.float64)[chosen]
                prices = prices[~np.isnan(prices)]
                shares = np.linspace(0, 1, PRICE_BANDS + 1)[1:-1]
                edges = np.unique(np.quantile(prices, shares)) if len(prices) else np.empty(0)
                values[name] = tuple(range(PRICE_BANDS))
            elif name == "gap":
                values[name] = ("first", *range(len(GAP_EDGES) + 1))
            elif name == "item":
                values[name] = tuple(log["item_id"].cat.categories)
            elif name == "event" and like is not None and "event" in like.values:
                values[name] = like.values[name]
            else:
                seen = _column(log, name)[chosen].cat.remove_unused_categories()
                values[name] = tuple(seen.cat.categories)
        return cls(values, edges)

    @property
    def names(self) -> tuple[str, ...]:
        """The fields, in the order of the codes' last axis."""
        return tuple(self.values)

    def size(self, name: str) -> int:
        """How many codes a field has: padding, mask and unknown included."""
        return len(self.values[name]) + _FIRST

    def encode(self, log: pd.DataFrame) -> np.ndarray:
        """Return the codes of every event, int32 [rows of the log, fields]."""
        codes = np.full((len(log), len(self.names)), UNKNOWN, np.int32)
        for column, name in enumerate(self.names):
            if name == "price":
                price = log["price"].to_numpy(np.float64)
                band = np.searchsorted(self.price_edges, price, "right")
                codes[:, column] = np.where(np.isnan(price), UNKNOWN, band + _FIRST)
            elif name == "gap":
                codes[:, column] = _gap_bands(log) + _FIRST
            else:
                events = _column(log, name).cat
                places = pd.Index(self.values[name]).get_indexer(events.categories)
                place = np.r_[places, -1][events.codes.to_numpy()]
                codes[:, column] = np.where(place < 0, UNKNOWN, place + _FIRST)
        return codes

    def table(self, log: pd.DataFrame) -> np.ndarray:
        """Return the codes by event number, int32 [rows + 2, fields]: padding, mask, the rows."""
        specials = np.repeat([[PADDING], [MASK]], len(self.names), axis=1)
        return np.concatenate([specials, self.encode(log)]).astype(np.int32)

    def places(self, codes: np.ndarray) -> np.ndarray:
        """Turn codes of a field into places in its `values`; -1 for padding, mask and unknown."""
        return np.maximum(np.asarray(codes, np.int64) - _FIRST, -1)

    def scored(self, scores: np.ndarray) -> np.ndarray:
        """Cut scores [n, size] down to those of the field's values, [n, values]."""
        return scores[:, _FIRST:]


@dataclass(frozen=True)
class FieldSequences(Sequences):
    """Sequences of event numbers: 0 padding, 1 a masked event, r + 2 the event of row r.

    Attributes:
        fields: What the codes mean.
        table: The codes of each number, int32 [numbers, fields].
    """

    fields: Fields
    table: np.ndarray

    def read(self, inputs: np.ndarray) -> np.ndarray:
        """Codes of event numbers [..., length]: int32 [..., length, fields]."""
        return self.table[inputs]


def field_sequences(
    log: pd.DataFrame,
    fields: Fields,
    labels: pd.Series,
    *,
    rows: np.ndarray | None = None,
    length: int = 48,
    overlap: int | None = None,
) -> FieldSequences:
    """Lay sessions out as `event_sequences` does, for networks that read whole events.

    Args:
        log: A clean log with sessions.
        fields: Codes of its events.
        labels: What follows each row.
        rows: Mask of the rows to score, bool [rows of the log]; None: all.
        length: Positions in a sequence.
        overlap: Events repeated as context; None: half of `length`.

    Raises:
        CourseError: As `event_sequences`.
    """
    row, real, asked = ask_at_rows(log, labels, rows, length, overlap)
    number = np.where(real, row + 2, PADDING).astype(np.int32)
    return FieldSequences(inputs=number, fields=fields, table=fields.table(log), **asked)


def whole_sequences(
    log: pd.DataFrame,
    fields: Fields,
    *,
    rows: np.ndarray | None = None,
    length: int = 50,
    overlap: int = 0,
) -> FieldSequences:
    """Lay whole sessions out, to be masked here and there: `mask` says which events are real.

    Args:
        log: A clean log with sessions.
        fields: Codes of its events.
        rows: Mask of the rows that may be read, bool [rows of the log]; None: all. Those of a
            session must come first in it, and one left alone is no sequence.
        length: Events in a sequence; longer sessions go on in further ones.
        overlap: Events repeated from the sequence before.

    Raises:
        CourseError: If the lengths do not fit together, the mask does not fit the log or leaves
            out a row before one that it selects, or no session has two events to read.
    """
    if length < 2:
        raise CourseError(
            "What is masked is told by the others: at least two events make a sequence, not "
            f"{length}."
        )
    chosen, session = chosen_rows(log, rows), session_ids(log)
    kept = np.flatnonzero(chosen)
    holes = np.flatnonzero(chosen[1:] & ~chosen[:-1] & (session[1:] == session[:-1]))
    if len(holes):
        raise CourseError(
            f"The selected rows of a session must come first in it, but row {holes[0]} is left "
            f"out and row {holes[0] + 1} selected: choose whole sessions or their beginnings."
        )
    session = session[kept]
    if not len(kept) or not (session[1:] == session[:-1]).any():
        raise CourseError("No session has two selected events: nothing can be masked and told.")
    at, real, fresh = lay_out(session, np.ones(len(kept), bool), length, overlap)
    told = real.sum(axis=1) > 1
    at, real, fresh = at[told], real[told], fresh[told]
    row = kept[at]
    return FieldSequences(
        inputs=np.where(real, row + 2, PADDING).astype(np.int32),
        targets=np.zeros(row.shape, np.int32),
        mask=real,
        rows=np.where(fresh, row, -1),
        session_id=session[at[:, 0]],
        outcomes=(),
        fields=fields,
        table=fields.table(log),
    )


def question_sequences(
    log: pd.DataFrame,
    fields: Fields,
    labels: pd.Series,
    *,
    rows: np.ndarray | None = None,
    length: int = 50,
) -> FieldSequences:
    """Make one sequence a question: the events up to a row, then one masked event.

    What a bidirectional network puts out anywhere has read everything in its sequence, so
    nothing behind the asked row may stand there. The answer is read at the masked event.

    Args:
        log: A clean log with sessions.
        fields: Codes of its events.
        labels: What is asked at each row, as for `event_sequences` or `item_sequences`.
        rows: Mask of the rows that ask, bool [rows of the log]; None: all. Those without a
            label ask nothing.
        length: Positions in a sequence, the masked event included; of a longer past the last
            events are read.

    Raises:
        CourseError: If `length` leaves no event to read, labels or mask do not fit the log, or
            nothing is asked.
    """
    if length < 2:
        raise CourseError(f"A question reads at least one event: length {length} is too short.")
    outcomes, targets = answers_of_rows(log, labels)
    asked = np.flatnonzero(chosen_rows(log, rows) & (targets >= 0))
    if not len(asked):
        raise CourseError("No selected row has a label, so nothing is asked.")
    begin = np.maximum(session_bounds(log)[0][asked], asked - (length - 2))
    events = asked - begin + 1
    position = np.arange(events.max() + 1)
    row = begin[:, None] + position
    number = np.where(position < events[:, None], row + 2, PADDING)
    here = position == events[:, None]
    number[here] = MASK
    return FieldSequences(
        inputs=number.astype(np.int32),
        targets=np.where(here, targets[asked][:, None], 0).astype(np.int32),
        mask=here,
        rows=np.where(here, asked[:, None], -1),
        session_id=session_ids(log)[asked],
        outcomes=tuple(outcomes),
        fields=fields,
        table=fields.table(log),
    )


def served(log: pd.DataFrame) -> tuple[str, ...]:
    """The fields of `NAMES` that a log has something to make of."""
    columns = {"item": "item_id", "category": "category_id", "price": "price"}
    there = []
    for name in NAMES:
        if name == "event":
            has = True
        elif name == "gap":
            has = offers(log, "gaps")
        else:
            has = columns[name] in log and bool(log[columns[name]].notna().any())
        if has:
            there.append(name)
    return tuple(there)


def _column(log: pd.DataFrame, name: str) -> pd.Series:
    column = {"item": "item_id", "category": "category_id"}.get(name)
    column = column or log.attrs.get("event_column", "event")
    return log[column].astype("category")


def _gap_bands(log: pd.DataFrame) -> np.ndarray:
    """Band of the time since the event before, int64 [rows]: 0 where a session begins."""
    first = np.arange(len(log)) == session_bounds(log)[0]
    seconds = log["timestamp"].diff().dt.total_seconds().to_numpy()
    band = np.searchsorted(GAP_EDGES, seconds, "right") + 1
    return np.where(first, 0, band)
