"""The loop that all networks of the course are fitted by: best weights, Ctrl-C, checkpoints."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from course_lib.backend import keras, quiet_stderr
from course_lib.sequences import Batches
from course_lib.training.checkpoints import Checkpoint


def set_seed(seed: int) -> None:
    """Seed Python, NumPy and the backend: initial weights, shuffling and dropout follow it."""
    keras.utils.set_random_seed(int(seed))


def set_precision(profile: str) -> str:
    """Let networks built from now on compute in bfloat16 where that pays, and say in what.

    That is in the full profile on a GPU: products take half the memory and a fraction of the
    time, weights and losses stay in 32 bits. Everywhere else it is ``"float32"``.
    """
    gpus = keras.distribution.list_devices("gpu")
    policy = "mixed_bfloat16" if profile == "full" and gpus else "float32"
    keras.config.set_dtype_policy(policy)
    return policy


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
        history: One row an epoch (index ``epoch`` from 1), columns ``training`` (the mean loss a
            scored position, in nats, while the weights still moved) and ``validation``.
        best_epoch: The epoch whose weights the model has now.
        seconds: Wall time, compilation included, that of resumed runs before included.
        ended: ``"patience"``, ``"epochs"`` or ``"interrupted"``.
        score: What the column ``validation`` measures.
    """

    history: pd.DataFrame
    best_epoch: int
    seconds: float
    ended: str
    score: str = "log-loss"

    def __str__(self) -> str:
        best = self.history["validation"].loc[self.best_epoch]
        why = {
            "patience": "stopped early",
            "epochs": "ran all its epochs",
            "interrupted": "was interrupted",
        }[self.ended]
        return (
            f"Training {why} after epoch {len(self.history)} ({self.seconds:.0f} s); kept the "
            f"weights of epoch {self.best_epoch}, validation {self.score} {best:.4f}."
        )


class Line:
    """One line of progress that is rewritten in place, in a notebook or on a terminal."""

    def __init__(self, shown: bool) -> None:
        self._handle = None
        shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
        self._notebook = shown and hasattr(shell, "kernel")
        self._terminal = shown and not self._notebook and sys.stdout.isatty()

    def write(self, text: str, last: bool = False) -> None:
        """Show a text in place of the one before; `last` ends the line."""
        if self._notebook:
            from IPython.display import Pretty, display

            content = Pretty(text)
            if self._handle is None:
                self._handle = display(content, display_id=True)
            else:
                self._handle.update(content)
        elif self._terminal:
            print(f"\r\033[K{text}", end="\n" if last else "", flush=True)


class Feed(keras.utils.PyDataset):
    """The steps of an epoch as NumPy arrays, dealt anew before each one.

    What an epoch looks like depends on its number and the seed alone, so a resumed run sees
    the same steps as one that was never interrupted.

    Args:
        batches: What to take the steps from.
        make: Makes what Keras takes from a step and a generator of random numbers.
        seed: Of the dealing; None: the same order every time.
    """

    def __init__(
        self,
        batches: Batches,
        make: Callable[[tuple[int, np.ndarray], np.random.Generator], tuple],
        seed: int | None = None,
    ):
        super().__init__()
        self._batches, self._make, self._seed = batches, make, seed
        self.deal(0)

    def deal(self, epoch: int) -> None:
        """Deal the steps of an epoch, counted from 0."""
        self._epoch = epoch
        rng = None if self._seed is None else np.random.default_rng((self._seed, self._epoch))
        self.steps = self._batches.steps(rng)

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, number: int) -> tuple:
        rng = np.random.default_rng((self._seed or 0, self._epoch, number, 1))
        return self._make(self.steps[number], rng)


