"""Fit and use networks of the next item: score real positions only, rank the whole catalogue.

A catalogue has thousands of items, so the output layer is nearly the whole cost of a step:
one number for every item at every position. Two things make it affordable. Only the positions
that are scored go through it: they are *gathered* from the hidden states first (weights of 0
after the output layer would save nothing). And where the catalogue is big, a sample of it can
stand for the whole (`LOSSES`). Lesson 08 compares the losses on one network.

A network of items is a `keras.Model` from codes ``[batch, length]`` to hidden states
``[batch, length, width]`` with a layer named ``items`` (`course_lib.models.items.ItemTable`),
whose table is compared with the states.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from course_lib.backend import keras, quiet_stderr
from course_lib.baselines.ranks import rank_of_target
from course_lib.errors import CourseError, unknown_name
from course_lib.metrics import per_row_ranking, ranking_metric
from course_lib.sequences import Batches, Catalogue, ItemSequences
from course_lib.training.checkpoints import Checkpoint
from course_lib.training.events import check_parts
from course_lib.training.loop import Feed, Training, Watch, adam, set_seed, xla_pays

ops = keras.ops

LOSSES = ("full", "sampled", "binary")
"""Softmax over all items; over the target and a shared sample; target against one other item."""

XLA_PAYS_FROM_STEPS = 100
"""A step with an output layer of thousands of items gains more than a recurrent one alone."""

_CHUNK = 8_000_000
"""Scores that are held in one go: what bounds the memory of ranking."""


class Gather(keras.layers.Layer):
    """Hidden states [batch, length, width] at positions [n] of the flattened batch: [n, width]."""

    def __init__(self, **kwargs: object):
        super().__init__(**kwargs)
        self.supports_masking = True

    def compute_mask(self, *inputs: object, **masks: object) -> None:
        """A recurrent layer's mask ends here: what is gathered is real."""

    def call(self, states: object, positions: object) -> object:
        """Take them."""
        return ops.take(ops.reshape(states, (-1, ops.shape(states)[-1])), positions, axis=0)


class FullSoftmax(keras.layers.Layer):
    r"""Log-loss of the target among all items: $\log \sum_j e^{s_j} - s_t$, [n]."""

    def __init__(self, table: keras.layers.Layer, **kwargs: object):
        super().__init__(**kwargs)
        self.table = table

    def call(self, states: object, targets: object) -> object:
        """Log-loss of each state, [n]."""
        scores = ops.cast(self.table.scores(states), "float32")
        own = ops.take_along_axis(scores, ops.expand_dims(targets, 1), axis=1)[:, 0]
        return ops.logsumexp(scores, axis=1) - own


class SampledSoftmax(keras.layers.Layer):
    r"""Log-loss of the target among itself and a sample that all positions share, [n].

    The sum over all items in the softmax is estimated from m draws j with probabilities q_j:

        Z = e^{s_t} + sum over draws j other than t of e^{s_j - log(m q_j)}

    The correction (logQ) makes the expectation of Z the full sum: without it often-drawn items
    are held down too much. The target is there for certain, so it is not corrected, and draws
    of the target are left out (Bengio and Senecal, "Adaptive importance sampling", 2008; Yi
    and others, "Sampling-bias-corrected neural modeling", RecSys 2019).
    """

    def __init__(self, table: keras.layers.Layer, **kwargs: object):
        super().__init__(**kwargs)
        self.table = table

    def call(self, states: object, targets: object, drawn: object, expected: object) -> object:
        """Log-loss of each state, [n], from drawn items [m] and log(m q) of each, [m]."""
        own = ops.cast(self.table.scores_of(states, targets), "float32")[:, None]
        others = ops.cast(self.table.scores(states, drawn), "float32") - expected[None, :]
        itself = ops.equal(targets[:, None], drawn[None, :])
        others = ops.where(itself, -1e9, others)
        total = ops.logsumexp(ops.concatenate([own, others], axis=1), axis=1)
        return total - own[:, 0]


class BinaryLoss(keras.layers.Layer):
    """Loss of telling the target from one drawn item, as SASRec's: two logistic losses, [n]."""

    def __init__(self, table: keras.layers.Layer, **kwargs: object):
        super().__init__(**kwargs)
        self.table = table

    def call(self, states: object, targets: object, drawn: object) -> object:
        """Loss of each state, [n], with one drawn item each, [n]."""
        own = ops.cast(self.table.scores_of(states, targets), "float32")
        other = ops.cast(self.table.scores_of(states, drawn), "float32")
        wrong = ops.cast(ops.not_equal(targets, drawn), "float32")
        return ops.softplus(-own) + wrong * ops.softplus(other)


