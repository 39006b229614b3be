"""Pretrain an encoder by masking events, and let it tell what stands behind a mask (lesson 09)."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Iterator

import numpy as np

from course_lib.backend import keras, keras_hub, quiet_stderr
from course_lib.baselines.ranking import Visits
from course_lib.baselines.ranks import rank_of_target
from course_lib.errors import CourseError
from course_lib.metrics import per_row_ranking, ranking_metric
from course_lib.sequences import MASK, PADDING, UNKNOWN, Batches, FieldSequences
from course_lib.training.checkpoints import Checkpoint
from course_lib.training.items import XLA_PAYS_FROM_STEPS, compile_items
from course_lib.training.loop import Feed, Training, Watch, set_seed, xla_pays

ops = keras.ops


class MaskedLoss(keras.layers.Layer):
    """Log-loss of one field at each position: scores [n, size], codes [n], weights [n] to [n]."""

    def call(self, scores: object, codes: object, weights: object) -> object:
        """Log-loss in nats, 0 where the weight is 0."""
        scores = ops.cast(scores, "float32")
        own = ops.take_along_axis(scores, ops.expand_dims(codes, 1), axis=1)[:, 0]
        return weights * (ops.logsumexp(scores, axis=1) - own)


def masking_network(network: keras.Model) -> keras.Model:
    """Put the loss on a masked network: from a step's arrays to the loss of each position.

    Args:
        network: A `course_lib.models.bert.masked_network`.

    Returns:
        Model that shares the weights. It takes a dict of ``codes``, ``positions`` and, for each
        predicted field, ``FIELD_codes`` and ``FIELD_weights`` [n], and puts out the sum of the
        fields' log-losses at each position, [n], in nats.
    """
    shape = network.input["codes"].shape[1:]
    inputs = {
        "codes": keras.Input(shape, dtype="int32", name="codes"),
        "positions": keras.Input((), dtype="int32", name="positions"),
    }
    scores = network(inputs)
    losses = []
    for name in network.output:
        inputs[f"{name}_codes"] = keras.Input((), dtype="int32", name=f"{name}_codes")
        inputs[f"{name}_weights"] = keras.Input((), dtype="float32", name=f"{name}_weights")
        losses.append(
            MaskedLoss(name=f"{name}_loss")(
                scores[name], inputs[f"{name}_codes"], inputs[f"{name}_weights"]
            )
        )
    total = losses[0] if len(losses) == 1 else keras.layers.Add(name="loss_of_each")(losses)
    return keras.Model(inputs, total, name="masking")


def masked_steps(
    batches: Batches, predicted: tuple[str, ...], *, rate: float = 0.2, last: float = 0.5
) -> Callable[[tuple[int, np.ndarray], np.random.Generator], tuple]:
    """Return the function that masks the events of a step.

    Of most sequences some events are chosen, and replaced: 80 % by the mask, 10 % by another
    event of these sequences, 10 % by themselves (keras-hub's `MaskedLMMaskGenerator`, on the
    numbers of the events, so that all fields go at once). Of the share `last` of the sequences the
    beginning is kept, of any length, and its last event masked, as when it is asked what comes
    next (Sun and others, 2019, section 3.6, add sequences whose last
    item alone is masked; the share and the cut are ours).

    Args:
        batches: Of `FieldSequences`, with `marks` as the positions that count.
        predicted: Fields that are told.
        rate: Share of the events that are chosen.
        last: Share of the sequences that are cut and end in a mask.
    """
    sequences = batches.sequences
    columns = [sequences.fields.names.index(name) for name in predicted]
    own = np.unique(sequences.inputs[sequences.inputs != PADDING])
    generator = keras_hub.layers.MaskedLMMaskGenerator(
        vocabulary_size=len(sequences.table),
        mask_selection_rate=rate,
        mask_token_id=MASK,
        mask_selection_length=sequences.length,
        unselectable_token_ids=[PADDING],
    )
    capacity = _capacity(batches, rate, last)

    def make(step: tuple[int, np.ndarray], rng: np.random.Generator) -> tuple:
        numbers = batches.inputs(step)
        real = (numbers != PADDING).sum(axis=1)
        cut = (rng.random(len(numbers)) < last) & (real > 1)
        ends = np.where(cut, rng.integers(2, np.maximum(real, 2) + 1), real)
        kept = np.arange(numbers.shape[1]) < ends[:, None]
        numbers = np.where(kept, numbers, PADDING)
        chosen = np.zeros(numbers.shape, bool)
        chosen[np.flatnonzero(cut), ends[cut] - 1] = True
        shown = np.where(chosen, MASK, numbers)
        free = np.where(cut[:, None], PADDING, numbers)
        with _pythons_numbers(int(rng.integers(2**31))):
            masked = generator(free)
        arrays = {name: np.asarray(value) for name, value in masked.items()}
        drawn = arrays["token_ids"]
        # It draws from the whole log, whose other rows are none of ours: let ours stand for them.
        drawn = np.where((drawn == free) | (drawn == MASK), drawn, own[drawn % len(own)])
        shown = np.where(cut[:, None], shown, drawn)
        sequence, slot = np.nonzero(arrays["mask_weights"])
        chosen[sequence, arrays["mask_positions"][sequence, slot]] = True

        places = np.flatnonzero(chosen)
        if len(places) > capacity:
            places = np.sort(rng.choice(places, capacity, replace=False))
        fill = (0, capacity - len(places))
        codes = sequences.table[numbers.ravel()[places]]
        inputs = {
            "codes": sequences.read(shown.astype(np.int32)),
            "positions": np.pad(places.astype(np.int32), fill),
        }
        known = np.zeros(capacity, np.float32)
        for name, column in zip(predicted, columns, strict=True):
            inputs[f"{name}_codes"] = np.pad(codes[:, column], fill)
            inputs[f"{name}_weights"] = np.pad((codes[:, column] > UNKNOWN).astype("f4"), fill)
            known = np.maximum(known, inputs[f"{name}_weights"])
        return inputs, inputs["positions"], known

    return make


def _capacity(batches: Batches, rate: float, last: float) -> int:
    """Positions that a step scores: four standard deviations above what the fullest expects."""
    most = 0.0
    for step in batches.steps():
        real = (batches.inputs(step) != PADDING).sum(axis=1)
        real = real[real > 0]
        mean = last + (1 - last) * rate * real
        # Of a cut sequence 1, of the others a binomial number.
        square = last + (1 - last) * (rate * (1 - rate) * real + (rate * real) ** 2)
        most = max(most, mean.sum() + 4 * np.sqrt((square - mean**2).sum()))
    return -(-int(np.ceil(most)) // 64) * 64


@contextlib.contextmanager
def _pythons_numbers(seed: int) -> Iterator[None]:
    """Seed Python's own random numbers, which the generator draws from, so that a step repeats."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)


