"""Rank fusion: hand-computed scores, single models restored, the weights a grid must find."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib.errors import CourseError
from course_lib.metrics import hit_rate, rank_of_target
from course_lib.models.fusion import fused_scores, fusion_weights

LISTS = {"net": np.array([[2, 0], [1, -1]]), "pairs": np.array([[0, 3], [-1, -1]])}


def test_scores_by_hand():
    scores = fused_scores(LISTS, {"net": 0.75, "pairs": 0.25}, 4, constant=1).toarray()
    first = [0.75 / 3 + 0.25 / 2, 0.0, 0.75 / 2, 0.25 / 3]
    np.testing.assert_allclose(scores, [first, [0.0, 0.75 / 2, 0.0, 0.0]])


def test_a_weight_of_one_gives_back_that_models_ranking():
    random = np.random.default_rng(1)
    lists = {name: np.argsort(random.random((50, 9)), axis=1) for name in ("net", "pairs")}
    targets = random.integers(0, 9, 50)
    scores = fused_scores(lists, {"net": 1.0, "pairs": 0.0}, 9, constant=20)
    expected = 1 + np.argmax(lists["net"] == targets[:, None], axis=1)
    np.testing.assert_array_equal(rank_of_target(scores, targets), expected)


def test_items_that_nobody_lists_share_the_places_behind():
    scores = fused_scores(LISTS, {"net": 0.5, "pairs": 0.5}, 6)
    assert rank_of_target(scores, np.array([5, 5])).tolist() == [5.0, 4.0]


def test_the_grid_prefers_the_list_that_knows():
    random = np.random.default_rng(2)
    targets = random.integers(0, 40, 300)
    guesses = np.argsort(random.random((300, 40)), axis=1)[:, :10]
    knows = guesses.copy()
    knows[:, 0] = targets
    chosen = fusion_weights({"guess": guesses, "knows": knows}, targets, 40, metric="hit_rate@1")
    assert chosen.weights["knows"] > 0.5 and chosen.score == 1.0
    ranks = rank_of_target(chosen.scores({"guess": guesses, "knows": knows}, 40), targets)
    assert hit_rate(ranks, 1) == 1.0


def test_two_half_blind_models_are_better_together():
    """Each knows every other answer and lists it first, and guesses the same way elsewhere."""
    targets = np.arange(20)
    near, far = (np.full((20, 2), -1) for _ in range(2))
    near[::2, 0], far[1::2, 0] = targets[::2], targets[1::2]
    chosen = fusion_weights({"near": near, "far": far}, targets, 20, metric="hit_rate@1", steps=4)
    assert chosen.score == 1.0 and 0 < chosen.weights["near"] < 1


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: fused_scores(LISTS, {"net": 1.0}, 4), "one weight for each list"),
        (lambda: fused_scores(LISTS, {"net": 1.0, "pairs": -0.1}, 4), "0 or more"),
        (lambda: fused_scores({"a": np.zeros((2, 1), int), "b": np.zeros((3, 1), int)},
                              {"a": 1, "b": 1}, 4), "same rows"),
        (lambda: fusion_weights(LISTS, np.array([-1, -1]), 4), "no next item|No row"),
    ],
)  # fmt: skip
def test_misuse_is_named(call, words):
    with pytest.raises(CourseError, match=words):
        call()