class _Given(keras.losses.Loss):
    """The mean, over scored positions, of what the model puts out: its losses."""

    def call(self, y_true: object, y_pred: object) -> object:
        return y_pred


def _given(y_true: object, y_pred: object) -> object:
    return y_pred


def loss_network(model: keras.Model, loss: str = "full") -> keras.Model:
    """Put a loss on a network of items: from a step's arrays to the loss of each position.

    Args:
        model: From codes to hidden states, with a layer ``items``.
        loss: One of `LOSSES`.

    Returns:
        Model that shares the weights. It takes a dict of ``codes`` [batch, length],
        ``positions`` and ``targets`` [n], for the sampled losses ``drawn`` ([m] shared items, or
        [n]) and for ``sampled`` also ``expected``, the log of how often each one is expected
        among the draws, [m]; it puts out the loss of each position, [n], in nats.
    """
    if loss not in LOSSES:
        raise unknown_name("loss", loss, LOSSES)
    inputs = {"codes": keras.Input((None,), dtype="int32", name="codes")}
    names = ["positions", "targets", *(["drawn"] if loss != "full" else [])]
    inputs |= {name: keras.Input((), dtype="int32", name=name) for name in names}
    if loss == "sampled":
        inputs["expected"] = keras.Input((), dtype="float32", name="expected")
    states = Gather(name="gather")(model(inputs["codes"]), inputs["positions"])
    table = model.get_layer("items")
    layer = {"full": FullSoftmax, "sampled": SampledSoftmax, "binary": BinaryLoss}[loss]
    rest = [inputs[name] for name in ("targets", "drawn", "expected") if name in inputs]
    return keras.Model(inputs, layer(table, name="loss_of_each")(states, *rest), name="training")


def steps_of_items(
    batches: Batches,
    catalogue: Catalogue,
    loss: str = "full",
    *,
    negatives: int = 512,
    popularity_power: float = 0.75,
    correct: bool = True,
) -> Callable[[tuple[int, np.ndarray], np.random.Generator], tuple]:
    """Return the function that makes Keras's inputs, targets and weights of a step.

    Args: as `fit_items`.
    """
    odds = (catalogue.counts + 1.0) ** popularity_power
    chance = odds / odds.sum()
    reached = chance.cumsum()
    # Without the correction each draw weighs as if all items were drawn equally often.
    as_often = np.log(negatives * (chance if correct else np.full(len(chance), 1 / len(chance))))

    def make(step: tuple[int, np.ndarray], rng: np.random.Generator) -> tuple:
        arrays = batches.gathered(step)
        weights = arrays.pop("weights")
        if loss == "sampled":
            drawn = np.searchsorted(reached, rng.random(negatives) * reached[-1], "right")
            arrays["drawn"] = np.minimum(drawn, len(chance) - 1).astype(np.int32)
            arrays["expected"] = as_often[arrays["drawn"]].astype(np.float32)
        elif loss == "binary":
            drawn = rng.integers(0, len(chance), batches.capacity)
            arrays["drawn"] = drawn.astype(np.int32)
        return arrays, arrays["targets"], weights

    return make


def compile_items(
    network: keras.Model, learning_rate: float, decay_steps: int | None, jit_compile: bool
) -> None:
    """Compile a `loss_network`: Adam, the mean loss of the scored positions, one metric."""
    network.compile(
        adam(learning_rate, decay_steps),
        loss=_Given(reduction="mean_with_sample_weight"),
        weighted_metrics=[keras.metrics.MeanMetricWrapper(_given, name="log_loss")],
        jit_compile=jit_compile,
    )


