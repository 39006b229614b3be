"""Training: masked losses by hand, the best weights kept, seeds that mean something."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib.backend import keras
from course_lib.errors import CourseError
from course_lib.models.rnn import event_rnn
from course_lib.sequences import Sequences, Vocabulary
from course_lib.training import fit, forecast, loop

VOCABULARY = Vocabulary(("a", "b", "c"))
OUTCOMES = ("a", "b", "c", "leave")


def some_sequences(count: int, seed: int, length: int = 8) -> Sequences:
    """Sequences of any length from 1 in which "b" always follows "a"."""
    random = np.random.default_rng(seed)
    inputs = random.integers(1, 4, (count, length))
    inputs[:, 1:] = np.where(inputs[:, :-1] == 1, 2, inputs[:, 1:])
    size = random.integers(1, length + 1, count)[:, None]
    real = np.arange(length) < size
    targets = np.where(np.arange(length) == size - 1, 3, np.roll(inputs - 1, -1, axis=1))
    rows = np.full(inputs.shape, -1)
    rows[real] = np.arange(real.sum())
    return Sequences(
        inputs=np.where(real, inputs, 0).astype(np.int32),
        targets=np.where(real, targets, 0).astype(np.int32),
        mask=real,
        rows=rows,
        session_id=np.arange(count),
        outcomes=OUTCOMES,
    )


def small_network(seed: int = 1) -> keras.Model:
    return event_rnn(VOCABULARY, OUTCOMES, width=6, embedding=3, seed=seed)


def log_loss_by_hand(model: keras.Model, sequences: Sequences) -> float:
    """Mean over the scored positions, each alike, of -log softmax(logits)[target]."""
    total, count = 0.0, 0
    for codes, targets, mask in zip(
        sequences.inputs, sequences.targets, sequences.mask, strict=True
    ):
        logits = model(codes[None]).numpy()[0].astype(float)
        for position in np.flatnonzero(mask):
            odds = np.exp(logits[position])
            total -= np.log(odds[targets[position]] / odds.sum())
            count += 1
    return total / count


@pytest.fixture(scope="module")
def parts() -> tuple[Sequences, Sequences]:
    return some_sequences(90, seed=1), some_sequences(37, seed=2)


@pytest.mark.parametrize("by_length", [False, True])
def test_the_reported_loss_is_the_mean_over_scored_positions(parts, by_length):
    train, validation = parts
    hidden = validation.mask & (np.arange(validation.length) % 3 != 1)
    scored = Sequences(**{**vars(validation), "mask": hidden})
    model = small_network()
    # Batches of 8 leave a last one that is not full: it must not weigh more, or less.
    options = {"epochs": 1, "batch_size": 8, "by_length": by_length, "progress": False}
    result = fit(model, train, scored, **options)
    by_hand = log_loss_by_hand(model, scored)
    assert result.history["validation"].loc[1] == pytest.approx(by_hand, abs=1e-5)
    assert abs(by_hand - log_loss_by_hand(model, validation)) > 1e-4


def test_a_step_follows_the_gradient_of_the_masked_mean(parts):
    """One step on one batch: padding and unscored positions add nothing to the gradient."""
    train, validation = parts
    one = fit(model := small_network(), train, validation, epochs=1, batch_size=90, progress=False)
    wider = Sequences(
        **{
            **vars(train),
            **{
                name: np.pad(getattr(train, name), ((0, 0), (0, 5)), constant_values=fill)
                for name, fill in {"inputs": 0, "targets": 2, "mask": False, "rows": -1}.items()
            },
        }
    )
    other = fit(
        again := small_network(), wider, validation, epochs=1, batch_size=90, progress=False
    )
    assert one.history["training"].loc[1] == pytest.approx(
        other.history["training"].loc[1], abs=1e-5
    )
    for mine, theirs in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_early_stopping_keeps_the_best_weights(parts):
    train, validation = parts
    model = small_network()
    result = fit(model, train, validation, epochs=30, patience=2, learning_rate=0.5, progress=False)
    scores = result.history["validation"]
    assert result.ended == "patience" and len(scores) == result.best_epoch + 2 < 30
    assert scores.idxmin() == result.best_epoch
    assert scores.iloc[-1] > scores.min() + 1e-4
    assert log_loss_by_hand(model, validation) == pytest.approx(scores.min(), abs=1e-4)


def test_the_same_seed_gives_the_same_network_another_one_does_not(parts):
    train, validation = parts

    def weights(seed: int) -> list[np.ndarray]:
        model = small_network()
        fit(model, train, validation, epochs=2, batch_size=16, seed=seed, progress=False)
        return model.get_weights()

    first, second, other = weights(1), weights(1), weights(2)
    for mine, theirs in zip(first, second, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert not np.array_equal(first[0], other[0])


def test_ctrl_c_keeps_the_best_weights_so_far(parts, monkeypatch):
    train, validation = parts
    model = small_network()

    def interrupt(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop.Watch, "on_epoch_begin", interrupt)
    result = fit(model, train, validation, epochs=9, progress=False)
    assert result.ended == "interrupted" and len(result.history) == 2
    best = result.history["validation"].min()
    assert log_loss_by_hand(model, validation) == pytest.approx(best, abs=1e-4)


def test_forecasts_are_probabilities_in_their_rows(parts):
    _, validation = parts
    model = small_network()
    n_rows = int(validation.rows.max()) + 3
    got = forecast(model, validation, n_rows, batch_size=16)
    assert got.shape == (n_rows, 4)
    assert np.isnan(got[-2:]).all()
    np.testing.assert_allclose(got[:-2].sum(axis=1), 1, atol=1e-9)
    number, place = 5, 0
    logits = model(validation.inputs[number : number + 1]).numpy()[0, place].astype(float)
    odds = np.exp(logits)
    np.testing.assert_allclose(got[validation.rows[number, place]], odds / odds.sum(), atol=1e-5)


def test_xla_computes_the_same(parts):
    train, validation = parts
    scores = [
        fit(small_network(), train, validation, epochs=2, jit_compile=jit, progress=False).history[
            "validation"
        ]
        for jit in (False, True)
    ]
    np.testing.assert_allclose(*scores, atol=1e-4)


def test_a_part_without_labels_is_refused(parts):
    train, validation = parts
    empty = Sequences(**{**vars(validation), "mask": np.zeros_like(validation.mask)})
    with pytest.raises(CourseError, match="validation part"):
        fit(small_network(), train, empty, progress=False)


def test_nothing_is_printed(parts, capfd):
    train, validation = parts
    fit(small_network(), train, validation, epochs=1, progress=True)
    assert capfd.readouterr() == ("", "")