class Watch(keras.callbacks.Callback):
    """Scores each epoch, keeps the best weights, writes the line and the checkpoint.

    Args:
        epochs: How many there may be.
        patience: Stop after so many epochs without a better score.
        validate: Returns the validation score from Keras's logs of the epoch.
        score: What it is called.
        higher_is_better: Whether it is.
        progress: Show the line.
        checkpoint: Where to keep the state after each epoch, if anywhere.
    """

    def __init__(
        self,
        epochs: int,
        patience: int,
        validate: Callable[[dict], float],
        *,
        score: str = "log-loss",
        higher_is_better: bool = False,
        progress: bool = True,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        super().__init__()
        self.epochs, self.patience, self.validate, self.score = epochs, patience, validate, score
        self.sign = -1 if higher_is_better else 1
        self.line = Line(progress)
        self.checkpoint = checkpoint
        self.rows: list[dict[str, float]] = []
        self.best: list[np.ndarray] | None = None
        self.best_epoch, self.seconds, self.ended = 0, 0.0, ""

    def resume(self, model: keras.Model) -> None:
        """Take up the state of the checkpoint, if it holds one."""
        state = self.checkpoint and self.checkpoint.load()
        if not state:
            return
        model.optimizer.build(model.trainable_variables)
        _assign(model.variables, state.arrays["model"])
        _assign(model.optimizer.variables, state.arrays["optimizer"])
        self.best, self.rows = state.arrays["best"], state.rows
        self.best_epoch, self.seconds = state.best_epoch, state.seconds
        self.ended = "patience" if self._waited() >= self.patience else ""
        if len(self.rows) >= self.epochs:
            self.ended = "epochs"

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Say that compiling takes its time."""
        text = f"epoch {len(self.rows) + 1} of {self.epochs} | compiling and running ..."
        self.line.write(text)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Score the epoch, keep its weights if they are the best, say so."""
        score = float(self.validate(logs))
        scores = [row["validation"] for row in self.rows]
        self.rows.append({"training": float(logs["log_loss"]), "validation": score})
        if self.best is None or self.sign * score < min(self.sign * old for old in scores):
            self.best, self.best_epoch = _copies(self.model.variables), len(self.rows)
        if self._waited() >= self.patience:
            self.ended, self.model.stop_training = "patience", True
        self.seconds = time.perf_counter() - self._start
        if self.checkpoint:
            arrays = {
                "model": _copies(self.model.variables),
                "optimizer": _copies(self.model.optimizer.variables),
                "best": self.best,
            }
            self.checkpoint.save(arrays, self.rows, self.best_epoch, self.seconds)
        done = len(self.rows)
        left = self.seconds / done * (self.epochs - done)
        bar = "#" * round(20 * done / self.epochs)
        self.line.write(
            f"epoch {done} of {self.epochs} [{bar:<20}] loss: training "
            f"{logs['log_loss']:.4f}, validation {self.score} {score:.4f} | "
            f"at most {left:.0f} s left"
        )

    def _waited(self) -> int:
        return len(self.rows) - self.best_epoch

    def run(self, model: keras.Model, **data: object) -> Training:
        """Fit a compiled model whose metric ``log_loss`` is its loss a scored position.

        Args:
            model: Its weights are the best epoch's afterwards.
            data: What ``keras.Model.fit`` gets besides.

        Raises:
            KeyboardInterrupt: If interrupted before the first epoch ended.
        """
        callbacks: list[keras.callbacks.Callback] = [self]
        feed = data["x"]
        if isinstance(feed, Feed):
            data["shuffle"] = False  # it is shuffled by its own seed
            deal = keras.callbacks.LambdaCallback(
                on_epoch_begin=lambda epoch, logs: feed.deal(epoch)
            )
            callbacks.insert(0, deal)
        if not self.ended:
            self._start = time.perf_counter() - self.seconds
            try:
                with quiet_stderr():
                    model.fit(
                        **data,
                        epochs=self.epochs,
                        initial_epoch=len(self.rows),
                        callbacks=callbacks,
                        verbose=0,
                    )
                self.ended = self.ended or "epochs"
            except KeyboardInterrupt:
                if self.best is None:
                    raise
                self.ended = "interrupted"
            self.seconds = time.perf_counter() - self._start
        _assign(model.variables, self.best)
        history = pd.DataFrame(self.rows, index=pd.RangeIndex(1, len(self.rows) + 1, name="epoch"))
        result = Training(history, self.best_epoch, self.seconds, self.ended, self.score)
        self.line.write(str(result), last=True)
        return result


def xla_pays(model: keras.Model, steps: int, threshold: int) -> bool:
    """Say whether to compile a step with XLA, for a run of so many of them.

    JAX has nothing but XLA (uncompiled it runs operation by operation), a GPU always gains;
    TensorFlow on a CPU wins the compilation back from `threshold` steps on, unless a layer
    says that it is slower with it.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow" and not keras.distribution.list_devices("gpu"):
        gains = all(getattr(layer, "gains_from_xla", True) for layer in model.layers)
        return gains and steps >= threshold
    return backend in ("tensorflow", "jax")


def adam(learning_rate: float, steps: int | None, rising: int = 0) -> keras.optimizers.Optimizer:
    """Return Adam with gradients cut to norm 1.

    Args:
        learning_rate: At the start, or at its height after `rising` steps.
        steps: Over so many it falls along half a cosine to nearly 0 (Loshchilov and Hutter,
            "SGDR", 2017), those in which it rises included; None: it stays.
        rising: Over so many steps it rises from 0 first.
    """
    rate = learning_rate
    if steps is not None and rising:
        rate = keras.optimizers.schedules.CosineDecay(
            0.0, max(1, steps - rising), 0.02, warmup_target=learning_rate, warmup_steps=rising
        )
    elif steps is not None:
        rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps, alpha=0.02)
    return keras.optimizers.Adam(rate, clipnorm=1.0)


def _copies(variables: list) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def _assign(variables: list, values: list[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