def fit_items(
    model: keras.Model,
    train: ItemSequences,
    validation: ItemSequences,
    *,
    loss: str = "full",
    negatives: int = 512,
    popularity_power: float = 0.75,
    correct: bool = True,
    score: str = "ndcg@10",
    exclude_seen: bool = False,
    validation_rows: int = 10_000,
    epochs: int = 20,
    patience: int = 3,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    decay: bool = False,
    seed: int = 1,
    shapes: int = 4,
    jit_compile: bool | None = None,
    checkpoint: str | os.PathLike | None = None,
    progress: bool = True,
) -> Training:
    """Train a network of the next item; keep the weights that rank the validation part best.

    Args:
        model: From codes ``[batch, length]`` to hidden states, with a layer ``items``.
        train: What to learn from.
        validation: What early stopping watches.
        loss: One of `LOSSES`.
        negatives: For ``sampled``: how many items are drawn for a step, with replacement.
        popularity_power: For ``sampled``: item j is drawn with a probability proportional to
            (times seen in training + 1) to this power.
        correct: For ``sampled``: correct the scores for how often items are drawn (logQ).
        score: ``ndcg@10``, ``hit_rate@20`` or ``mrr@20`` among all items, or ``log-loss``.
        exclude_seen: Whether items that a session has shown are no candidates in that score.
        validation_rows: At most so many rows of the validation part are ranked, drawn by `seed`.
        epochs: At most so many passes over `train`.
        patience: Stop after so many epochs without a better score.
        batch_size: Sequences a step, on average: steps score about the same number of
            positions, so those of short sequences hold more of them.
        learning_rate: Of Adam.
        decay: Let it fall along half a cosine to nearly 0 at the end of `epochs`.
        seed: Of the shuffling and of what is drawn.
        shapes: At most so many lengths are padded to; XLA compiles once for each.
        jit_compile: Compile the step with XLA; None: where that pays, in runs of some length.
        checkpoint: A file that keeps the state after each epoch; if it is there already, the
            fit goes on from it, and ends where an uninterrupted one would have ended.
        progress: Show one line that is rewritten after every epoch.

    Returns:
        The history; ``training`` is the mean of the chosen loss. The model holds the weights of
        the epoch with the best score, also when the fit was interrupted (Ctrl-C) after at
        least one epoch.

    Raises:
        CourseError: If a part has no scored position, the catalogues differ, there is no such
            loss or score, or the checkpoint belongs to another model, data or settings.
    """
    check_parts(train, validation)
    if loss == "sampled" and negatives < 1:
        raise CourseError(f"A sampled softmax draws at least one item a step, not {negatives}.")
    batches = Batches(train, batch_size, shapes=shapes)
    steps = epochs * len(batches)
    if jit_compile is None:
        jit_compile = xla_pays(model, steps, XLA_PAYS_FROM_STEPS)
    rng = np.random.default_rng(seed)
    labelled = np.flatnonzero(validation.mask)
    some = rng.permutation(labelled)[:validation_rows]
    ranked = np.zeros(validation.mask.shape, bool)
    ranked.ravel()[some] = True
    checked = replace(validation, mask=ranked)
    higher, title = True, score
    if score == "log-loss":
        higher = False
    else:
        title = ranking_metric(score).title
    kept = None
    if checkpoint is not None:
        settings = {
            "loss": loss,
            "negatives": negatives,
            "popularity_power": popularity_power,
            "correct": correct,
            "score": score,
            "exclude_seen": exclude_seen,
            "validation_rows": validation_rows,
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "decay": decay,
            "seed": seed,
            "shapes": shapes,
        }
        kept = Checkpoint(checkpoint, model, (train, validation), settings)
    set_seed(seed)
    network = loss_network(model, loss)
    compile_items(network, learning_rate, steps if decay else None, jit_compile)
    reader = _reader(model)

    def validate(logs: dict) -> float:
        if score == "log-loss":
            return _log_loss(reader, model, checked)
        ranks = _ranks(reader, model, checked, exclude_seen, 512)
        return float(np.nanmean(per_row_ranking(ranks, score)))

    watch = Watch(
        epochs,
        patience,
        validate,
        score=title,
        higher_is_better=higher,
        progress=progress,
        checkpoint=kept,
    )
    watch.resume(network)
    make = steps_of_items(
        batches,
        train.catalogue,
        loss,
        negatives=negatives,
        popularity_power=popularity_power,
        correct=correct,
    )
    return watch.run(network, x=Feed(batches, make, seed))


# --- using it ------------------------------------------------------------------------------


