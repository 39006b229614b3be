"""Ranks by counting equal a sort, and their metrics equal scikit-learn's and keras-rs's."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn import metrics as reference

from course_lib import metrics
from course_lib.baselines import ranks as counting
from course_lib.errors import CourseError
from course_lib.metrics import rank_of_target


def _naive(scores, targets, tie_break=None, exclude=None):
    """The definition spelled out: every candidate is compared with the target."""
    ranks = []
    for row, target in enumerate(targets):
        if target < 0:
            ranks.append(np.nan)
            continue
        candidates = [
            item
            for item in range(scores.shape[1])
            if item == target or exclude is None or not exclude[row, item]
        ]
        key = {
            item: (scores[row, item], 0 if tie_break is None else tie_break[item])
            for item in candidates
        }
        above = sum(key[item] > key[target] for item in candidates)
        ties = sum(key[item] == key[target] for item in candidates)
        ranks.append(1 + above + (ties - 1) / 2)
    return np.array(ranks)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.booleans(), st.sampled_from([4, 30, 10**6]))
def test_ranks_equal_the_definition_dense_and_sparse(seed, break_ties, excluding, chunk):
    random = np.random.default_rng(seed)
    rows, items = random.integers(1, 9), random.integers(1, 12)
    scores = random.integers(0, 4, (rows, items)).astype(float)
    targets = random.integers(-1, items, rows)
    tie_break = random.integers(0, 3, items) if break_ties else None
    exclude = random.random((rows, items)) < 0.3 if excluding else None
    wanted = _naive(scores, targets, tie_break, exclude)
    stored_zero = sparse.csr_array(scores + 1)
    stored_zero.data -= 1
    before, counting._CHUNK = counting._CHUNK, chunk
    try:
        for version in (
            scores,
            scores.astype(np.float32),
            sparse.csr_array(scores),
            sparse.coo_matrix(scores),
            stored_zero,
        ):
            for gone in (exclude, exclude if exclude is None else sparse.csr_array(exclude)):
                got = rank_of_target(version, targets, tie_break, gone)
                np.testing.assert_array_equal(got, wanted)
    finally:
        counting._CHUNK = before


def test_a_tie_gets_the_mean_rank_and_popularity_breaks_it():
    scores = np.array([[0.0, 0, 0, 0, 0, 7]])
    assert rank_of_target(scores, np.array([2])) == 4
    popularity = np.array([5, 1, 3, 3, 9, 0])
    assert rank_of_target(scores, np.array([2]), popularity) == 4.5
    assert rank_of_target(sparse.csr_array(scores), np.array([2]), popularity) == 4.5
    bought = np.array([[True, False, True, False, False, True]])
    assert rank_of_target(scores, np.array([2]), popularity, bought) == 2.5


def test_duplicate_entries_of_a_sparse_table_add_up_and_it_stays_as_it_was():
    entries = (np.array([1.0, 1.0, 1.5]), np.array([2, 2, 0]), np.array([0, 3]))
    scores = sparse.csr_array(entries, shape=(1, 4))
    assert rank_of_target(scores, np.array([2])) == 1
    assert scores.nnz == 3


def test_sparse_ranks_over_a_wide_catalogue_take_little_memory():
    random = np.random.default_rng(0)
    rows, items, each = 20_000, 50_000, 20
    places = np.sort(random.integers(0, items, (rows, each)), axis=1).ravel()
    entries = (np.ones(rows * each), places, np.arange(0, rows * each + 1, each))
    scores = sparse.csr_array(entries, shape=(rows, items))
    tracemalloc.start()
    ranks = rank_of_target(scores, random.integers(0, items, rows), np.arange(items))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.isfinite(ranks).all()
    assert peak < rows * items / 4  # bytes: not even one bit for each pair was held


# --- against scikit-learn and keras-rs -----------------------------------------------------


def _scores(seed: int, levels: int | None = None, rows: int = 60, items: int = 30):
    """Scores without ties (each row an order of the items), or rounded, so that they tie."""
    random = np.random.default_rng(seed)
    scores = random.permuted(np.tile(np.arange(items) / items, (rows, 1)), axis=1)
    scores = np.round(scores * levels) / levels if levels else scores
    return scores, random.integers(0, items, rows)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1, 5, 20]))
def test_without_ties_the_metrics_equal_scikit_learn(seed, k):
    scores, targets = _scores(seed)
    items = scores.shape[1]
    truth = np.eye(items)[targets]
    ranks = rank_of_target(scores, targets)
    hits = reference.top_k_accuracy_score(targets, scores, k=k, labels=range(items))
    assert metrics.hit_rate(ranks, k) == pytest.approx(hits, abs=1e-6)
    gain = reference.ndcg_score(truth, scores, k=k)
    assert metrics.ndcg(ranks, k) == pytest.approx(gain, abs=1e-6)
    everywhere = reference.label_ranking_average_precision_score(truth, scores)
    assert metrics.mrr(ranks, items) == pytest.approx(everywhere, abs=1e-6)
    assert ranks.mean() == pytest.approx(reference.coverage_error(truth, scores), abs=1e-6)
    loss = reference.label_ranking_loss(truth, scores)
    assert (ranks - 1).mean() / (items - 1) == pytest.approx(loss, abs=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_on_ties_elsewhere_than_at_the_target_they_still_agree(seed):
    """Tied scores, but each target's own score is its own: no library has anything to settle."""
    scores, targets = _scores(seed, levels=4)
    rows = np.arange(len(scores))
    scores[rows, targets] += 0.1
    truth = np.eye(scores.shape[1])[targets]
    ranks = rank_of_target(scores, targets)
    for k in (1, 5, 20):
        gain = reference.ndcg_score(truth, scores, k=k)
        assert metrics.ndcg(ranks, k) == pytest.approx(gain, abs=1e-6)
        hits = reference.top_k_accuracy_score(targets, scores, k=k, labels=range(30))
        assert metrics.hit_rate(ranks, k) == pytest.approx(hits, abs=1e-6)
        got = {name: metrics.per_row_ranking(ranks, name, k).mean() for name in metrics.RANKING}
        assert got == pytest.approx(_of_keras(truth, scores, k), abs=1e-6)
    everywhere = reference.label_ranking_average_precision_score(truth, scores)
    assert metrics.mrr(ranks, 30) == pytest.approx(everywhere, abs=1e-6)