def marks(sequences: FieldSequences, rate: float) -> np.ndarray:
    """As many positions of each sequence as are masked in a step, bool [sequences, length]."""
    real = (sequences.inputs != PADDING).sum(axis=1)
    return np.arange(sequences.length) < np.ceil(rate * real)[:, None]


def pretrain(
    network: keras.Model,
    train: FieldSequences,
    validation: FieldSequences,
    *,
    rate: float = 0.2,
    last: float = 0.5,
    score: str = "log-loss",
    visits: Visits | None = None,
    validation_rows: int = 10_000,
    epochs: int = 10,
    patience: int = 3,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    decay: bool = True,
    seed: int = 1,
    shapes: int = 4,
    jit_compile: bool | None = None,
    checkpoint: str | os.PathLike | None = None,
    progress: bool = True,
) -> Training:
    """Pretrain by masking events; keep the weights that serve the validation part best.

    Args:
        network: A `course_lib.models.bert.masked_network`.
        train: Whole sessions to learn from (`whole_sequences`).
        validation: For ``log-loss`` whole sessions, masked the same way in every epoch; for a
            ranking score questions about the next item (`question_sequences`).
        rate: Share of the events that are chosen (`masked_steps`).
        last: Share of the sequences that are cut and end in a mask.
        score: ``log-loss``, the mean over masked positions of the fields' sum; or ``ndcg@10``,
            ``hit_rate@20``, ``mrr@20`` of the next item among all items.
        visits: For a ranking score: leave out the items that were seen before.
        validation_rows: At most so many questions are ranked, drawn by `seed`.
        epochs: At most so many passes over `train`.
        patience: Stop after so many epochs without a better score.
        batch_size: Sequences a step, on average.
        learning_rate: Of Adam.
        decay: Let it fall along half a cosine to nearly 0 at the end of `epochs`.
        seed: Of the shuffling and the masking.
        shapes: At most so many lengths are padded to; XLA compiles once for each.
        jit_compile: Compile the step with XLA; None: where that pays.
        checkpoint: A file that keeps the state after each epoch and that a fit goes on from.
        progress: Show one line that is rewritten after every epoch.

    Raises:
        CourseError: If the shares are no shares, or the checkpoint belongs to another run.
    """
    if not (0 < rate < 1 and 0 <= last <= 1):
        raise CourseError(f"Shares to mask lie between 0 and 1, not rate={rate} and last={last}.")
    predicted = tuple(network.output)
    batches = Batches(train, batch_size, shapes=shapes, wanted=marks(train, rate))
    steps = epochs * len(batches)
    if jit_compile is None:
        jit_compile = xla_pays(network, steps, XLA_PAYS_FROM_STEPS)
    kept = None
    if checkpoint is not None:
        settings = {
            "rate": rate,
            "last": last,
            "score": score,
            "exclude_seen": visits is not None,
            "validation_rows": validation_rows,
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "decay": decay,
            "seed": seed,
            "shapes": shapes,
        }
        kept = Checkpoint(checkpoint, network, (train, validation), settings)
    set_seed(seed)
    masking = masking_network(network)
    compile_items(masking, learning_rate, steps if decay else None, jit_compile)
    ranking = score != "log-loss"
    if ranking:
        some = np.random.default_rng(seed).permutation(len(validation))[:validation_rows]
        asked = validation.take(np.sort(some))

        def validate(logs: dict) -> float:
            return float(np.nanmean(per_row_ranking(_asked_ranks(network, asked, visits), score)))
    else:
        checked = Batches(validation, batch_size, shapes=shapes, wanted=marks(validation, rate))
        # One seed: the same events are masked in every epoch.
        feed = Feed(checked, masked_steps(checked, predicted, rate=rate, last=last), seed)

        def validate(logs: dict) -> float:
            with quiet_stderr():
                return masking.evaluate(feed, verbose=0, return_dict=True)["log_loss"]

    watch = Watch(
        epochs,
        patience,
        validate,
        score=ranking_metric(score).title if ranking else score,
        higher_is_better=ranking,
        progress=progress,
        checkpoint=kept,
    )
    watch.resume(masking)
    make = masked_steps(batches, predicted, rate=rate, last=last)
    return watch.run(masking, x=Feed(batches, make, seed))


