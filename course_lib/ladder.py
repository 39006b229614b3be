"""The ladder: one table and one picture of every model on the same test rows.

A model's score means something only beside others on the same rows: the baselines' line says
what counting reaches, and on a simulated log the best-possible line says what nobody can
pass. The ladder fixes log, task, split, rows and labels once; a forecast joins by being scored
on exactly those rows, or is refused. Lesson 04 builds it; every later lesson adds a rung.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from course_lib import metrics
from course_lib.baselines import standard_baselines
from course_lib.errors import CourseError, unknown_name
from course_lib.metrics import METRICS, Interval
from course_lib.plots import interval_plot
from course_lib.sessions import examples, next_event
from course_lib.splits import Split

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("baseline", "model", "best")
TASK_METRICS: dict[str, tuple[str, ...]] = {
    "next_event": ("log_loss", "accuracy", "macro_f1"),
    "purchase_intent": ("log_loss", "brier", "roc_auc", "average_precision"),
}
"""The metrics of each task; the first is the one that orders the ladder and is drawn."""
_QUESTION = {
    "next_event": "what happens next in the session",
    "purchase_intent": "whether the session will still buy",
}


@dataclass(frozen=True)
class Rung:
    """One model on a ladder: what it is, what it was scored on, how it scored.

    Attributes:
        name: The model's name.
        kind: ``baseline``, ``model`` or ``best`` (the best possible forecast).
        task: The task of the ladder.
        dataset: The log's name.
        split: The split's fingerprint.
        fingerprint: Of the scored rows and their labels; rungs are comparable if it is equal.
        scores: Metric to score with interval; each has the rows and sessions scored.
        losses: Log-loss of each scored row, float64 [scored rows].
        seconds: To fit the model, or None.
        parameters: Numbers that were fitted, or None.
    """

    name: str
    kind: str
    task: str
    dataset: str
    split: str
    fingerprint: str
    scores: dict[str, Interval]
    losses: np.ndarray = field(repr=False)
    seconds: float | None = None
    parameters: int | None = None

    @property
    def rows(self) -> int:
        """How many rows were scored."""
        return next(iter(self.scores.values())).n

    @property
    def sessions(self) -> int:
        """How many sessions they are from."""
        return next(iter(self.scores.values())).groups


class Ladder:
    """Scores forecasts of one task on one part of one log, all on the same rows.

    Args:
        task: ``next_event`` (every row is scored) or ``purchase_intent`` (one row a session,
            the one at which `prefix` events are visible and nothing is decided).
        log: The clean log, with sessions.
        split: Which sessions are for training and which for testing.
        part: The part that is scored.
        prefix: For purchase intent, how many events are visible; without it, every row
            before the decision is asked.
        rows: A further mask, bool [len(log)]: only these rows are scored, for all models.
        resamples: Of the bootstrap by session.
        seed: Of the bootstrap.

    Raises:
        CourseError: If the task is unknown or the log cannot serve it, or no row is left.
    """

    def __init__(
        self,
        task: str,
        log: pd.DataFrame,
        split: Split,
        *,
        part: str = "test",
        prefix: int | None = None,
        rows: np.ndarray | None = None,
        resamples: int = 1000,
        seed: int = 0,
    ):
        if task not in TASK_METRICS:
            raise unknown_name("task of a ladder", task, TASK_METRICS)
        self.task, self.part, self.prefix = task, part, prefix
        self.log, self.split = log, split
        self.labels = _labels(log, task, prefix)
        self.scored = split.rows(log, part) & self.labels.notna().to_numpy()
        if rows is not None:
            mask = np.asarray(rows)
            if mask.dtype != bool or mask.shape != (len(log),):
                raise CourseError(
                    f"rows must be a boolean mask over the {len(log)} rows of the log, not "
                    f"{mask.dtype} of shape {mask.shape}."
                )
            self.scored &= mask
        if not self.scored.any():
            raise CourseError(f"No row of the {part} part is left to score for {task}.")
        self.groups = log["session_id"].to_numpy()[self.scored]
        self._options = {"resamples": resamples, "seed": seed}
        self.fingerprint = _fingerprint(self.labels, self.scored)
        self.rungs: dict[str, Rung] = {}

    @property
    def dataset(self) -> str:
        """Name of the log."""
        return self.log.attrs.get("dataset", "this log")

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics, the leading one first."""
        return TASK_METRICS[self.task]

    def add(
        self,
        name: str,
        forecast: pd.DataFrame | pd.Series | np.ndarray,
        *,
        kind: str = "model",
        seconds: float | None = None,
        parameters: int | None = None,
    ) -> Rung:
        """Score a forecast and let it join; a name that is there already is replaced.

        Args:
            name: The model's name.
            forecast: One row for each row of the log (only the ladder's rows are looked at),
                one probability for each outcome; or, for purchase intent, the probability
                of a purchase, [len(log)]. A Series or DataFrame must have the log's index.
            kind: ``baseline``, ``model`` or ``best``.
            seconds: To fit it.
            parameters: How many numbers were fitted.

        Raises:
            CourseError: If the forecast is not aligned with the log, lacks rows that the
                ladder scores, or is no probability distribution.
        """
        if kind not in KINDS:
            raise unknown_name("kind of model", kind, KINDS)
        chosen = self._select(name, forecast)
        labels = self.labels[self.scored]
        try:
            scores = metrics.scorecard(chosen, labels, self.groups, self.metrics, **self._options)
        except CourseError as error:
            raise CourseError(f"{name!r} cannot join the ladder. {error}") from error
        rung = Rung(
            name=name,
            kind=kind,
            task=self.task,
            dataset=self.dataset,
            split=self.split.fingerprint,
            fingerprint=self.fingerprint,
            scores=scores,
            losses=metrics.per_row_log_loss(chosen, labels),
            seconds=seconds,
            parameters=parameters,
        )
        self.rungs[name] = rung
        return rung

    def _select(self, name: str, forecast: object) -> object:
        """The forecast of the scored rows, refused unless it is about this log's rows."""
        rows = len(self.log)
        indexed = isinstance(forecast, pd.DataFrame | pd.Series)
        forecast = forecast if indexed else np.asarray(forecast)
        if np.ndim(forecast) == 0 or len(forecast) != rows:
            raise CourseError(
                f"{name!r} was forecast for other rows than this ladder's: it has shape "
                f"{np.shape(forecast)}, but the log has {rows} rows; forecast every row of the log."
            )
        if indexed and not forecast.index.equals(self.log.index):
            raise CourseError(
                f"{name!r} was forecast for other rows than this ladder's: its index is not the "
                "log's."
            )
        chosen = forecast[self.scored]
        numbers = chosen.to_numpy() if indexed else chosen
        missing = np.isnan(numbers.astype(np.float64)).reshape(len(numbers), -1).any(axis=1)
        if missing.any():
            row = int(np.flatnonzero(self.scored)[np.argmax(missing)])
            raise CourseError(
                f"{name!r} was scored on other rows than this ladder's: it has no forecast for "
                f"{int(missing.sum())} of the {len(missing)} rows, first for row {row}."
            )
        return chosen

    def join(self, rung: Rung) -> None:
        """Take over a rung that was scored elsewhere, on the same rows and labels.

        Raises:
            CourseError: If task, log, split, rows or labels are not this ladder's.
        """
        mine = {
            "task": self.task,
            "dataset": self.dataset,
            "split": self.split.fingerprint,
            "fingerprint": self.fingerprint,
        }
        for what, value in mine.items():
            theirs = getattr(rung, what)
            if theirs != value:
                what = "rows and labels" if what == "fingerprint" else what
                raise CourseError(
                    f"{rung.name!r} cannot join the ladder: it was scored on other {what} "
                    f"({theirs}, not {value})."
                )
        self.rungs[rung.name] = rung

    def add_baselines(self) -> None:
        """Fit the task's counting baselines on the training part, time them, and add them."""
        train = self.split.rows(self.log, "train")
        for name, model in standard_baselines(self.task).items():
            start = perf_counter()
            model.fit(self.log, self.labels, rows=train)
            seconds = perf_counter() - start
            forecast = model.predict_proba(self.log)
            self.add(name, forecast, kind="baseline", seconds=seconds, parameters=model.parameters_)

    def add_best(self, oracle: pd.DataFrame, name: str = "best possible") -> Rung:
        """Add the best possible forecast of a simulated log.

        Args:
            oracle: As `course_lib.datasets.shopworld.oracle` gives it: outcomes as columns and
                ``purchase_later``.
            name: What to call it.
        """
        forecast = oracle["purchase_later"] if self.task == "purchase_intent" else oracle
        return self.add(name, forecast, kind="best")

    @property
    def best_baseline(self) -> Rung | None:
        """The baseline with the lowest log-loss: the line to pass."""
        return self._lowest("baseline")

    @property
    def best_possible(self) -> Rung | None:
        """The best possible forecast, where the log has one."""
        return self._lowest("best")

    def _lowest(self, kind: str) -> Rung | None:
        rungs = [rung for rung in self.rungs.values() if rung.kind == kind]
        return min(rungs, key=lambda rung: rung.scores["log_loss"].value, default=None)

    def gap_closed(self, name: str, rows: np.ndarray | None = None) -> Interval:
        """Share of the way from the best baseline to the best possible that a model has gone.

        Args:
            name: The model.
            rows: Mask over the log, bool [len(log)]: only these of the ladder's rows count.

        Raises:
            CourseError: If the model, a baseline or the best possible is not on the ladder,
                or no row is left.
        """
        baseline, best = self.best_baseline, self.best_possible
        if baseline is None or best is None:
            raise CourseError(
                "The share of the gap needs a baseline and the best possible forecast on the "
                "ladder; only a simulated log knows the latter."
            )
        keep = self._within(rows)
        losses = [rung.losses[keep] for rung in (baseline, self[name], best)]
        return metrics.gap_closed(*losses, self.groups[keep], **self._options)

    def difference(self, first: str, second: str, rows: np.ndarray | None = None) -> Interval:
        """Log-loss of one model less another's, paired by row, resampled by session.

        Below 0 the first is better; an interval that does not hold 0 settles it.
        """
        keep = self._within(rows)
        return metrics.paired_difference(
            self[first].losses[keep], self[second].losses[keep], self.groups[keep], **self._options
        )

    def log_loss(self, name: str, rows: np.ndarray | None = None) -> Interval:
        """Log-loss of a model, on all of the ladder's rows or on those of a mask [len(log)]."""
        keep = self._within(rows)
        return metrics.interval(self[name].losses[keep], self.groups[keep], **self._options)

    def _within(self, rows: np.ndarray | None) -> np.ndarray:
        """A mask over the log as one over the scored rows."""
        if rows is None:
            return np.ones(len(self.groups), bool)
        rows = np.asarray(rows)
        if rows.dtype != bool or rows.shape != self.scored.shape:
            raise CourseError(
                f"rows must be a boolean mask over the {len(self.scored)} rows of the log."
            )
        keep = rows[self.scored]
        if not keep.any():
            raise CourseError("None of the ladder's rows is among the rows asked for.")
        return keep

    def __getitem__(self, name: str) -> Rung:
        """Return the rung of that name; `CourseError` with the nearest one if it is not there."""
        if name not in self.rungs:
            raise unknown_name("model on the ladder", name, self.rungs)
        return self.rungs[name]

    def __len__(self) -> int:
        return len(self.rungs)

    def frame(self) -> pd.DataFrame:
        """Return everything as numbers, one row a model: the ladder for programs and reports.

        Columns: model, kind, task, dataset, split, rows, sessions; for each metric its value,
        ``_low`` and ``_high``; seconds, parameters.
        """
        records = []
        for rung in self._by(self.metrics[0]):
            record = {
                "model": rung.name,
                "kind": rung.kind,
                "task": rung.task,
                "dataset": rung.dataset,
                "split": rung.split,
                "rows": rung.rows,
                "sessions": rung.sessions,
            }
            for metric, score in rung.scores.items():
                record |= {
                    metric: score.value,
                    f"{metric}_low": score.low,
                    f"{metric}_high": score.high,
                }
            records.append(record | {"seconds": rung.seconds, "parameters": rung.parameters})
        return pd.DataFrame(records)

    def table(self, digits: int = 3, seconds: bool = False) -> pd.DataFrame:
        """Return the ladder as a person reads it, best first: each score with its interval.

        Rounded, and by default without the fit seconds, so that the same run shows the same
        text on another machine, as far as the forecasts themselves are the same.

        Args:
            digits: Of each score.
            seconds: Whether to show how long each model took to fit.
        """
        shown = {}
        for rung in self._by(self.metrics[0]):
            row = {
                METRICS[metric].title: format(score, f".{digits}f")
                for metric, score in rung.scores.items()
            }
            row["parameters"] = "" if rung.parameters is None else f"{rung.parameters:,}"
            if seconds:
                row["fit seconds"] = "" if rung.seconds is None else f"{rung.seconds:.1f}"
            shown[rung.name] = row
        table = pd.DataFrame.from_dict(shown, orient="index")
        table.columns.name = f"{self.rows:,} rows, {self.sessions:,} sessions"
        return table

    @property
    def rows(self) -> int:
        """How many rows are scored."""
        return int(self.scored.sum())

    @property
    def sessions(self) -> int:
        """How many sessions they are from."""
        return len(np.unique(self.groups))

    def plot(self, metric: str | None = None) -> Figure:
        """Draw the ladder by one metric (the leading one by default), best on top.

        With the line of the best baseline and, where there is one, of the best possible.
        """
        metric = self._known(metric)
        rungs = self._by(metric)
        better = "lower" if METRICS[metric].lower_is_better else "higher"
        return interval_plot(
            {rung.name: rung.scores[metric] for rung in rungs},
            xlabel=f"{METRICS[metric].title} on {self.rows:,} rows ({better} is better)",
            kinds=[rung.kind for rung in rungs],
            lines=self._lines(metric),
        )

    def words(self, metric: str | None = None) -> str:
        """Say in words what `plot` draws: its alt text."""
        metric = self._known(metric)
        rungs = self._by(metric)
        scores = "; ".join(f"{rung.name} {rung.scores[metric]}" for rung in rungs)
        better = "lower" if METRICS[metric].lower_is_better else "higher"
        return (
            f"Dots with bars: {METRICS[metric].title} of {len(rungs)} forecasts of "
            f"{_QUESTION[self.task]}, {better} is better, with 95 % intervals over "
            f"{self.sessions:,} {self.part} sessions of {self.dataset}, best first: {scores}."
        )

    def _known(self, metric: str | None) -> str:
        metric = metric or self.metrics[0]
        if metric not in self.metrics:
            raise unknown_name("metric of this ladder", metric, self.metrics)
        if not self.rungs:
            raise CourseError("The ladder is empty: add a forecast first.")
        return metric

    def _by(self, metric: str) -> list[Rung]:
        sign = 1 if METRICS[metric].lower_is_better else -1
        return sorted(self.rungs.values(), key=lambda rung: sign * rung.scores[metric].value)

    def _lines(self, metric: str) -> dict[str, float]:
        marks = {"best baseline": self.best_baseline, "best possible": self.best_possible}
        return {label: rung.scores[metric].value for label, rung in marks.items() if rung}


def _labels(log: pd.DataFrame, task: str, prefix: int | None) -> pd.Series:
    """The label of each row of the log, missing where the task does not ask; [len(log)]."""
    if task == "next_event":
        return next_event(log)
    asked = examples(log, task, prefix=prefix)
    labels = pd.Series(pd.NA, index=log.index, dtype="boolean", name="purchase_later")
    labels.iloc[asked["row"].to_numpy()] = asked["label"].array
    return labels


def _fingerprint(labels: pd.Series, scored: np.ndarray) -> str:
    """Twelve hex digits of which rows are scored and what happened there."""
    digest = hashlib.sha256(np.packbits(scored).tobytes())
    digest.update("\n".join(labels[scored].astype(str)).encode())
    return digest.hexdigest()[:12]