def _of_keras(truth, scores, k, mask=None, **options):
    import keras_rs

    classes = {
        "hit_rate": keras_rs.metrics.RecallAtK,
        "ndcg": keras_rs.metrics.NDCG,
        "mrr": keras_rs.metrics.MeanReciprocalRank,
    }
    labels = truth.astype("float32")
    labels = labels if mask is None else {"labels": labels, "mask": mask}
    values = {}
    for name, metric in classes.items():
        metric = metric(k=k, **options)
        metric.update_state(labels, scores.astype("float32"))
        values[name] = float(metric.result())
    return values


@pytest.mark.parametrize(("seed", "k"), [(0, 1), (1, 10), (2, 30)])
def test_without_ties_the_metrics_equal_keras_rs_masks_too(seed, k):
    scores, targets = _scores(seed)
    truth = np.eye(scores.shape[1])[targets]
    exclude = np.random.default_rng(seed).random(scores.shape) < 0.4
    exclude[np.arange(len(scores)), targets] = False
    for mask, gone in ((None, None), (~exclude, exclude)):
        ranks = rank_of_target(scores, targets, exclude=gone)
        got = {name: metrics.per_row_ranking(ranks, name, k).mean() for name in metrics.RANKING}
        assert got == pytest.approx(_of_keras(truth, scores, k, mask), abs=1e-6)


def test_where_the_target_ties_each_library_settles_it_as_the_docstring_says():
    scores, items = np.array([[0.5, 0.5, 0.2, 0.1]], np.float32), 4
    ranks = [rank_of_target(scores, np.array([target])) for target in (0, 1)]
    assert ranks[0] == ranks[1] == 1.5
    truths = np.eye(items)[[[0], [1]]]
    # Scikit-learn's NDCG averages the gain, which is convex, so it lies above ours.
    for truth in truths:
        gain = reference.ndcg_score(truth, scores, k=2)
        assert gain == pytest.approx((1 + 1 / np.log2(3)) / 2)
        assert gain > metrics.ndcg(ranks[0], 2) == pytest.approx(1 / np.log2(2.5))
        assert reference.label_ranking_average_precision_score(truth, scores) == 1 / 2
        assert reference.coverage_error(truth, scores) == 2
        assert reference.label_ranking_loss(truth, scores) == pytest.approx(1 / 3)
    top = [reference.top_k_accuracy_score([y], scores, k=1, labels=range(items)) for y in (0, 1)]
    assert top == [0, 1]
    # keras-rs shows one random order, even if told not to shuffle.
    for options in ({}, {"shuffle_ties": False}):
        seen = {
            _of_keras(truths[0], scores, None, seed=seed, **options)["mrr"] for seed in range(12)
        }
        assert seen == {1.0, 0.5}
    masked = np.array([[False, True, True, True]])
    assert _of_keras(truths[0], scores, None, masked)["mrr"] == 0


