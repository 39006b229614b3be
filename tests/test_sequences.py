"""Sequences: every row scored once, in its place, beside what it may look at."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.errors import CourseError
from course_lib.sequences import (
    PADDING,
    Batches,
    Catalogue,
    Fields,
    Vocabulary,
    event_sequences,
    field_sequences,
    item_sequences,
)
from course_lib.sessions import next_event, next_item, purchase_later

EVENTS = ["view", "search", "cart", "purchase"]


def log_of(*sessions: str) -> pd.DataFrame:
    """A clean log from sessions spelt with the first letters of `EVENTS`: ``"vscp"``."""
    name = {event[0]: event for event in EVENTS}
    events = [name[letter] for session in sessions for letter in session]
    log = pd.DataFrame(
        {
            "session_id": np.repeat(np.arange(len(sessions)), [len(s) for s in sessions]),
            "event": pd.Categorical(events, categories=EVENTS),
        }
    )
    log["user_id"] = log["session_id"]
    log["timestamp"] = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(log.index, unit="s")
    return log


def test_a_small_log_by_hand():
    log = log_of("vsv", "vcvp")
    vocabulary = Vocabulary.fit(log["event"])
    sequences = event_sequences(log, vocabulary, next_event(log), length=8)
    assert vocabulary.names == ("view", "search", "cart", "purchase")
    assert sequences.inputs.tolist() == [[1, 2, 1, 0], [1, 3, 1, 4]]
    assert sequences.rows.tolist() == [[0, 1, 2, -1], [3, 4, 5, 6]]
    assert sequences.mask.tolist() == [[True, True, True, False], [True] * 4]
    assert sequences.outcomes == ("view", "search", "cart", "purchase", "leave")
    named = [[sequences.outcomes[code] for code in row] for row in sequences.targets]
    assert named[0][:3] == ["search", "view", "leave"]
    assert named[1] == ["cart", "view", "purchase", "leave"]


def test_purchase_labels_are_false_then_true_and_unscored_from_the_purchase_on():
    log = log_of("vv", "vcpv")
    vocabulary = Vocabulary.fit(log["event"])
    sequences = event_sequences(log, vocabulary, purchase_later(log), length=8)
    assert sequences.outcomes == (False, True)
    assert sequences.mask.tolist() == [[True, True, False, False], [True, True, False, False]]
    assert sequences.targets.tolist() == [[0, 0, 0, 0], [1, 1, 0, 0]]
    assert sequences.rows.tolist() == [[0, 1, -1, -1], [2, 3, 4, 5]]


def test_field_sequences_ask_the_same_and_show_whole_events():
    log = log_of("vsv", "vcvpv", "sc")
    kinds = event_sequences(log, Vocabulary.fit(log["event"]), next_event(log), length=4)
    fields = Fields.fit(log, names=["event", "gap"])
    whole = field_sequences(log, fields, next_event(log), length=4)
    for name in ("targets", "mask", "rows", "session_id"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(kinds, name))
    read = whole.read(whole.inputs)
    # Codes of a field stand two higher: there is one for a mask and one for what is unknown.
    np.testing.assert_array_equal(read[..., 0], np.where(kinds.inputs, kinds.inputs + 2, 0))
    # Band 0 is a session's first event, band 1 less than two seconds; a piece that goes on
    # begins with context, which has a time before it.
    assert read[..., 1].tolist() == [[3, 4, 4, 0], [3, 4, 4, 4], [4, 4, 4, 0], [3, 4, 0, 0]]


def test_a_long_session_goes_on_with_context_and_no_row_twice():
    log = log_of("vscvscvscv")
    vocabulary = Vocabulary.fit(log["event"])
    sequences = event_sequences(log, vocabulary, next_event(log), length=4, overlap=1)
    assert sequences.rows.tolist() == [[0, 1, 2, 3], [-1, 4, 5, 6], [-1, 7, 8, 9]]
    assert sequences.inputs[1].tolist() == vocabulary.encode(log["event"])[3:7].tolist()


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    length=st.integers(1, 12),
    data=st.data(),
)
def test_every_row_stands_once_behind_its_own_session_only(lengths, length, data):
    overlap = data.draw(st.integers(0, length - 1))
    random = np.random.default_rng(sum(lengths))
    log = log_of(*("".join(random.choice(list("vscp"), n)) for n in lengths))
    vocabulary = Vocabulary.fit(log["event"])
    labels = next_event(log)
    sequences = event_sequences(log, vocabulary, labels, length=length, overlap=overlap)
    rows = sequences.rows
    assert sorted(rows[rows >= 0]) == list(range(len(log)))
    codes = vocabulary.encode(log["event"])
    session = log["session_id"].to_numpy()
    for number, place in zip(*np.nonzero(rows >= 0), strict=True):
        row = rows[number, place]
        seen = sequences.inputs[number, : place + 1]
        assert seen.tolist() == codes[row - place : row + 1].tolist()
        assert set(session[row - place : row + 1]) == {sequences.session_id[number]}
        first_of_session = np.flatnonzero(session == session[row])[0]
        assert place >= min(overlap, row - first_of_session)
        assert sequences.outcomes[sequences.targets[number, place]] == labels[row]
    padded = sequences.inputs == PADDING
    assert not (np.diff(padded.astype(int), axis=1) < 0).any()
    assert not sequences.mask[padded].any()


def test_labels_make_the_round_trip_through_positions():
    log = log_of("vsv", "vcvpvvvvs", "s")
    labels = next_event(log)
    sequences = event_sequences(log, Vocabulary.fit(log["event"]), labels, length=4)
    back = sequences.to_rows(sequences.targets, len(log))
    assert back.tolist() == labels.cat.codes.tolist()


def test_only_selected_rows_are_scored_and_others_come_back_missing():
    log = log_of("vsv", "vcvp", "vv")
    chosen = (log["session_id"] == 1).to_numpy(copy=True)
    chosen[7] = True
    sequences = event_sequences(log, Vocabulary.fit(log["event"]), next_event(log), rows=chosen)
    assert sequences.session_id.tolist() == [1, 2]
    assert sequences.inputs[1, :2].tolist() == [1, 1]
    assert sequences.rows[1].tolist() == [7, -1, -1, -1]
    back = sequences.to_rows(np.ones(sequences.rows.shape), len(log))
    assert np.flatnonzero(~np.isnan(back)).tolist() == [3, 4, 5, 6, 7]


def test_a_row_is_read_behind_its_unselected_past_and_nothing_further():
    log = log_of("vscvscvscv", "vv")
    chosen = np.arange(len(log)) == 7
    labels = next_event(log)
    sequences = event_sequences(
        log, Vocabulary.fit(log["event"]), labels, rows=chosen, length=4, overlap=2
    )
    assert sequences.rows.tolist() == [[-1, -1, -1, 7]]
    assert sequences.inputs.tolist() == [[2, 3, 1, 2]]
    assert sequences.length == 4


def test_a_vocabulary_is_fitted_on_its_rows_and_knows_what_it_does_not_know():
    log = log_of("vsv", "cp")
    vocabulary = Vocabulary.fit(log["event"], (log["session_id"] == 0).to_numpy())
    assert vocabulary.names == ("view", "search")
    codes = vocabulary.encode(pd.Series(["search", "cart", None]))
    assert codes.tolist() == [2, vocabulary.unknown, vocabulary.unknown]
    assert vocabulary.size == vocabulary.unknown + 1
    assert vocabulary.decode([0, 1, 2, 3]) == ["(padding)", "view", "search", "(unknown)"]


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"overlap": 8, "length": 8}, "from 0 to 7"),
        ({"rows": np.zeros(3, bool)}, "No row"),
        ({"rows": np.array([0, 1])}, "boolean mask"),
    ],
)
def test_bad_input_is_one_sentence(options, part):
    log = log_of("vsv")
    with pytest.raises(CourseError, match=part):
        event_sequences(log, Vocabulary.fit(log["event"]), next_event(log), **options)


def test_forecasts_of_sequences_instead_of_positions_are_refused():
    log = log_of("vsv", "vv")
    sequences = event_sequences(log, Vocabulary.fit(log["event"]), next_event(log))
    with pytest.raises(CourseError, match="return_sequences"):
        sequences.to_rows(np.ones((2, 5)), len(log))


ITEMS = [f"item {letter}" for letter in "abcde"]


def shop_log(*sessions: str) -> pd.DataFrame:
    """A log of sessions spelt in items: ``"ab-c"`` is a, b, a search without an item, c."""
    letters = [letter for session in sessions for letter in session]
    log = pd.DataFrame(
        {
            "session_id": np.repeat(np.arange(len(sessions)), [len(s) for s in sessions]),
            "event": pd.Categorical(["search" if x == "-" else "view" for x in letters]),
            "item_id": pd.Categorical(
                [None if x == "-" else f"item {x}" for x in letters], categories=ITEMS
            ),
        }
    )
    log["user_id"] = log["session_id"]
    log["timestamp"] = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(log.index, unit="s")
    return log


def test_item_sequences_by_hand():
    log = shop_log("ab-c", "-ba", "-", "e")
    catalogue = Catalogue.fit(log, np.arange(len(log)) < 7)
    assert catalogue.counts.tolist() == [2, 2, 1, 0, 0]
    assert catalogue.cold.tolist() == [False] * 3 + [True] * 2
    sequences = item_sequences(log, catalogue, length=8)
    assert sequences.inputs.tolist() == [[1, 2, 3], [2, 1, 0], [5, 0, 0]]
    # What follows b is asked in the row of the search, the one before c.
    assert sequences.rows.tolist() == [[0, 2, 3], [5, 6, -1], [8, -1, -1]]
    assert sequences.mask.tolist() == [[True, True, False], [True, False, False], [False] * 3]
    assert sequences.targets.tolist() == [[1, 2, 0], [0, 0, 0], [0, 0, 0]]
    assert sequences.blind_rows.tolist() == [4] and sequences.blind_targets.tolist() == [1]


@settings(max_examples=60, deadline=None)
@given(
    sessions=st.lists(st.text("abcde-", min_size=1, max_size=14), min_size=1, max_size=8),
    length=st.integers(1, 6),
    data=st.data(),
)
def test_items_are_asked_where_the_labels_are_behind_what_was_seen(sessions, length, data):
    log = shop_log(*sessions)
    overlap = data.draw(st.integers(0, length - 1))
    labels = next_item(log)
    chosen = np.array(data.draw(st.lists(st.booleans(), min_size=len(log), max_size=len(log))))
    try:
        sequences = item_sequences(
            log, Catalogue.fit(log), rows=chosen, length=length, overlap=overlap
        )
    except CourseError as error:
        assert "No" in str(error)
        return
    asked = np.r_[sequences.rows[sequences.mask], sequences.blind_rows]
    assert sorted(asked) == np.flatnonzero(labels.notna() & chosen).tolist()
    codes = log["item_id"].cat.codes.to_numpy() + 1
    session = log["session_id"].to_numpy()
    for number, place in zip(*np.nonzero(sequences.mask), strict=True):
        row = sequences.rows[number, place]
        assert ITEMS[sequences.targets[number, place]] == labels[row]
        seen = codes[: row + 1][(session[: row + 1] == session[row]) & (codes[: row + 1] > 0)]
        read = sequences.inputs[number, : place + 1].tolist()
        assert read == seen[-len(read) :].tolist()
        assert len(read) >= min(len(seen), overlap + 1)
    scored = (sequences.rows >= 0).cumsum(axis=1)
    behind_the_last = (scored == scored[:, -1:]) & (sequences.rows < 0)
    assert (sequences.inputs[behind_the_last] == PADDING).all()


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=60),
    batch_size=st.integers(1, 20),
    shapes=st.integers(1, 5),
    seed=st.integers(0, 3),
)
def test_batches_hold_every_scored_position_once_in_few_shapes(sizes, batch_size, shapes, seed):
    log = log_of(*("v" * size for size in sizes))
    sequences = event_sequences(log, Vocabulary.fit(log["event"]), next_event(log), length=12)
    batches = Batches(sequences, batch_size, shapes=shapes)
    steps = batches.steps(np.random.default_rng(seed))
    assert len(steps) == len(batches) and len(batches.shapes) <= shapes
    rows = []
    for step in steps:
        arrays, (inputs, targets, weights) = batches.gathered(step), batches.grid(step)
        assert inputs.shape == batches.shapes[step[0]]
        count = int(weights.sum())
        assert len(arrays["positions"]) == batches.capacity and batches.capacity % 64 == 0
        assert arrays["weights"].tolist() == [1] * count + [0] * (batches.capacity - count)
        places = arrays["positions"][:count]
        assert arrays["targets"][:count].tolist() == targets.ravel()[places].tolist()
        assert len(batches.rows(step)) == count and (inputs.ravel()[places] > 0).all()
        rows.extend(batches.rows(step))
    assert sorted(rows) == list(range(len(log)))


def test_shapes_are_cut_where_the_least_padding_is_left():
    sizes = [2] * 50 + [3] * 50 + [11] * 10 + [12] * 10
    log = log_of(*("v" * size for size in sizes))
    sequences = event_sequences(log, Vocabulary.fit(log["event"]), next_event(log), length=12)
    assert [length for _, length in Batches(sequences, 12, shapes=2).shapes] == [3, 12]
    assert [length for _, length in Batches(sequences, 12, shapes=4).shapes] == [2, 3, 11, 12]
    batches = Batches(sequences, 12, shapes=2)
    counts = [batches.gathered(step)["weights"].sum() for step in batches.steps()]
    assert max(counts) - min(counts) <= 0.25 * max(counts)
    assert {shape for shape, _ in batches.steps(np.random.default_rng(1))[:2]} == {0, 1}
