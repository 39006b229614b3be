"""Fit a sequence model properly (lesson 05): seeds, masks, early stopping, one quiet line.

The models of this course put out one number an outcome at every position (logits, before the
softmax). Padding and unlabelled positions carry weight 0: the loss of a batch is the mean
over its *scored* positions, and the log-loss that early stopping watches is the mean over all
scored positions of the validation part, whatever the batches are.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd

from course_lib.backend import keras, quiet_stderr
from course_lib.errors import CourseError
from course_lib.sequences import PADDING, Sequences

# XLA takes some seconds to compile a recurrent step and saves milliseconds at each one.
XLA_PAYS_FROM_STEPS = 500


def set_seed(seed: int) -> None:
    """Seed Python, NumPy and the backend: initial weights, shuffling and dropout follow it."""
    keras.utils.set_random_seed(int(seed))


def device() -> str:
    """Name what trains the networks: ``"2 CPU cores"`` or the number of GPUs."""
    gpus = len(keras.distribution.list_devices("gpu"))
    if gpus:
        return f"{gpus} GPU{'s' if gpus > 1 else ''}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} CPU core{'s' if cores != 1 else ''}"


@dataclass(frozen=True)
class Training:
    """What happened while a model was fitted.

    Attributes:
        history: Log-loss a scored position, in nats: one row an epoch (index ``epoch`` from 1),
            columns ``training`` (mean while the weights still moved) and ``validation``.
        best_epoch: The epoch whose weights the model has now.
        seconds: Wall time, compilation included.
        ended: ``"patience"``, ``"epochs"`` or ``"interrupted"``.
    """

    history: pd.DataFrame
    best_epoch: int
    seconds: float
    ended: str

    def __str__(self) -> str:
        best = self.history["validation"].loc[self.best_epoch]
        why = {
            "patience": "stopped early",
            "epochs": "ran all its epochs",
            "interrupted": "was interrupted",
        }[self.ended]
        return (
            f"Training {why} after epoch {len(self.history)} ({self.seconds:.0f} s); kept the "
            f"weights of epoch {self.best_epoch}, validation log-loss {best:.4f}."
        )


class _Line:
    """One line of progress that is rewritten in place, in a notebook or on a terminal."""

    def __init__(self, shown: bool) -> None:
        self._handle = None
        shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
        self._notebook = shown and hasattr(shell, "kernel")
        self._terminal = shown and not self._notebook and sys.stdout.isatty()

    def write(self, text: str, last: bool = False) -> None:
        if self._notebook:
            from IPython.display import Pretty, display

            content = Pretty(text)
            if self._handle is None:
                self._handle = display(content, display_id=True)
            else:
                self._handle.update(content)
        elif self._terminal:
            print(f"\r\033[K{text}", end="\n" if last else "", flush=True)


class _Recorder(keras.callbacks.Callback):
    """Keeps the history and reports each epoch on the line."""

    def __init__(self, epochs: int, line: _Line) -> None:
        super().__init__()
        self.epochs, self.line = epochs, line
        self.rows: list[dict[str, float]] = []

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.start = time.perf_counter()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        if epoch == 0:
            self.line.write(f"epoch 1 of {self.epochs} | compiling and running ...")

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.rows.append({"training": logs["log_loss"], "validation": logs["val_log_loss"]})
        done = epoch + 1
        left = (time.perf_counter() - self.start) / done * (self.epochs - done)
        bar = "#" * round(20 * done / self.epochs)
        self.line.write(
            f"epoch {done} of {self.epochs} [{bar:<20}] log-loss: training "
            f"{logs['log_loss']:.4f}, validation {logs['val_log_loss']:.4f} | "
            f"at most {left:.0f} s left"
        )


def _fill(sequences: Sequences, batch_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return inputs, targets, weights with empty sequences up to whole batches.

    XLA compiles once for each shape: a smaller last batch would cost a second compilation.
    """
    missing = -len(sequences) % batch_size
    fill = ((0, missing), (0, 0))
    return (
        np.pad(sequences.inputs, fill, constant_values=PADDING),
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
    jit_compile: bool | None = None,
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
        jit_compile: Compile the step with XLA; None: where that pays, in runs of some length.
        progress: Show one line that is rewritten after every epoch.

    Returns:
        The history. The model holds the weights of the epoch with the best validation log-loss,
        also when the fit was interrupted (Ctrl-C) after at least one epoch.

    Raises:
        CourseError: If a part has no scored position, or the outcomes differ.
    """
    for name, part in (("training", train), ("validation", validation)):
        if not part.mask.any():
            raise CourseError(f"The {name} part has no scored position: nothing can be learnt.")
    if train.outcomes != validation.outcomes:
        raise CourseError("The training and validation parts predict different outcomes.")
    steps = epochs * -(-len(train) // batch_size)
    if jit_compile is None:
        jit_compile = keras.backend.backend() != "torch" and steps >= XLA_PAYS_FROM_STEPS
    set_seed(seed)
    model.compile(
        keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(learning_rate, steps, alpha=0.02),
            clipnorm=1.0,
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction="mean_with_sample_weight"
        ),
        weighted_metrics=[
            keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="log_loss")
        ],
        jit_compile=jit_compile,
    )
    line = _Line(progress)
    recorder = _Recorder(epochs, line)
    best = keras.callbacks.EarlyStopping(
        monitor="val_log_loss", mode="min", patience=patience, restore_best_weights=True
    )
    start = time.perf_counter()
    ended = "epochs"
    try:
        with quiet_stderr():
            inputs, targets, weights = _fill(train, batch_size)
            model.fit(
                inputs,
                targets,
                sample_weight=weights,
                validation_data=_fill(validation, batch_size),
                validation_batch_size=batch_size,
                batch_size=batch_size,
                epochs=epochs,
                callbacks=[recorder, best],
                verbose=0,
            )
        if best.stopped_epoch:
            ended = "patience"
    except KeyboardInterrupt:
        if best.best_weights is None:
            raise
        model.set_weights(best.best_weights)
        ended = "interrupted"
    history = pd.DataFrame(recorder.rows, index=pd.RangeIndex(1, len(recorder.rows) + 1))
    result = Training(
        history.rename_axis("epoch"), best.best_epoch + 1, time.perf_counter() - start, ended
    )
    line.write(str(result), last=True)
    return result


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
    logits = logits.astype(np.float64)
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return sequences.to_rows(odds / odds.sum(axis=-1, keepdims=True), n_rows)
