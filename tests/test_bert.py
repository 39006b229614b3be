"""Whole events as sequences, masking, the encoder and its heads: codes, leaks, rates, losses."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from backend_step import set_weights, small_log
from both_backends import assert_alike

from course_lib.backend import keras, keras_hub
from course_lib.baselines.ranking import Popularity, Visits
from course_lib.errors import CourseError
from course_lib.models.bert import (
    GatheredHead,
    answer_network,
    behaviour_encoder,
    masked_network,
    take_along,
)
from course_lib.sequences import (
    MASK,
    PADDING,
    UNKNOWN,
    Batches,
    Fields,
    FieldSequences,
    question_sequences,
    whole_sequences,
)
from course_lib.sessions import assign_sessions, next_event, next_item
from course_lib.training import fit, forecast
from course_lib.training.masked import (
    marks,
    masked_scores,
    masked_steps,
    masking_network,
    pretrain,
    rank_masked,
)

ROOT = Path(__file__).parents[1]
LOG = small_log(sessions=90)
TRAIN = (LOG["session_id"] < 60).to_numpy()
FIELDS = Fields.fit(LOG, TRAIN)
WHOLE = whole_sequences(LOG, FIELDS, rows=TRAIN, length=9)
NAMES = ("event", "item")


def shop(gaps: tuple[float, ...] = (0, 1.9, 2, 500), **columns: object) -> pd.DataFrame:
    """One session of four events and one of two."""
    seconds = np.r_[np.cumsum(gaps), 0, 30]
    log = pd.DataFrame(
        {
            "user_id": pd.Categorical(list("aaaabb")),
            "session_id": [0, 0, 0, 0, 1, 1],
            "timestamp": pd.Timestamp("2026-01-01", tz="UTC")
            + pd.to_timedelta(seconds, unit="s").round("ms"),
            "event": pd.Categorical(["view", "cart", "view", "view", "view", "cart"]),
            "item_id": pd.Categorical(list("pqprsp"), categories=list("pqrs")),
            "category_id": pd.Categorical(["x", "y", "x", None, "z", "x"]),
            "price": [1.0, 2.0, 1.0, np.nan, 4.0, 1.0],
        }
    )
    return assign_sessions(log.assign(**columns), source="shop")


FIRST = np.array([1, 1, 1, 1, 0, 0], bool)
"""The rows of the first session."""


def small_encoder(fields: Fields = FIELDS, **changes: object) -> keras.Model:
    size = {"width": 8, "blocks": 1, "dropout": 0.0, "length": 10} | changes
    return behaviour_encoder(fields, **size)


# --- codes ---------------------------------------------------------------------------------


def test_codes_by_hand():
    fields = Fields.fit(shop(), FIRST)
    assert fields.names == ("item", "event", "category", "price", "gap")
    # Training saw categories x and y, prices 1, 2, 1; the item s is cold and has a code.
    assert fields.values["category"] == ("x", "y")
    assert fields.values["item"] == ("p", "q", "r", "s")
    edges = [1.0, 1.2, 1.4, 1.6, 1.8]  # tenths of 1, 1, 2; those that coincide are one
    assert fields.price_edges == pytest.approx(edges)
    codes = fields.encode(shop())
    assert codes[:, 0].tolist() == [3, 4, 3, 5, 6, 3]
    assert codes[:, 1].tolist() == [4, 3, 4, 4, 4, 3]  # cart, view
    assert codes[:, 2].tolist() == [3, 4, 3, UNKNOWN, UNKNOWN, 3]
    assert codes[:, 3].tolist() == [4, 8, 4, UNKNOWN, 8, 4]  # a band begins at its edge
    # First of a session; below 2 s; from 2 s; from 420 s; first; from 20 s.
    assert codes[:, 4].tolist() == [3, 4, 5, 12, 3, 8]
    assert codes.max(axis=0).tolist() <= [fields.size(name) - 1 for name in fields.names]
    table = fields.table(shop())
    assert table[:2].tolist() == [[PADDING] * 5, [MASK] * 5]
    assert (table[2:] == codes).all() and table.dtype == np.int32
    assert fields.places(np.array([0, 1, 2, 3, 5])).tolist() == [-1, -1, -1, 0, 2]
    assert fields.scored(np.arange(14).reshape(2, 7)).tolist() == [[3, 4, 5, 6], [10, 11, 12, 13]]


def test_fields_are_those_that_the_log_has():
    bare = shop().drop(columns=["category_id", "price"])
    assert Fields.fit(bare).names == ("item", "event", "gap")
    no_clock = shop()
    no_clock.attrs["clock"] = "order"
    assert Fields.fit(no_clock).names == ("item", "event", "category", "price")
    assert Fields.fit(shop(), names=["gap", "event"]).names == ("gap", "event")
    # No price in the training part: the field is there, and knows nothing.
    late = Fields.fit(shop(price=[np.nan] * 4 + [4.0, 1.0]), FIRST)
    assert late.encode(shop())[:, 3].tolist() == [3, 3, 3, UNKNOWN, 3, 3]


def test_another_shop_keeps_the_kinds_of_events():
    here = shop(event=pd.Categorical(["view", "add", "view", "view", "view", "add"]))
    there = Fields.fit(shop())
    like = Fields.fit(here, like=there)
    assert like.values["event"] == there.values["event"] == ("cart", "view")
    assert like.encode(here)[:, 1].tolist() == [4, UNKNOWN, 4, 4, 4, UNKNOWN]
    assert Fields.fit(here).values["event"] == ("add", "view")


def test_fields_refuse_what_is_not_there():
    with pytest.raises(CourseError, match="category"):
        Fields.fit(shop(), names=["categry"])
    with pytest.raises(CourseError, match="nothing to make the field 'price' of; it has item"):
        Fields.fit(shop().drop(columns="price"), names=["price"])
    with pytest.raises(CourseError, match="No row of the log is selected"):
        Fields.fit(shop(), np.zeros(6, bool))
    with pytest.raises(CourseError, match="at least one field"):
        Fields.fit(shop(), names=[])


# --- sequences -----------------------------------------------------------------------------


def test_whole_sessions_by_hand():
    fields = Fields.fit(shop())
    whole = whole_sequences(shop(), fields, length=3)
    # The piece of one event at the end of the first session has nothing to be told from.
    assert whole.inputs.tolist() == [[2, 3, 4], [6, 7, 0]]
    assert whole.rows.tolist() == [[0, 1, 2], [4, 5, -1]]
    assert (whole.mask == (whole.inputs > 0)).all()
    again = whole_sequences(shop(), fields, length=3, overlap=1)
    assert again.inputs.tolist() == [[2, 3, 4], [4, 5, 0], [6, 7, 0]]
    assert again.rows.tolist() == [[0, 1, 2], [-1, 3, -1], [4, 5, -1]]
    begun = np.array([1, 1, 0, 0, 1, 0], bool)
    assert whole_sequences(shop(), fields, rows=begun, length=3).inputs.tolist() == [[2, 3]]
    assert (whole.read(whole.inputs)[0] == fields.encode(shop())[:3]).all()


def test_whole_sessions_refuse_what_cannot_be_masked():
    fields = Fields.fit(shop())
    for rows in (np.array([1, 0, 0, 0, 1, 0], bool), np.array([1, 0, 0, 0, 0, 0], bool)):
        with pytest.raises(CourseError, match="two selected events"):
            whole_sequences(shop(), fields, rows=rows)
    with pytest.raises(CourseError, match="at least two events"):
        whole_sequences(shop(), fields, length=1)
    with pytest.raises(CourseError, match="overlap"):
        whole_sequences(shop(), fields, length=4, overlap=4)
    holed = np.array([1, 0, 1, 1, 1, 1], bool)
    with pytest.raises(CourseError, match="row 1 is left out and row 2 selected"):
        whole_sequences(shop(), fields, rows=holed)


def test_questions_by_hand():
    fields, labels = Fields.fit(shop()), next_event(shop())
    asked = question_sequences(shop(), fields, labels, length=4)
    assert asked.inputs.tolist() == [
        [2, 1, 0, 0],
        [2, 3, 1, 0],
        [2, 3, 4, 1],
        [3, 4, 5, 1],  # of a longer past the last events
        [6, 1, 0, 0],
        [6, 7, 1, 0],
    ]
    assert asked.mask.sum(axis=1).tolist() == [1] * 6
    assert (asked.inputs[asked.mask] == MASK).all()
    assert asked.rows[asked.mask].tolist() == [0, 1, 2, 3, 4, 5]
    told = [asked.outcomes[place] for place in asked.targets[asked.mask]]
    assert told == ["cart", "view", "view", "leave", "cart", "leave"]
    some = question_sequences(shop(), fields, labels, rows=FIRST, length=3)
    assert some.inputs.tolist() == [[2, 1, 0], [2, 3, 1], [3, 4, 1], [4, 5, 1]]
    unlabelled = question_sequences(shop(), fields, next_item(shop()), length=4)
    assert unlabelled.rows[unlabelled.mask].tolist() == [0, 1, 2, 4]


def test_nothing_behind_the_asked_row_is_in_a_question():
    """Whatever happens later, all that is read stays: of the arrays, and of what is forecast."""
    ends = LOG.groupby("session_id").cumcount() == 2
    asked = ends.to_numpy() & next_event(LOG).notna().to_numpy()
    later = (LOG.groupby("session_id").cumcount() > 2).to_numpy()
    other = LOG.copy()
    for column, value in (("event", "cart"), ("item_id", "item 0")):
        other.loc[later, column] = value
    other.loc[later, "timestamp"] += pd.Timedelta("1h")
    assert (FIELDS.encode(other) != FIELDS.encode(LOG)).any()
    network = answer_network(small_encoder(), ("cart", "leave", "view"))
    read, told = [], []
    for log in (LOG, other):
        questions = question_sequences(log, FIELDS, next_event(LOG), rows=asked, length=6)
        read.append(questions.read(questions.inputs))
        told.append(forecast(network, questions, len(log))[asked])
    assert (read[0] == read[1]).all()
    assert np.abs(told[0] - told[1]).max() == 0
    assert np.isnan(forecast(network, questions, len(LOG))[~asked]).all()


def test_questions_refuse_what_cannot_be_asked():
    fields, labels = Fields.fit(shop()), next_event(shop())
    with pytest.raises(CourseError, match="length 1 is too short"):
        question_sequences(shop(), fields, labels, length=1)
    with pytest.raises(CourseError, match="6 rows and the labels 5"):
        question_sequences(shop(), fields, labels[:5])
    with pytest.raises(CourseError, match="nothing is asked"):
        question_sequences(shop(), fields, next_item(shop()), rows=np.arange(6) == 5)


# --- masking -------------------------------------------------------------------------------


def many(sessions: int = 300, events: int = 12) -> FieldSequences:
    """Sessions of one length, so that rates can be counted."""
    row = np.arange(sessions * events)
    log = pd.DataFrame(
        {
            "user_id": pd.Categorical((row // events).astype(str)),
            "session_id": row // events,
            "timestamp": pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(row, unit="s"),
            "event": pd.Categorical(np.where(row % 3, "view", "cart")),
            "item_id": pd.Categorical((row * 7 % 50).astype(str)),
        }
    )
    log = assign_sessions(log, source="shop")
    train = row < sessions * events // 2
    return whole_sequences(log, Fields.fit(log, train), rows=train, length=events + 2)


MANY = many()


def step_of(sequences: FieldSequences, seed: int = 0, predicted: tuple = NAMES, **shares: float):
    """One step of all sequences: numbers before, and the arrays that the network gets."""
    rate = shares.get("rate", 0.2)
    batches = Batches(sequences, len(sequences), shapes=1, wanted=marks(sequences, rate))
    step = batches.steps()[0]
    made = masked_steps(batches, predicted, **shares)(step, np.random.default_rng(seed))
    return batches.inputs(step), made


def test_masking_rates():
    numbers, (inputs, positions, weights) = step_of(MANY, rate=0.2, last=0.0)
    true, shown = MANY.read(numbers).reshape(-1, 3), inputs["codes"].reshape(-1, 3)
    places = positions[weights > 0]
    share = len(places) / (numbers > 0).sum()
    assert share == pytest.approx(0.2, abs=0.03)
    assert (numbers.ravel()[places] > 0).all(), "padding is never masked"
    untouched = np.setdiff1d(np.arange(numbers.size), places)
    if inputs["positions"].size > len(places):  # nothing was cut off
        assert (true[untouched] == shown[untouched]).all()
    masked = (shown[places] == MASK).all(axis=1)
    same = (shown[places] == true[places]).all(axis=1)
    assert masked.mean() == pytest.approx(0.8, abs=0.06)
    assert (~masked & ~same).mean() == pytest.approx(0.1, abs=0.05)
    assert same.mean() == pytest.approx(0.1, abs=0.05)
    assert (inputs["item_codes"][weights > 0] == true[places][:, 0]).all()
    assert (inputs["event_codes"][weights > 0] == true[places][:, 1]).all()


def test_all_masked_events_are_scored_and_few_places_stay_empty():
    """Short sequences, of which one event is scored at most times, are the wasteful case."""
    short = many(sessions=2_000, events=3)
    batches = Batches(short, 500, shapes=1, wanted=marks(short, 0.3))
    make, filled = masked_steps(batches, NAMES, rate=0.3, last=0.5), []
    for seed in range(40):
        for step in batches.steps(np.random.default_rng(seed)):
            inputs, _, weights = make(step, np.random.default_rng((seed, 1)))
            hidden = (inputs["codes"][..., 0] == MASK).sum()
            filled.append((weights > 0).mean())
            assert hidden <= (weights > 0).sum() < len(weights), "some were left out"
    assert np.mean(filled) > 0.75


def test_another_event_comes_from_the_sequences_themselves():
    """Not from rows that are not theirs, those of the test part say, and it is never padding."""
    own = {tuple(codes) for codes in MANY.read(MANY.inputs[MANY.mask])} | {(MASK,) * 3}
    for seed in range(5):
        numbers, (inputs, _, _) = step_of(MANY, seed, rate=0.5, last=0.0)
        shown = inputs["codes"][numbers > 0]
        assert {tuple(codes) for codes in shown} <= own
        assert (inputs["codes"][numbers == PADDING] == PADDING).all()


def leaking_fields(numbers: np.ndarray, inputs: dict, sequences: FieldSequences) -> list[str]:
    """Fields that still tell the truth where the item is masked."""
    item = sequences.fields.names.index("item")
    hidden = (inputs["codes"][..., item] == MASK) & (numbers > 0)
    tells = inputs["codes"][hidden] == sequences.read(numbers)[hidden]
    return [name for name, told in zip(sequences.fields.names, tells.T, strict=True) if told.any()]


def test_an_event_is_masked_as_a_whole_and_a_leak_would_be_seen():
    for last in (0.0, 0.5, 1.0):
        numbers, (inputs, _, _) = step_of(MANY, last=last)
        assert leaking_fields(numbers, inputs, MANY) == []
    leaky = dict(inputs, codes=inputs["codes"].copy())
    leaky["codes"][..., 1] = MANY.read(numbers)[..., 1]  # masks the item alone
    assert leaking_fields(numbers, leaky, MANY) == ["event"]
    # What a network makes of it: the kind is told by the masked event itself.
    network = masked_network(small_encoder(MANY.fields, length=14), ("event",))
    set_weights(network)
    positions = inputs["positions"]
    scores = [
        keras.ops.convert_to_numpy(network({"codes": codes, "positions": positions})["event"])
        for codes in (inputs["codes"], leaky["codes"])
    ]
    assert np.abs(scores[0] - scores[1]).max() > 1e-3


def test_sequences_that_end_in_a_mask():
    _, (inputs, positions, weights) = step_of(MANY, last=1.0)
    codes = inputs["codes"][..., 0]
    real = (codes != PADDING).sum(axis=1)
    assert real.min() >= 2 and real.max() == 12 and len(np.unique(real)) == 11
    at = np.arange(len(codes)), real - 1
    assert (codes[at] == MASK).all() and (codes == MASK).sum() == len(codes)
    flat = np.ravel_multi_index(at, codes.shape)
    assert sorted(positions[weights > 0]) == flat.tolist()
    behind = np.arange(codes.shape[1]) >= real[:, None]
    assert (inputs["codes"][behind] == PADDING).all()
    some = step_of(MANY, last=0.5)[1][0]["codes"][..., 0]
    assert ((some != PADDING).sum(axis=1) < 12).mean() == pytest.approx(0.5, abs=0.12)


def test_a_step_repeats_by_its_seed_and_leaves_pythons_numbers_alone():
    random.seed(5)
    before = random.getstate()
    (_, first), (_, second) = step_of(MANY, 1), step_of(MANY, 1)
    assert random.getstate() == before
    for name, array in first[0].items():
        assert (array == second[0][name]).all(), name
    _, other = step_of(MANY, 2)
    assert (other[0]["codes"] != first[0]["codes"]).any()


def test_what_training_does_not_know_is_masked_but_not_told():
    log = shop()
    sequences = whole_sequences(log, Fields.fit(log, FIRST), length=4)
    batches = Batches(sequences, 2, shapes=1, wanted=marks(sequences, 0.9))
    make = masked_steps(batches, ("category", "item"), rate=0.9, last=0.0)
    inputs, positions, weights = make(batches.steps()[0], np.random.default_rng(0))
    rows = batches.inputs(batches.steps()[0]).ravel()[positions] - 2
    told = np.isin(rows, [3, 4]) & (weights > 0)  # no category, one that training has not seen
    assert told.any()
    assert (inputs["category_weights"][told] == 0).all()
    assert (inputs["item_weights"][told] == 1).all()


def test_the_loss_by_hand():
    network = masked_network(small_encoder(), NAMES)
    set_weights(network)
    _, (inputs, _, _) = step_of(WHOLE)
    inputs["event_weights"][::3] = 0
    each = keras.ops.convert_to_numpy(masking_network(network)(inputs))
    scores = network({name: inputs[name] for name in ("codes", "positions")})
    by_hand = np.zeros(len(each))
    for name in NAMES:
        s = keras.ops.convert_to_numpy(scores[name]).astype(float)
        assert s.shape[1] == FIELDS.size(name)
        own = s[np.arange(len(s)), inputs[f"{name}_codes"]]
        by_hand += inputs[f"{name}_weights"] * (np.log(np.exp(s).sum(axis=1)) - own)
    assert np.abs(each - by_hand).max() < 1e-4


# --- the network ---------------------------------------------------------------------------


def test_the_gathered_head_is_keras_hubs():
    encoder = small_encoder()
    table = encoder.get_layer("item")
    states = np.random.default_rng(0).normal(size=(3, 5, 8)).astype("float32")
    places = np.array([[0, 2], [1, 4], [3, 3]])
    gathered = GatheredHead(table)
    flat = (places + 5 * np.arange(3)[:, None]).ravel()
    got = gathered(states, flat)
    theirs = keras_hub.layers.MaskedLMHead(
        token_embedding=table, intermediate_activation="gelu", name="theirs"
    )
    theirs(states, places)
    theirs.set_weights(gathered.head.get_weights())
    wanted = keras.ops.convert_to_numpy(theirs(states, places)).reshape(6, -1)
    assert np.abs(keras.ops.convert_to_numpy(got) - wanted).max() < 1e-5
    # Tied: the table that is read is the table that is compared with.
    table.set_weights([2 * w for w in table.get_weights()])
    assert np.abs(keras.ops.convert_to_numpy(gathered(states, flat)) - 2 * wanted).max() < 1e-4


@pytest.mark.parametrize("from_the_end", [False, True])
def test_the_encoder_reads_both_ways_and_no_padding(from_the_end):
    encoder = small_encoder(from_the_end=from_the_end)
    set_weights(encoder)
    codes = WHOLE.read(WHOLE.inputs[(WHOLE.inputs > 0).sum(axis=1) >= 5][:4])
    real = codes[..., 0] > 0
    states = keras.ops.convert_to_numpy(encoder(codes))
    padded = np.pad(codes, ((0, 0), (0, 1), (0, 0)))
    longer = keras.ops.convert_to_numpy(encoder(padded))[:, :-1]
    assert np.abs(longer - states)[real].max() < 1e-5
    later = codes.copy()
    later[:, 4] = MASK
    moved = np.abs(keras.ops.convert_to_numpy(encoder(later)) - states)
    assert moved[:, :4].min(axis=(0, 1)).max() > 1e-4, "a later event is read, too"
    names = [layer.name for layer in encoder.layers]
    assert set(FIELDS.names) <= set(names) and encoder.name == "encoder"


@pytest.mark.parametrize("from_the_end", [False, True])
def test_from_the_end_an_older_event_moves_no_position(from_the_end):
    codes = WHOLE.read(WHOLE.inputs[(WHOLE.inputs > 0).sum(axis=1) >= 5][:4])
    real = codes[:, 1:, 0] > 0
    encoder = small_encoder(blocks=0, from_the_end=from_the_end)
    whole, younger = (keras.ops.convert_to_numpy(encoder(some)) for some in (codes, codes[:, 1:]))
    apart = np.abs(whole[:, 1:] - younger).max(axis=2)[real]
    assert apart.max() < 1e-6 if from_the_end else apart.min() > 1e-3


def test_take_along_copies_what_is_shared_and_nothing_else():
    here = small_log(sessions=50, items=12, seed=3)
    fields = Fields.fit(here, like=FIELDS)
    source, target = small_encoder(), small_encoder(fields, seed=2)
    set_weights(source)
    before = {layer.name: layer.get_weights() for layer in target.layers}
    copied = take_along(source, target, ("event", "gap"))
    assert sorted(copied) == ["block_1", "event", "gap", "norm_in", "position"]
    for layer in target.layers:
        wanted = source.get_layer(layer.name).get_weights() if layer.name in copied else None
        for number, w in enumerate(layer.get_weights()):
            assert (w == (wanted or before[layer.name])[number]).all(), layer.name
    with pytest.raises(CourseError, match="'item' is not the same in both"):
        take_along(source, target, ("item",))
    with pytest.raises(CourseError, match="block_2"):
        take_along(source, small_encoder(fields, blocks=2), ("event",))
    with pytest.raises(CourseError, match="gap"):
        take_along(source, target, ("event", "gaps"))


def test_networks_refuse_what_does_not_fit():
    with pytest.raises(CourseError, match="8 cannot be shared by 3"):
        small_encoder(heads=3)
    with pytest.raises(CourseError, match="no field 'price'"):
        masked_network(small_encoder(), ("price",))
    network = masked_network(small_encoder())
    for shares in ({"rate": 0.0}, {"rate": 1.0}, {"last": 1.1}, {"last": -0.1}):
        with pytest.raises(CourseError, match="lie between 0 and 1"):
            pretrain(network, WHOLE, WHOLE, progress=False, **shares)
    with pytest.raises(CourseError, match="tells no field 'event'; it tells item"):
        list(masked_scores(network, WHOLE, "event"))


# --- pretraining and using it --------------------------------------------------------------


def next_questions(rows: np.ndarray) -> FieldSequences:
    return question_sequences(LOG, FIELDS, next_item(LOG), rows=rows, length=9)


def test_pretraining_learns_what_comes_next(tmp_path):
    log = small_log(sessions=400, items=12)
    train = (log["session_id"] < 350).to_numpy()
    fields = Fields.fit(log, train, ["item", "event"])
    network = masked_network(small_encoder(fields, width=16, length=9))
    whole = whole_sequences(log, fields, rows=train, length=9)
    asked = question_sequences(log, fields, next_item(log), rows=~train, length=9)
    options = {"score": "ndcg@10", "epochs": 20, "patience": 20, "batch_size": 16}
    options |= {"learning_rate": 1e-2, "last": 1.0, "progress": False}
    trained = pretrain(network, whole, asked, checkpoint=tmp_path / "kept.npz", **options)
    ranks = rank_masked(network, asked, len(log))
    there = asked.rows[asked.mask]
    assert np.isfinite(ranks).sum() == len(there) and np.isfinite(ranks[there]).all()
    popular = Popularity().fit(log, rows=train).rank(log, next_item(log), ~train)
    assert np.mean(ranks[there] <= 2) > 0.5 > 2 * np.mean(popular[there] <= 2)
    best = trained.history["validation"]
    assert trained.score == "NDCG@10" and best[trained.best_epoch] == best.max()
    again = masked_network(small_encoder(fields, width=16, length=9))
    resumed = pretrain(again, whole, asked, checkpoint=tmp_path / "kept.npz", **options)
    assert resumed.history.equals(trained.history)
    assert (rank_masked(again, asked, len(log))[there] == ranks[there]).all()


def test_pretraining_by_log_loss_is_watched_on_the_same_masks():
    network = masked_network(small_encoder(), NAMES)
    checked = whole_sequences(LOG, FIELDS, rows=~TRAIN, length=9)
    still = {"learning_rate": 0.0, "decay": False, "epochs": 2, "progress": False}
    first, second = pretrain(network, WHOLE, checked, **still).history["validation"]
    assert first == pytest.approx(second, abs=1e-6)
    # Untrained, all codes of a field are about as likely.
    assert first == pytest.approx(np.log([FIELDS.size(name) for name in NAMES]).sum(), abs=0.1)


def test_ranks_by_hand():
    network = masked_network(small_encoder(length=9))
    set_weights(network)
    asked = next_questions(~TRAIN)
    codes = asked.read(asked.inputs)
    positions = np.flatnonzero(asked.mask)
    scores = network({"codes": codes, "positions": positions})["item"]
    scores = FIELDS.scored(keras.ops.convert_to_numpy(scores))
    target = LOG["item_id"].cat.codes.to_numpy()[asked.rows[asked.mask] + 1]
    own = scores[np.arange(len(target)), target][:, None]
    by_hand = 1 + (scores > own + 1e-6).sum(axis=1)
    ranks = rank_masked(network, asked, len(LOG), batch_size=7)
    assert np.isnan(np.delete(ranks, asked.rows[asked.mask])).all()
    assert np.abs(ranks[asked.rows[asked.mask]] - by_hand).max() < 0.6
    # Without what was seen the true item, if it is new, can only rise.
    fresh = rank_masked(network, asked, len(LOG), visits=Visits(LOG))[asked.rows[asked.mask]]
    seen = [set(row[row > MASK]) for row in codes[..., 0]]
    new = np.array([place + 3 not in items for place, items in zip(target, seen, strict=True)])
    assert (fresh[new] <= ranks[asked.rows[asked.mask]][new]).all()
    assert (fresh[new] < ranks[asked.rows[asked.mask]][new]).any()
    told = np.concatenate([rows for rows, _ in masked_scores(network, asked, batch_size=7)])
    assert sorted(told) == sorted(asked.rows[asked.mask])


def test_an_answer_network_learns_from_questions():
    labels = next_event(LOG)
    parts = [
        question_sequences(LOG, FIELDS, labels, rows=rows, length=9) for rows in (TRAIN, ~TRAIN)
    ]
    network = answer_network(small_encoder(length=9), parts[0].outcomes)
    before = fit(network, *parts, epochs=1, learning_rate=1e-6, progress=False)
    after = fit(network, *parts, epochs=6, learning_rate=1e-2, progress=False)
    assert after.history["validation"].min() < before.history["validation"].min() - 0.05
    odds = forecast(network, parts[1], len(LOG))
    assert np.isfinite(odds).all(axis=1).sum() == len(parts[1])
    other = replace(parts[1], outcomes=("no", "yes", "perhaps"))
    with pytest.raises(CourseError, match="different outcomes"):
        fit(network, parts[0], other, progress=False)


def test_tensorflow_and_jax_pretrain_alike():
    """A step of masking and one of answering, from the same weights."""
    assert_alike("backend_bert.py", {"answers", "pretrain"})
