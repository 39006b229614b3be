"""The recurrent network equals its equations, and padding changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib.backend import keras
from course_lib.models.rnn import event_rnn
from course_lib.sequences import Vocabulary

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
