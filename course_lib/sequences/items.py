"""Sequences of items, which ask for the next one (derived in lesson 06)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from course_lib.baselines.ranking import Visits
from course_lib.errors import CourseError
from course_lib.sequences.events import PADDING, Sequences, chosen_rows, lay_out
from course_lib.sessions import session_ids


@dataclass(frozen=True)
class Catalogue:
    """The items that can come next, and how often each was seen in training.

    Item ``items[c]`` has the code ``c + 1`` in the inputs of sequences, where 0 is padding, and
    the place ``c`` among a network's outputs: no output stands for padding.

    Attributes:
        items: All items that the log knows, those never seen in training included.
        counts: How often each one stands in the training rows, int64 [items].
    """

    items: pd.Index
    counts: np.ndarray

    @classmethod
    def fit(cls, log: pd.DataFrame, rows: np.ndarray | None = None) -> Catalogue:
        """Take the categories of the log's items, and count the selected rows.

        Args:
            log: A clean log with sessions and items.
            rows: Mask of the rows whose items are counted, those of the training part;
                None: all.

        Raises:
            CourseError: If the log has no items or sessions, or no row is selected.
        """
        visits = Visits(log)
        item = visits.item[chosen_rows(log, rows)[visits.row]]
        return cls(visits.items, np.bincount(item, minlength=len(visits.items)))

    def __len__(self) -> int:
        return len(self.items)

    @property
    def cold(self) -> np.ndarray:
        """Which items training never saw, bool [items]."""
        return self.counts == 0


@dataclass(frozen=True)
class ItemSequences(Sequences):
    """Sequences of items; what is asked at a position is the item that comes next.

    `inputs` hold codes of the `catalogue`, `targets` places in it (see `Catalogue`).

    Attributes:
        catalogue: The items.
        visits: The log's rows with an item, and where its rows stand among them.
        blind_rows: Selected rows with a label and no item so far (a session that begins with
            a search, say), int64 [blind]: there is nothing to read for a network.
        blind_targets: The place of their next item in the catalogue, int64 [blind].
    """

    catalogue: Catalogue
    visits: Visits
    blind_rows: np.ndarray
    blind_targets: np.ndarray


def item_sequences(
    log: pd.DataFrame,
    catalogue: Catalogue,
    *,
    rows: np.ndarray | None = None,
    length: int = 50,
    overlap: int | None = None,
) -> ItemSequences:
    """Lay the items of each session out as right-padded sequences that ask for the next item.

    Rows without an item are passed over. So a position stands for the row in which its next
    item is asked, which is the row before that item: the one with the label of
    `sessions.next_item`. At the last item of a session it is the item's own row, unlabelled.
    What lies behind the last scored position of a sequence is cut off. Longer sessions go on in
    further sequences as in `event_sequences`. Derived in lesson 06.

    Args:
        log: A clean log with sessions and items.
        catalogue: Codes for its items.
        rows: Mask of the rows whose next item is asked, bool [rows of the log]; None: all.
        length: Positions in a sequence.
        overlap: Items repeated as context; None: half of `length`. With ``length - 1`` each
            position is read behind all `length` - 1 items before it, in a sequence of its own
            where the session is longer: right for one asked row a session.

    Raises:
        CourseError: If the lengths do not fit together, the mask or the catalogue does not fit
            the log, or no selected row has an item to read.
    """
    chosen = chosen_rows(log, rows)
    visits = Visits(log, catalogue.items)
    if not len(visits.row):
        raise CourseError("No row of the log has an item, so there is no sequence to build.")
    follows = np.r_[visits.session[1:] == visits.session[:-1], False]
    asked = np.where(follows, np.r_[visits.row[1:], 0] - 1, visits.row)
    if not chosen[asked].any():
        raise CourseError("No selected row has an item to read: there is no sequence to build.")
    at, real, fresh = lay_out(visits.session, chosen[asked], length, overlap)
    last = fresh.shape[1] - np.argmax(fresh[:, ::-1], axis=1)
    real &= np.arange(fresh.shape[1]) < last[:, None]
    mask = fresh & follows[at]

    first = np.flatnonzero(np.diff(visits.session, prepend=-1))
    before = visits.row[first] - 1
    session = session_ids(log)
    there = (before >= 0) & (session[before] == visits.session[first]) & chosen[before]
    return ItemSequences(
        inputs=np.where(real, visits.item[at] + 1, PADDING).astype(np.int32),
        targets=np.where(mask, np.r_[visits.item[1:], 0][at], 0).astype(np.int32),
        mask=mask,
        rows=np.where(fresh, asked[at], -1),
        session_id=visits.session[at[:, 0]],
        outcomes=tuple(catalogue.items),
        catalogue=catalogue,
        visits=visits,
        blind_rows=before[there],
        blind_targets=visits.item[first[there]],
    )
