"""Fit and use networks that put out one number an outcome at every position (lesson 05).

The numbers are logits, before the softmax. Padding and unlabelled positions carry weight 0:
the loss of a batch is the mean over its *scored* positions, and the log-loss that early
stopping watches is the mean over all scored positions of the validation part, whatever the
batches are.
"""

from __future__ import annotations

import os

import numpy as np

from course_lib.backend import keras, quiet_stderr
from course_lib.errors import CourseError
from course_lib.sequences import PADDING, Batches, Sequences
from course_lib.training.checkpoints import Checkpoint
from course_lib.training.loop import Feed, Training, Watch, adam, set_seed, xla_pays

ops = keras.ops

# XLA takes some seconds to compile a recurrent step and saves milliseconds at each one.
XLA_PAYS_FROM_STEPS = 500
# So many steps are run without going back to Python: one costs it two milliseconds or so.
STEPS_AT_ONCE = 8


class LogLoss(keras.metrics.SparseCategoricalCrossentropy):
    """The mean over all scored positions, however the steps cut them.

    Keras's own takes the mean of each sequence first, padding included, so where steps have
    different lengths a position of a short sequence would weigh more than one of a long one.
    """

    def update_state(
        self, y_true: object, y_pred: object, sample_weight: object | None = None
    ) -> None:
        """Add a step: targets and weights [batch, length], logits [batch, length, outcomes]."""
        if sample_weight is not None:
            sample_weight = ops.reshape(sample_weight, (-1,))
        logits = ops.reshape(y_pred, (-1, ops.shape(y_pred)[-1]))
        super().update_state(ops.reshape(y_true, (-1,)), logits, sample_weight)


def _fill(sequences: Sequences, batch_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return inputs, targets, weights with empty sequences up to whole batches.

    XLA compiles once for each shape: a smaller last batch would cost a second compilation.
    """
    missing = -len(sequences) % batch_size
    fill = ((0, missing), (0, 0))
    return (
        sequences.read(np.pad(sequences.inputs, fill, constant_values=PADDING)),
        np.pad(sequences.targets, fill),
        np.pad(sequences.mask.astype(np.float32), fill),
    )


def fit(
    model: keras.Model,
    train: Sequences,
    validation: Sequences,
    *,
    epochs: int = 8,
    patience: int = 3,
    batch_size: int = 64,
    learning_rate: float = 3e-3,
    seed: int = 1,
    by_length: bool = False,
    jit_compile: bool | None = None,
    checkpoint: str | os.PathLike | None = None,
    progress: bool = True,
) -> Training:
    """Train a model that puts out logits at every position; keep its best weights.

    Args:
        model: Maps codes ``[batch, length]`` to logits ``[batch, length, outcomes]``.
        train: What to learn from.
        validation: What early stopping watches.
        epochs: At most so many passes over `train`.
        patience: Stop after so many epochs without a better validation log-loss.
        batch_size: Sequences a step.
        learning_rate: Of Adam at the start; it falls along half a cosine to nearly 0 at the end
            of `epochs` (Loshchilov and Hutter, "SGDR", 2017). Gradients are cut to norm 1,
            because a recurrent network's now and then explode.
        seed: Of the shuffling (and dropout, where the model has some).
        by_length: Put sequences of like lengths into a step and cut their padding off
            (`sequences.Batches`); otherwise a step holds any sequences, at full length.
        jit_compile: Compile the step with XLA; None: where that pays, in runs of some length.
        checkpoint: A file that keeps the state after each epoch; if it is there already, the
            fit goes on from it, and ends where an uninterrupted one would have ended. Steps
            are then dealt by `sequences.Batches`, which the seed alone decides.
        progress: Show one line that is rewritten after every epoch.

    Returns:
        The history. The model holds the weights of the epoch with the best validation log-loss,
        also when the fit was interrupted (Ctrl-C) after at least one epoch.

    Raises:
        CourseError: If a part has no scored position, the outcomes differ, or the checkpoint
            belongs to another model, other data or other settings.
    """
    check_parts(train, validation)
    dealt = by_length or checkpoint is not None
    if dealt:
        batches = Batches(train, batch_size, shapes=4 if by_length else 1)
        steps = epochs * len(batches)
    else:
        steps = epochs * -(-len(train) // batch_size)
    if jit_compile is None:
        jit_compile = xla_pays(model, steps, XLA_PAYS_FROM_STEPS)
    kept = None
    if checkpoint is not None:
        settings = {
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "seed": seed,
            "by_length": by_length,
        }
        kept = Checkpoint(checkpoint, model, (train, validation), settings)
    set_seed(seed)
    compile_logits(model, adam(learning_rate, steps), jit_compile, 1 if dealt else STEPS_AT_ONCE)
    watch = Watch(
        epochs,
        patience,
        lambda logs: logs["val_log_loss"],
        progress=progress,
        checkpoint=kept,
    )
    watch.resume(model)
    if not dealt:
        inputs, targets, weights = _fill(train, batch_size)
        return watch.run(
            model,
            x=inputs,
            y=targets,
            sample_weight=weights,
            validation_data=_fill(validation, batch_size),
            validation_batch_size=batch_size,
            batch_size=batch_size,
        )
    checked = Batches(validation, batch_size, shapes=4 if by_length else 1)
    return watch.run(
        model,
        x=Feed(batches, lambda step, _: batches.grid(step), seed),
        validation_data=Feed(checked, lambda step, _: checked.grid(step)),
    )


def compile_logits(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    jit_compile: bool,
    at_once: int = 1,
) -> None:
    """Compile a network that puts out logits: the mean log-loss of what has a weight.

    Args:
        model: Puts out logits.
        optimizer: What moves its weights.
        jit_compile: Whether to compile the step with XLA.
        at_once: Steps that are run without going back to Python.
    """
    model.compile(
        optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction="mean_with_sample_weight"
        ),
        weighted_metrics=[LogLoss(from_logits=True, name="log_loss")],
        jit_compile=jit_compile,
        steps_per_execution=at_once,
    )


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, float64."""
    logits = logits.astype(np.float64)
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)


def check_parts(train: Sequences, validation: Sequences) -> None:
    """Refuse parts that nothing can be learnt from, or that ask different questions."""
    for name, part in (("training", train), ("validation", validation)):
        if not part.mask.any():
            raise CourseError(f"The {name} part has no scored position: nothing can be learnt.")
    if train.outcomes != validation.outcomes:
        raise CourseError("The training and validation parts predict different outcomes.")


def forecast(
    model: keras.Model, sequences: Sequences, n_rows: int, *, batch_size: int = 512
) -> np.ndarray:
    """Return what a model forecasts at each row of the log.

    Args:
        model: Puts out logits at every position.
        sequences: Built from the log.
        n_rows: Rows of the log.
        batch_size: Sequences a step.

    Returns:
        Probabilities, shape ``[n_rows, outcomes]``, float64, in the order of
        ``sequences.outcomes``; NaN in rows that no sequence stands for.
    """
    batch_size = min(batch_size, len(sequences))
    with quiet_stderr():
        inputs, _, _ = _fill(sequences, batch_size)
        logits = model.predict(inputs, batch_size=batch_size, verbose=0)[: len(sequences)]
    return sequences.to_rows(probabilities(logits), n_rows)