def masked_scores(
    network: keras.Model, questions: FieldSequences, field: str = "item", *, batch_size: int = 256
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Let a network tell a field at the masked event of each question.

    Args:
        network: A `course_lib.models.bert.masked_network`.
        questions: Made by `question_sequences`.
        field: One that the network tells.
        batch_size: Questions a step.

    Yields:
        Rows of the log, int64 [n], and scores of the field's values, float32 [n, values].

    Raises:
        CourseError: If the network does not tell that field.
    """
    if field not in network.output:
        told = ", ".join(network.output)
        raise CourseError(f"The network tells no field {field!r}; it tells {told}.")
    batches = Batches(questions, min(batch_size, len(questions)), shapes=4)
    for step in batches.steps():
        arrays = batches.gathered(step)
        inputs = {name: arrays[name] for name in ("codes", "positions")}
        with quiet_stderr():
            scores = network(inputs, training=False)[field]
        rows = batches.rows(step)
        scores = ops.convert_to_numpy(scores)[: len(rows)].astype(np.float32)
        yield rows, questions.fields.scored(scores)


def rank_masked(
    network: keras.Model,
    questions: FieldSequences,
    n_rows: int,
    *,
    visits: Visits | None = None,
    batch_size: int = 256,
) -> np.ndarray:
    """Return where the true next item stands among all items at each asked row of the log.

    Args:
        network: A `course_lib.models.bert.masked_network` that tells items.
        questions: About the next item (`question_sequences`).
        n_rows: Rows of the log.
        visits: Leave out the items that were seen before, by this; None: all are candidates.
        batch_size: Questions a step.

    Returns:
        Ranks, float64 [n_rows], 1 is best, ties at the mean rank; NaN where nothing was asked.
    """
    ranks = np.full(n_rows, np.nan)
    rows = questions.rows[questions.mask]
    ranks[rows] = _asked_ranks(network, questions, visits, batch_size)
    return ranks


def _asked_ranks(
    network: keras.Model,
    questions: FieldSequences,
    visits: Visits | None,
    batch_size: int = 256,
) -> np.ndarray:
    """Ranks in the order of the questions."""
    rows = questions.rows[questions.mask]
    order = np.argsort(rows)
    items = np.asarray(questions.fields.values["item"], object)
    place = {item: number for number, item in enumerate(items)}
    in_catalogue = np.array([place[item] for item in questions.outcomes], np.int64)
    targets = in_catalogue[questions.targets[questions.mask]]
    ranks = np.empty(len(rows))
    for asked, scores in masked_scores(network, questions, batch_size=batch_size):
        at = order[np.searchsorted(rows, asked, sorter=order)]
        seen = None if visits is None else visits.seen(visits.last[asked])
        ranks[at] = rank_of_target(scores, targets[at], exclude=seen)
    return ranks
