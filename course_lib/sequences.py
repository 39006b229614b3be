"""Sessions to padded arrays and back (derived in lesson 05).

A network reads a rectangle: one row a sequence, one column a position. Sessions have any
length, so they are *right-padded*: the real events stand first, code 0 fills the rest. Each
real position carries the row of the log that it came from; a forecast made at that position
goes back to that row, beside the baselines' and the oracle's.

`event_sequences` are made of kinds of events, `item_sequences` of the items of a `Catalogue`.
`Batches` cuts either into steps of like lengths, so that little padding is computed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from course_lib.baselines import outcomes_and_codes
from course_lib.baselines.ranking import Visits
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
    chosen = _chosen(log, rows)
    if len(labels) != len(log):
        raise CourseError(
            f"The log has {len(log)} rows and the labels {len(labels)}: give one label to each."
        )
    codes = vocabulary.encode(log[log.attrs.get("event_column", "event")])
    outcomes, targets = outcomes_and_codes(labels)

    session = session_ids(log)
    row, real, fresh = _lay_out(session, chosen, length, overlap)
    mask = fresh & (targets[row] >= 0)
    return Sequences(
        inputs=np.where(real, codes[row], PADDING).astype(np.int32),
        targets=np.where(mask, targets[row], 0).astype(np.int32),
        mask=mask,
        rows=np.where(fresh, row, -1),
        session_id=session[row[:, 0]],
        outcomes=tuple(outcomes),
    )


def _chosen(log: pd.DataFrame, rows: np.ndarray | None) -> np.ndarray:
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


def _lay_out(
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
        item = visits.item[_chosen(log, rows)[visits.row]]
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
    chosen = _chosen(log, rows)
    visits = Visits(log, catalogue.items)
    if not len(visits.row):
        raise CourseError("No row of the log has an item, so there is no sequence to build.")
    follows = np.r_[visits.session[1:] == visits.session[:-1], False]
    asked = np.where(follows, np.r_[visits.row[1:], 0] - 1, visits.row)
    if not chosen[asked].any():
        raise CourseError("No selected row has an item to read: there is no sequence to build.")
    at, real, fresh = _lay_out(visits.session, chosen[asked], length, overlap)
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


class Batches:
    """Sequences cut into steps: like lengths together, few shapes, alike many scored positions.

    A shape is a number of sequences and a length; XLA compiles a step once for each. Sequences
    are sorted into `shapes` groups by length, cut where the least padding is left, and a group
    of short sequences takes more of them a step, so that all steps score about the same number
    of positions: `capacity` is the largest. Inside a group, sequences are dealt out by size
    like cards, those of one size in random order, so each epoch has the same number of steps,
    other sequences in each, and never a position more than `capacity`.

    Args:
        sequences: What to cut. Sequences in which `wanted` selects nothing are left out.
        batch_size: Sequences a step, on average.
        shapes: At most so many shapes.
        wanted: The positions that count, bool [sequences, length]; None: the scored ones.
        multiple: The capacity is rounded up to a multiple of this.

    Attributes:
        capacity: Positions in a step, filled up with positions of weight 0.

    Raises:
        CourseError: If no position counts, or `batch_size` or `shapes` is below 1.
    """

    def __init__(
        self,
        sequences: Sequences,
        batch_size: int,
        *,
        shapes: int = 4,
        wanted: np.ndarray | None = None,
        multiple: int = 64,
    ):
        if batch_size < 1 or shapes < 1:
            raise CourseError(
                f"A step needs at least one sequence and there is at least one shape, not "
                f"batch_size={batch_size} and shapes={shapes}."
            )
        self.sequences = sequences
        self.wanted = sequences.mask if wanted is None else wanted
        self._counts = self.wanted.sum(axis=1)
        kept = np.flatnonzero(self._counts)
        if not len(kept):
            raise CourseError("No position of these sequences is scored: there is no step to make.")
        length = sequences.length - np.argmax(sequences.inputs[:, ::-1] != PADDING, axis=1)
        self._groups, most = [], 0
        positions = batch_size * self._counts[kept].mean()
        below = 0
        for edge in _edges(length[kept], shapes):
            members = kept[(length[kept] > below) & (length[kept] <= edge)]
            steps = max(1, round(self._counts[members].sum() / positions))
            self._groups.append((edge, steps, members))
            most = max(most, max(self._counts[part].sum() for part in self._deal(members, steps)))
            below = edge
        self.capacity = -(-int(most) // multiple) * multiple

    def __len__(self) -> int:
        return sum(steps for _, steps, _ in self._groups)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Sequences and length of each shape."""
        return [(-(-len(members) // steps), edge) for edge, steps, members in self._groups]

    def _deal(
        self, members: np.ndarray, steps: int, rng: np.random.Generator | None = None
    ) -> list[np.ndarray]:
        if rng is not None:
            members = rng.permutation(members)
        order = members[np.argsort(self._counts[members], kind="stable")]
        return [order[first::steps] for first in range(steps)]

    def steps(self, rng: np.random.Generator | None = None) -> list[tuple[int, np.ndarray]]:
        """Deal one epoch: the number of its shape and the sequences of each step.

        The first two steps are of the smallest and the largest shape, if there are two, because
        Keras looks at them to learn which dimensions vary.

        Args:
            rng: Of the order; None: always the same one.
        """
        dealt = [
            (shape, part)
            for shape, (_, steps, members) in enumerate(self._groups)
            for part in self._deal(members, steps, rng)
        ]
        if rng is not None:
            dealt = [dealt[place] for place in rng.permutation(len(dealt))]
        if len(self._groups) > 1:
            by_size = sorted(range(len(self._groups)), key=lambda shape: self.shapes[shape])
            ahead = [
                next(step for step in dealt if step[0] == shape)
                for shape in (by_size[0], by_size[-1])
            ]
            dealt = ahead + [step for step in dealt if all(step is not one for one in ahead)]
        return dealt

    def grid(self, step: tuple[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return inputs, targets (int32) and weights (float32) of a step, [sequences, length]."""
        sequences = self.sequences
        rectangles = sequences.inputs, sequences.targets, self.wanted
        inputs, targets, wanted = (self._cut(array, step) for array in rectangles)
        return inputs, targets, wanted.astype(np.float32)

    def gathered(self, step: tuple[int, np.ndarray]) -> dict[str, np.ndarray]:
        """Return a step as its inputs and a list of the positions that count.

        Returns:
            ``codes`` int32 [sequences, length]; ``positions`` int32 [capacity], places in the
            flattened codes, filled up with 0; ``targets`` int32 [capacity]; ``weights`` float32
            [capacity], 0 where filled up.
        """
        inputs, targets, weights = self.grid(step)
        places = np.flatnonzero(weights)
        fill = (0, self.capacity - len(places))
        return {
            "codes": inputs,
            "positions": np.pad(places.astype(np.int32), fill),
            "targets": np.pad(targets.ravel()[places], fill),
            "weights": np.pad(np.ones(len(places), np.float32), fill),
        }

    def rows(self, step: tuple[int, np.ndarray]) -> np.ndarray:
        """Return the rows of the log of the positions that count in a step, as `gathered`."""
        wanted = self._cut(self.wanted, step)
        return self._cut(self.sequences.rows, step)[wanted]

    def _cut(self, array: np.ndarray, step: tuple[int, np.ndarray]) -> np.ndarray:
        shape, which = step
        size, length = self.shapes[shape]
        return np.pad(array[which, :length], ((0, size - len(which)), (0, 0)))


def _edges(lengths: np.ndarray, shapes: int) -> list[int]:
    """Lengths to pad to, at most `shapes` of them, so that the fewest positions are padded."""
    values, counts = np.unique(lengths, return_counts=True)
    n = len(values)
    before = np.r_[0, counts.cumsum()]
    # cost[g, i]: positions computed for the i shortest lengths in g groups.
    cost = np.full((min(shapes, n) + 1, n + 1), np.inf)
    cut = np.zeros(cost.shape, np.int64)
    cost[0, 0] = 0
    for group in range(1, len(cost)):
        for end in range(1, n + 1):
            options = cost[group - 1, :end] + (before[end] - before[:end]) * values[end - 1]
            cut[group, end] = np.argmin(options)
            cost[group, end] = options[cut[group, end]]
    edges, end = [], n
    for group in range(len(cost) - 1, 0, -1):
        edges.append(int(values[end - 1]))
        end = cut[group, end]
    return edges[::-1]
