"""Networks equal their equations, look at nothing ahead, and padding changes nothing."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest

from course_lib.backend import keras
from course_lib.errors import CourseError
from course_lib.models.cnn import event_cnn, item_cnn, receptive_field
from course_lib.models.rnn import CELLS, event_rnn, item_rnn
from course_lib.models.transformer import CausalBlock, event_transformer, item_transformer
from course_lib.sequences import Catalogue, Fields, Vocabulary

VOCABULARY = Vocabulary(("view", "search", "cart"))
OUTCOMES = ("view", "search", "cart", "leave")


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return event_rnn(VOCABULARY, OUTCOMES, width=7, embedding=3, seed=3)


def test_the_network_computes_the_equations_of_the_lesson(network):
    codes = np.array([[1, 3, 2, 1, 4], [2, 2, 1, 0, 0]])
    embedding, kernel, recurrent, bias, out, out_bias = network.get_weights()
    assert embedding.shape == (VOCABULARY.size, 3) and recurrent.shape == (7, 7)
    hidden = np.zeros((2, 7))
    got = network(codes).numpy()
    for position in range(codes.shape[1]):
        hidden = np.tanh(embedding[codes[:, position]] @ kernel + hidden @ recurrent + bias)
        logits = hidden @ out + out_bias
        real = codes[:, position] > 0
        np.testing.assert_allclose(got[real, position], logits[real], atol=1e-5)


@pytest.mark.parametrize("padding", [1, 5])
def test_padding_never_changes_a_real_position(network, padding):
    codes = np.array([[1, 3, 2, 1]])
    padded = np.pad(codes, ((0, 0), (0, padding)))
    np.testing.assert_allclose(network(padded).numpy()[:, :4], network(codes).numpy(), atol=1e-6)


def test_no_position_looks_ahead(network):
    codes = np.array([[1, 3, 2, 1]])
    changed = np.array([[1, 3, 1, 2]])
    before, after = network(codes).numpy(), network(changed).numpy()
    np.testing.assert_array_equal(before[:, :2], after[:, :2])
    assert np.abs(before[:, 2:] - after[:, 2:]).max() > 1e-3


def test_the_seed_sets_the_weights():
    same, again, other = (
        event_rnn(VOCABULARY, OUTCOMES, width=5, embedding=2, seed=seed).get_weights()
        for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(same, again, strict=True))
    assert not np.array_equal(same[0], other[0])


# --- every network: what may change a position, and what may not ----------------------------

LENGTH = 12
CATALOGUE = Catalogue(pd.Index([f"item {i}" for i in range(9)]), np.ones(9, np.int64))
DILATIONS = (1, 2)
NETWORKS = {
    **{
        f"event {cell}": partial(event_rnn, VOCABULARY, OUTCOMES, width=6, embedding=3, cell=cell)
        for cell in CELLS
    },
    "event cnn": partial(event_cnn, VOCABULARY, OUTCOMES, width=6, dilations=DILATIONS),
    "event transformer": partial(
        event_transformer, VOCABULARY, OUTCOMES, width=6, inner=8, length=LENGTH
    ),
    **{f"item {cell}": partial(item_rnn, CATALOGUE, cell=cell, width=6) for cell in CELLS},
    "item cnn": partial(item_cnn, CATALOGUE, width=6, dilations=DILATIONS),
    "item transformer": partial(item_transformer, CATALOGUE, width=6, length=LENGTH),
}


@pytest.fixture(scope="module", params=NETWORKS)
def any_network(request) -> keras.Model:
    model = NETWORKS[request.param](seed=1)
    model.builder = request.param
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 0.5, w.shape).astype(w.dtype) for w in model.weights])
    return model


def outputs(model: keras.Model, codes: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(np.asarray(codes, np.int32)))


def test_every_position_reads_its_past_and_nothing_ahead(any_network):
    codes = np.random.default_rng(1).integers(1, 5, (1, LENGTH))
    before = outputs(any_network, codes)
    reads = np.zeros((LENGTH, LENGTH), bool)  # [changed position, position that moves]
    for changed in range(LENGTH):
        other = codes.copy()
        other[0, changed] = 1 + other[0, changed] % 4
        reads[changed] = np.abs(outputs(any_network, other) - before).max(axis=(0, 2)) > 1e-7
    back = np.arange(LENGTH)[None, :] - np.arange(LENGTH)[:, None]
    assert not reads[back < 0].any()
    reach = receptive_field(3, DILATIONS) if "cnn" in any_network.name else LENGTH
    assert reach == 7 or reach == LENGTH
    assert reads[(back >= 0) & (back < min(reach, 5))].all()
    assert not reads[back >= reach].any()


def test_padding_on_either_side_changes_no_real_position(any_network):
    codes = np.random.default_rng(2).integers(1, 5, (2, 5))
    alone = outputs(any_network, codes)
    right = outputs(any_network, np.pad(codes, ((0, 0), (0, 4))))[:, :5]
    left = outputs(any_network, np.pad(codes, ((0, 0), (4, 0))))[:, 4:]
    np.testing.assert_allclose(right, alone, atol=1e-5)
    np.testing.assert_allclose(left, alone, atol=1e-5)


FIELDS = Fields({"event": ("view", "search", "cart"), "gap": ("first", 0, 1)}, np.empty(0))
READ_FIELDS = {
    "simple": partial(event_rnn, width=6, embedding=3, dropout=0.5),
    "gru": partial(event_rnn, width=6, embedding=3, cell="gru"),
    "cnn": partial(event_cnn, width=6, dilations=DILATIONS),
    "transformer": partial(event_transformer, width=6, inner=8, length=LENGTH),
}


@pytest.mark.parametrize("name", READ_FIELDS)
def test_a_network_of_whole_events_reads_every_field_and_nothing_ahead(name):
    model = READ_FIELDS[name](FIELDS, OUTCOMES, seed=1)
    codes = np.random.default_rng(4).integers(2, 5, (1, 6, 2))
    before = outputs(model, codes)
    for field in range(2):
        other = codes.copy()
        other[0, 3, field] = 2 + (other[0, 3, field] - 1) % 3
        moved = np.abs(outputs(model, other) - before).max(axis=(0, 2)) > 1e-7
        assert moved.tolist() == [False] * 3 + [True] * 3
    padded = outputs(model, np.pad(codes, ((0, 0), (0, 3), (0, 0))))
    np.testing.assert_allclose(padded[:, :6], before, atol=1e-5)


def test_half_precision_keeps_weights_and_logits_whole_and_moves_outputs_little(any_network):
    """What `set_precision` chooses in the full profile on a GPU, here on whatever there is."""
    codes = np.random.default_rng(3).integers(1, 5, (4, LENGTH))
    name = any_network.builder
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = NETWORKS[name](seed=1)
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(any_network.get_weights())
    assert {str(weight.dtype) for weight in half.weights} == {"float32"}
    assert half(codes).dtype == ("float32" if name.startswith("event") else "bfloat16")
    whole = outputs(any_network, codes)
    moved = np.abs(outputs(half, codes).astype(np.float32) - whole).mean()
    assert 0 < moved < 0.05 * np.abs(whole).mean()


def test_attention_looks_at_real_earlier_positions_alone():
    block = CausalBlock(6, heads=2, inner=8, dropout=0.0)
    x = np.random.default_rng(0).normal(size=(1, 5, 6)).astype(np.float32)
    real = np.array([[False, True, True, True, False]])
    _, weights = block(x, real, return_weights=True)
    weights = keras.ops.convert_to_numpy(weights)
    assert weights.shape == (1, 2, 5, 5)
    np.testing.assert_allclose(weights[:, :, 1:].sum(axis=-1), 1, atol=1e-6)
    may = np.tril(np.ones((5, 5), bool)) & real[0][None, :]
    assert (weights[0][:, 1:4][:, ~may[1:4]] == 0).all()
    assert (weights[0][:, 1:4][:, may[1:4]] > 0).all()


def test_the_item_table_is_read_on_the_way_in_and_out():
    model = item_transformer(CATALOGUE, width=16, bias=True)
    items = model.get_layer("items")
    table, bias = items.arrays()
    assert table.shape == (9, 16) and 0.01 < table.std() < 0.03 and (bias == 0).all()
    vectors = keras.ops.convert_to_numpy(items(np.array([[1, 9, 0]])))
    np.testing.assert_allclose(vectors[0], [table[0] * 4, table[8] * 4, table[0] * 0], rtol=1e-6)
    states = np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)
    scores = keras.ops.convert_to_numpy(items.scores(states))
    np.testing.assert_allclose(scores, states @ table.T, atol=1e-6)
    some = keras.ops.convert_to_numpy(items.scores(states, np.array([4, 2])))
    np.testing.assert_allclose(some, scores[:, [4, 2]], atol=1e-6)
    own = keras.ops.convert_to_numpy(items.scores_of(states, np.array([1, 0, 8])))
    np.testing.assert_allclose(own, scores[np.arange(3), [1, 0, 8]], atol=1e-6)


@pytest.mark.parametrize(
    ("build", "part"),
    [
        (lambda: item_rnn(CATALOGUE, cell="lstn"), "lstm"),
        (lambda: event_rnn(VOCABULARY, OUTCOMES, cell="grus"), "gru"),
        (lambda: CausalBlock(6, heads=4), "4 attention heads"),
    ],
)
def test_a_network_that_cannot_be_is_one_sentence(build, part):
    with pytest.raises(CourseError, match=part):
        build()