# --- by hand -------------------------------------------------------------------------------


def test_metrics_by_hand():
    ranks = np.array([1, 2.5, 3, 11, np.nan])
    assert metrics.hit_rate(ranks, 3) == 3 / 4
    assert metrics.hit_rate(ranks, 2) == 1 / 4
    assert metrics.mrr(ranks, 10) == pytest.approx((1 + 0.4 + 1 / 3) / 4)
    assert metrics.ndcg(ranks, 10) == pytest.approx((1 + 1 / np.log2(3.5) + 0.5) / 4)
    got = metrics.per_row_ranking(ranks, "hit_rate@10")
    np.testing.assert_array_equal(got, [1, 1, 1, 0, np.nan])


def test_names_carry_their_k():
    metric = metrics.ranking_metric("ndcg@20")
    assert (metric.title, metric.k, metric.lower_is_better) == ("NDCG@20", 20, False)
    assert metrics.ranking_metric("mrr", 5).title == "MRR@5"


def test_a_scorecard_of_ranks_has_intervals_by_group():
    random = np.random.default_rng(0)
    ranks = np.append(random.integers(1, 40, 500), np.nan)
    groups = np.append(np.repeat(np.arange(50), 10), 99)
    card = metrics.ranking_scorecard(ranks, groups, ["hit_rate@10", "mrr@10"], resamples=100)
    assert card["hit_rate@10"].value == pytest.approx(metrics.hit_rate(ranks, 10))
    assert (card["mrr@10"].n, card["mrr@10"].groups) == (500, 50)
    hits = metrics.per_row_ranking(ranks[:-1], "hit_rate@10")
    assert card["hit_rate@10"] == metrics.interval(hits, groups[:-1], resamples=100)


def test_coverage_and_popularity_of_what_is_recommended():
    counts = np.array([10, 0, 5, 5])
    assert metrics.coverage(np.array([[0, 2], [0, -1]]), 4) == 0.5
    assert metrics.popularity_of(np.array([[0]]), counts) == 3.5 / 4
    assert metrics.popularity_of(np.array([[2], [3]]), counts) == 0.5
    assert metrics.popularity_of(np.arange(4)[None], counts) == 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rank_of_target(np.zeros(3), np.array([0])), "shape"),
        (lambda: rank_of_target(np.array([["a"]]), np.array([0])), "Scores are numbers"),
        (lambda: rank_of_target(np.zeros((2, 3)), np.array([0])), "2 rows of scores"),
        (lambda: rank_of_target(np.zeros((1, 3)), np.array([0.0])), "targets"),
        (lambda: rank_of_target(np.zeros((1, 3)), np.array([3])), "items 0 to 2"),
        (lambda: rank_of_target(np.array([[0, 1], [np.nan, 0]]), np.array([0, 1])), "row 1"),
        (lambda: rank_of_target(sparse.csr_array([[0, -1.0]]), np.array([0])), "negative"),
        (lambda: rank_of_target(sparse.csr_array([[0, np.nan]]), np.array([0])), "missing"),
        (lambda: rank_of_target(np.zeros((1, 3)), np.array([0]), np.zeros(2)), "tie_break"),
        (
            lambda: rank_of_target(np.zeros((1, 3)), np.array([0]), exclude=np.zeros((1, 3))),
            "exclude",
        ),
        (lambda: metrics.hit_rate([0, 1], 10), "best rank is 1"),
        (lambda: metrics.hit_rate([[1.0]], 10), "one number a row"),
        (lambda: metrics.mrr([np.nan], 10), "no ranks"),
        (lambda: metrics.ndcg([1.0], 0), "from 1"),
        (lambda: metrics.per_row_ranking([1.0], "hit_rate"), "needs its k"),
        (lambda: metrics.per_row_ranking([1.0], "hit_rate@x", 3), "needs its k"),
        (lambda: metrics.per_row_ranking([1.0], "hitrate@3"), "did you mean"),
        (lambda: metrics.ranking_scorecard([1.0, 2.0], [1], ["mrr@5"]), "groups"),
        (lambda: metrics.coverage([[-1]], 3), "Nothing is recommended"),
        (lambda: metrics.coverage([[3]], 3), "items 0 to 2"),
        (lambda: metrics.coverage([[0.5]], 3), "positions of items"),
    ],
)
def test_one_sentence_for_what_cannot_be_ranked(call, message):
    with pytest.raises(CourseError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith((".", "?"))
