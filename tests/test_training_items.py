"""Networks of the next item: gathered, sampled and full losses, ranks, checkpoints, backends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from backend_step import set_weights, small_log
from both_backends import assert_alike

from course_lib.backend import keras
from course_lib.baselines.ranking import Popularity
from course_lib.errors import CourseError
from course_lib.models.rnn import item_rnn
from course_lib.models.transformer import item_transformer
from course_lib.sequences import Batches, Catalogue, ItemSequences, item_sequences
from course_lib.sessions import next_item
from course_lib.training import fit, fit_items, item_scores, loop, rank_items, recommend_items
from course_lib.training.items import Gather, loss_network, steps_of_items

ROOT = Path(__file__).parents[1]
LOG = small_log(sessions=90)
TRAIN = (LOG["session_id"] < 60).to_numpy()
CATALOGUE = Catalogue.fit(LOG, TRAIN)
PARTS = tuple(item_sequences(LOG, CATALOGUE, rows=rows, length=8) for rows in (TRAIN, ~TRAIN))


def network(dropout: float = 0.0, bias: bool = True) -> keras.Model:
    model = item_rnn(CATALOGUE, width=6, dropout=dropout, bias=bias)
    set_weights(model)
    return model


def scores_at(model: keras.Model, codes: np.ndarray) -> np.ndarray:
    """Scores of all items at every position by hand, float64 [batch, length, items]."""
    table, bias = model.get_layer("items").arrays()
    states = keras.ops.convert_to_numpy(model(codes)).astype(float)
    return states @ table.T.astype(float) + bias


def log_losses(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    odds = np.exp(scores - scores.max(axis=-1, keepdims=True))
    p = odds / odds.sum(axis=-1, keepdims=True)
    return -np.log(np.take_along_axis(p, targets[..., None], axis=-1)[..., 0])


def weighted_loss(model: keras.Model, loss: str, arrays: dict, weights: np.ndarray) -> float:
    each = keras.ops.convert_to_numpy(loss_network(model, loss)(arrays))
    return float((each * weights).sum() / weights.sum())


def test_the_gathered_loss_is_the_masked_loss_over_all_positions():
    model, train = network(), PARTS[0]
    by_hand = log_losses(scores_at(model, train.inputs), train.targets)[train.mask].mean()
    for shapes, batch_size in ((1, len(train)), (3, len(train))):
        batches = Batches(train, batch_size, shapes=shapes)
        total = count = 0.0
        make = steps_of_items(batches, CATALOGUE)
        for step in batches.steps(np.random.default_rng(1)):
            arrays, _, weights = make(step, np.random.default_rng(1))
            total += weighted_loss(model, "full", arrays, weights) * weights.sum()
            count += weights.sum()
        assert count == train.mask.sum()
        assert total / count == pytest.approx(by_hand, abs=1e-5)


def test_the_order_of_sequences_changes_no_loss():
    model, train = network(), PARTS[0]
    other = train.take(np.random.default_rng(5).permutation(len(train)))
    values = []
    for part in (train, other):
        batches = Batches(part, len(part), shapes=1)
        arrays, _, weights = steps_of_items(batches, CATALOGUE)(batches.steps()[0], None)
        values.append(weighted_loss(model, "full", arrays, weights))
    assert values[0] == pytest.approx(values[1], abs=1e-6)


def one_step(loss: str, catalogue: Catalogue = CATALOGUE, correct: bool = True) -> Callable:
    batches = Batches(PARTS[0], len(PARTS[0]), shapes=1)
    make = steps_of_items(batches, catalogue, loss, negatives=8, correct=correct)
    return lambda seed: make(batches.steps()[0], np.random.default_rng(seed))


def test_the_sampled_softmax_over_all_items_is_the_full_one():
    model = network()
    arrays, _, weights = one_step("sampled")(1)
    full = {name: arrays[name] for name in ("codes", "positions", "targets")}
    items = np.arange(len(CATALOGUE), dtype=np.int32)
    arrays |= {"drawn": items, "expected": np.zeros(len(items), np.float32)}
    assert weighted_loss(model, "sampled", arrays, weights) == pytest.approx(
        weighted_loss(model, "full", full, weights), abs=1e-5
    )


def test_logq_makes_the_sampled_sum_right_on_average():
    """e^(loss) is the estimated sum over e^(target's score): its mean must be the true ratio."""
    model = network()
    popular = np.linspace(-1.5, 1.5, len(CATALOGUE))
    model.get_layer("items").bias.assign(popular)
    catalogue = replace(CATALOGUE, counts=np.exp(popular) * 100)
    draw, plain = (
        one_step("sampled", catalogue=catalogue, correct=correct) for correct in (True, False)
    )
    arrays, _, weights = draw(0)
    full = {name: arrays[name] for name in ("codes", "positions", "targets")}
    truth = np.exp(keras.ops.convert_to_numpy(loss_network(model, "full")(full)))
    sampled = loss_network(model, "sampled").get_layer("loss_of_each")
    states = Gather()(model(arrays["codes"]), arrays["positions"])
    means = []
    for make in (draw, plain):
        drawn = [make(seed)[0] for seed in range(300)]
        losses = [
            keras.ops.convert_to_numpy(sampled(states, x["targets"], x["drawn"], x["expected"]))
            for x in drawn
        ]
        means.append((np.exp(losses).mean(axis=0) / truth)[weights > 0])
    assert np.abs(means[0] - 1).mean() < 0.02
    assert (means[1] > 1.2).mean() > 0.9


def test_the_binary_loss_by_hand():
    model = network()
    arrays, targets, weights = one_step("binary")(3)
    places, real = arrays["positions"], weights > 0
    scores = scores_at(model, arrays["codes"]).reshape(-1, len(CATALOGUE))[places]
    own, other = (scores[np.arange(len(places)), arrays[x]] for x in ("targets", "drawn"))
    by_hand = np.log1p(np.exp(-own)) + (arrays["drawn"] != targets) * np.log1p(np.exp(other))
    each = keras.ops.convert_to_numpy(loss_network(model, "binary")(arrays))
    np.testing.assert_allclose(each[real], by_hand[real], atol=1e-5)


def test_the_history_is_the_loss_by_hand():
    model, (train, validation) = network(), PARTS
    options = {"epochs": 1, "score": "log-loss", "progress": False}
    before = log_losses(scores_at(model, train.inputs), train.targets)[train.mask].mean()
    training = fit_items(model, train, validation, batch_size=len(train), shapes=1, **options)
    after = log_losses(scores_at(model, validation.inputs), validation.targets)
    assert training.history.loc[1, "training"] == pytest.approx(before, abs=1e-5)
    by_hand = after[validation.mask].mean()
    assert training.history.loc[1, "validation"] == pytest.approx(by_hand, abs=1e-5)


def test_learning_ranks_the_next_item_ahead_of_popularity():
    train, validation = PARTS
    model = item_transformer(CATALOGUE, width=16, dropout=0.0)
    training = fit_items(
        model, train, validation, epochs=6, batch_size=16, learning_rate=0.02, progress=False
    )
    assert training.score == "NDCG@10"
    assert training.history["validation"].idxmax() == training.best_epoch
    labels = next_item(LOG)
    ranks = rank_items(model, validation)
    popular = Popularity().fit(LOG, TRAIN).rank(LOG, labels, ~TRAIN)
    assert np.isfinite(ranks).tolist() == np.isfinite(popular).tolist()
    assert np.nanmedian(ranks) <= 2 < np.nanmedian(popular)


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_ranks_and_recommendations_by_hand(exclude_seen):
    model, validation = network(), PARTS[1]
    ranks = rank_items(model, validation, exclude_seen=exclude_seen, batch_size=7)
    rows, best = recommend_items(model, validation, 4, exclude_seen=exclude_seen)
    scores = dict(
        zip(rows, np.concatenate([s for _, s in item_scores(model, validation)]), strict=True)
    )
    assert rows.tolist() == np.flatnonzero(~TRAIN).tolist()
    codes = LOG["item_id"].cat.codes.to_numpy()
    labels = next_item(LOG).cat.codes.to_numpy()
    by_position = scores_at(model, validation.inputs)
    for number, place in zip(*np.nonzero(validation.rows >= 0), strict=True):
        row = validation.rows[number, place]
        np.testing.assert_allclose(scores[row], by_position[number, place], atol=1e-5)
        seen = codes[: row + 1][LOG["session_id"][: row + 1] == LOG["session_id"][row]]
        allowed = scores[row].copy()
        if exclude_seen:
            allowed[seen] = -np.inf
        assert best[rows == row][0].tolist() == np.argsort(-allowed)[:4].tolist()
        if labels[row] >= 0:
            assert ranks[row] == 1 + (allowed > scores[row][labels[row]]).sum()
        else:
            assert np.isnan(ranks[row])


def test_rows_with_nothing_to_read_are_ranked_by_popularity():
    log = LOG.copy()
    first = log.groupby("session_id").head(1).index
    log.loc[first, "item_id"] = None
    log["session_id"] = LOG["session_id"]
    catalogue = Catalogue.fit(log, TRAIN)
    sequences = item_sequences(log, catalogue, rows=~TRAIN, length=8)
    ranks = rank_items(item_rnn(catalogue, width=4), sequences)
    by_counts = Popularity().fit(log, TRAIN).rank(log, next_item(log), ~TRAIN)
    assert len(sequences.blind_rows) > 5
    np.testing.assert_array_equal(ranks[sequences.blind_rows], by_counts[sequences.blind_rows])
    assert np.isfinite(ranks).tolist() == np.isfinite(by_counts).tolist()


# --- checkpoints and Ctrl-C ----------------------------------------------------------------


def fitted(
    path: Path | None,
    model: keras.Model | None = None,
    parts: tuple[ItemSequences, ItemSequences] = PARTS,
    **options: object,
) -> tuple:
    """Fit a network with dropout for 4 epochs; returns it and the training."""
    model = model or item_transformer(CATALOGUE, width=8, dropout=0.2)
    settings = {"epochs": 4, "batch_size": 16, "loss": "sampled", "negatives": 5, "shapes": 2}
    settings |= {"progress": False, "checkpoint": path, **options}
    return model, fit_items(model, *parts, **settings)


def interrupted_at(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    def interrupt(self, at, logs=None):
        if at == epoch:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop.Watch, "on_epoch_begin", interrupt, raising=False)


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path, monkeypatch):
    path = tmp_path / "folder" / "state.npz"
    whole, expected = fitted(None)
    with monkeypatch.context() as patch:
        interrupted_at(patch, 2)
        model, first = fitted(path)
    assert first.ended == "interrupted" and len(first.history) == 2
    assert [file.name for file in path.parent.iterdir()] == ["state.npz"]
    for again in (None, model):  # a fresh network of the same kind, or the interrupted one
        kept = path.read_bytes()
        resumed, second = fitted(path, again)
        path.write_bytes(kept)
        assert second.history.equals(expected.history) and second.ended == "epochs"
        assert second.best_epoch == expected.best_epoch
        for mine, theirs in zip(resumed.get_weights(), whole.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_a_finished_run_is_not_trained_again(tmp_path):
    path = tmp_path / "state.npz"
    model, first = fitted(path, epochs=2)
    again, second = fitted(path, epochs=2)
    assert second.history.equals(first.history) and second.seconds <= first.seconds
    for mine, theirs in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_another_run_is_refused_by_what_differs(tmp_path):
    path = tmp_path / "state.npz"
    fitted(path, epochs=1)
    with pytest.raises(CourseError, match=r"differs in seed \(1, now 2\):"):
        fitted(path, epochs=1, seed=2)
    with pytest.raises(CourseError, match="differs in network:"):
        fitted(path, item_transformer(CATALOGUE, width=8, dropout=0.3), epochs=1)
    with pytest.raises(CourseError, match="differs in data:"):
        fitted(path, parts=(PARTS[0].take(np.arange(50)), PARTS[1]), epochs=1)
    path.write_text("no checkpoint")
    with pytest.raises(CourseError, match="no checkpoint of this course"):
        fitted(path)


def test_ctrl_c_keeps_the_best_weights_and_before_an_epoch_it_is_not_swallowed(monkeypatch):
    interrupted_at(monkeypatch, 1)
    model, training = fitted(None)
    assert training.ended == "interrupted" and training.best_epoch == 1
    ranks = rank_items(model, PARTS[1])
    hits = np.where(ranks <= 10, 1 / np.log2(1 + ranks), 0)[np.isfinite(ranks)]
    assert training.history.loc[1, "validation"] == pytest.approx(hits.mean(), abs=1e-9)
    interrupted_at(monkeypatch, 0)
    with pytest.raises(KeyboardInterrupt):
        fitted(None)


def test_bad_input_is_one_sentence():
    train, validation = PARTS
    empty = replace(validation, mask=np.zeros_like(validation.mask))
    assert isinstance(empty, ItemSequences)
    for options, part in (
        ({"loss": "triplet"}, "triplet"),
        ({"score": "auc@10"}, "auc"),
        ({"loss": "sampled", "negatives": 0}, "at least one"),
        ({"batch_size": 0}, "at least one sequence"),
    ):
        with pytest.raises(CourseError, match=part):
            fit_items(network(), train, validation, progress=False, **options)
    with pytest.raises(CourseError, match="validation part"):
        fit_items(network(), train, empty, progress=False)
    with pytest.raises(CourseError, match="k must lie"):
        recommend_items(network(), validation, 0)


def test_tensorflow_and_jax_train_alike():
    """A few steps of three networks, from the same weights."""
    assert_alike("backend_step.py", {"gru", "transformer", "event cnn"})


def test_checkpoints_serve_networks_of_events_too(tmp_path, monkeypatch):
    from test_training import OUTCOMES, VOCABULARY, some_sequences

    from course_lib.models.rnn import event_rnn

    parts = some_sequences(60, seed=1), some_sequences(30, seed=2)

    def run(path: Path | None, by_length: bool = True) -> tuple:
        model = event_rnn(VOCABULARY, OUTCOMES, width=6, embedding=3, cell="lstm")
        options = {"epochs": 4, "batch_size": 16, "by_length": by_length, "progress": False}
        return model, fit(model, *parts, checkpoint=path, **options)

    whole, expected = run(None)
    path = tmp_path / "events.npz"
    with monkeypatch.context() as patch:
        interrupted_at(patch, 2)
        run(path)
    resumed, training = run(path)
    assert training.history.equals(expected.history)
    for mine, theirs in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