def item_scores(
    model: keras.Model, sequences: ItemSequences, *, batch_size: int = 512
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Score all items at each row that a sequence stands for, some rows at a time.

    Args:
        model: A network of items.
        sequences: Its rows, labelled or not, are scored, each once, in the order of the log.
        batch_size: Sequences a step.

    Yields:
        Rows of the log, int64 [n], and the scores of all items, float32 [n, items].
    """
    yield from _scores(_reader(model), model, sequences, sequences.rows >= 0, batch_size)


def rank_items(
    model: keras.Model,
    sequences: ItemSequences,
    *,
    exclude_seen: bool = False,
    batch_size: int = 512,
) -> np.ndarray:
    """Return where the true next item stands among all items at each row of the log.

    A row with no item so far gives the network nothing to read: there the rank is that by
    popularity in training.

    Args:
        model: A network of items.
        sequences: Of the rows to rank.
        exclude_seen: Whether the items that a session has shown are no candidates any more.
        batch_size: Sequences a step.

    Returns:
        Ranks, float64 [rows of the log], 1 is best, ties at the mean rank (`rank_of_target`); NaN
        where nothing was asked: in rows that no sequence stands for, or without a label.
    """
    ranks = _ranks(_reader(model), model, sequences, exclude_seen, batch_size)
    if len(sequences.blind_rows):
        # Items sorted by how often they were seen: their ranks with ties at the mean.
        counts = sequences.catalogue.counts
        ascending, own = np.sort(counts), counts[sequences.blind_targets]
        above = len(counts) - np.searchsorted(ascending, own, "right")
        ties = len(counts) - above - np.searchsorted(ascending, own, "left")
        ranks[sequences.blind_rows] = 1 + above + (ties - 1) / 2
    return ranks


def recommend_items(
    model: keras.Model,
    sequences: ItemSequences,
    k: int = 10,
    *,
    exclude_seen: bool = False,
    batch_size: int = 512,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best `k` items of each row that a sequence stands for.

    Returns:
        Rows of the log, int64 [n], and places in the catalogue, int64 [n, k], best first.

    Raises:
        CourseError: If `k` is below 1 or above the size of the catalogue.
    """
    items = len(sequences.catalogue)
    if not 1 <= k <= items:
        raise CourseError(f"k must lie between 1 and the {items} items, not {k}.")
    all_rows, best = [np.empty(0, np.int64)], [np.empty((0, k), np.int64)]
    for rows, scores in item_scores(model, sequences, batch_size=batch_size):
        if exclude_seen:
            scores[_seen(sequences, rows).nonzero()] = -np.inf
        first = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(scores, first, axis=1), axis=1, kind="stable")
        all_rows.append(rows)
        best.append(np.take_along_axis(first, order, axis=1))
    return np.concatenate(all_rows), np.concatenate(best)


def _reader(model: keras.Model) -> keras.Model:
    """From codes and positions to the hidden states there."""
    inputs = {
        "codes": keras.Input((None,), dtype="int32", name="codes"),
        "positions": keras.Input((), dtype="int32", name="positions"),
    }
    states = Gather(name="gather")(model(inputs["codes"]), inputs["positions"])
    reader = keras.Model(inputs, states, name="reader")
    # Reading is too quick for TensorFlow to win back what compiling with XLA takes.
    reader.compile(jit_compile="auto" if keras.backend.backend() == "jax" else False)
    return reader


def _scores(
    reader: keras.Model,
    model: keras.Model,
    sequences: ItemSequences,
    wanted: np.ndarray,
    batch_size: int,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    shapes = 4 if len(sequences) > 4 * batch_size else 1
    batches = Batches(sequences, min(batch_size, len(sequences)), shapes=shapes, wanted=wanted)

    def make(step: tuple[int, np.ndarray], rng: np.random.Generator) -> tuple:
        arrays = batches.gathered(step)
        return ({name: arrays[name] for name in ("codes", "positions")},)

    feed = Feed(batches, make)
    steps = list(feed.steps)
    with quiet_stderr():
        states = reader.predict(feed, verbose=0).astype(np.float32)
    states = states.reshape(len(steps), batches.capacity, -1)
    rows = [batches.rows(step) for step in steps]
    states = np.concatenate([part[: len(row)] for part, row in zip(states, rows, strict=True)])
    rows = np.concatenate(rows)
    order = np.argsort(rows, kind="stable")
    table, bias = model.get_layer("items").arrays()
    some = max(1, _CHUNK // len(table))
    for start in range(0, len(rows), some):
        part = order[start : start + some]
        yield rows[part], states[part] @ table.T + bias


def _seen(sequences: ItemSequences, rows: np.ndarray) -> object:
    return sequences.visits.seen(sequences.visits.last[rows])


def _targets(sequences: ItemSequences) -> np.ndarray:
    """Place of the next item by row of the log, -1 where none is asked."""
    targets = np.full(len(sequences.visits.last), -1, np.int64)
    targets[sequences.rows[sequences.mask]] = sequences.targets[sequences.mask]
    return targets


def _ranks(
    reader: keras.Model,
    model: keras.Model,
    sequences: ItemSequences,
    exclude_seen: bool,
    batch_size: int,
) -> np.ndarray:
    targets = _targets(sequences)
    ranks = np.full(len(targets), np.nan)
    if sequences.mask.any():
        for rows, scores in _scores(reader, model, sequences, sequences.mask, batch_size):
            seen = _seen(sequences, rows) if exclude_seen else None
            ranks[rows] = rank_of_target(scores, targets[rows], exclude=seen)
    return ranks


def _log_loss(reader: keras.Model, model: keras.Model, sequences: ItemSequences) -> float:
    targets, total = _targets(sequences), 0.0
    for rows, scores in _scores(reader, model, sequences, sequences.mask, 512):
        most = scores.max(axis=1)
        sums = np.exp(scores - most[:, None]).sum(axis=1, dtype=np.float64)
        total += float((np.log(sums) + most - scores[np.arange(len(rows)), targets[rows]]).sum())
    return total / int(sequences.mask.sum())
