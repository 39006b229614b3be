"""The ladder: one table and one picture of every model on the same test rows.

A model's score means something only beside others on the same rows: the baselines' line says
what counting reaches, and on a simulated log the best-possible line says what nobody can
pass. The ladder fixes log, task, split, rows and labels once; a forecast joins by being scored
on exactly those rows, or is refused. Lesson 04 builds it; every later lesson adds a rung.

Two tasks are scored by probabilities; `next_item` by the rank of the true item in the whole
catalogue, because nobody looks at fifty thousand probabilities, only at the first few items.
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
from course_lib.events import keep_together
from course_lib.metrics import METRICS, Interval, Metric, RankingMetric
from course_lib.plots import interval_plot
from course_lib.sessions import examples, next_event, next_item
from course_lib.splits import Split

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("baseline", "model", "best")
TASK_METRICS: dict[str, tuple[str, ...]] = {
    "next_event": ("log_loss", "accuracy", "macro_f1"),
    "purchase_intent": ("log_loss", "brier", "roc_auc", "average_precision"),
    "next_item": ("hit_rate", "ndcg", "mrr"),
}
"""The metrics of each task; the first is the one that orders the ladder and is drawn. Those of
`next_item` get the ladder's k, as in ``hit_rate@20``."""
GROUPS = {"visit": "visit_id", "session": "session_id", "user": "user_id"}
"""What the bootstrap may draw, and the column of the log that tells one from another."""
_QUESTION = {
    "next_event": "what happens next in the session",
    "purchase_intent": "whether the session will still buy",
    "next_item": "which item comes next in the session",
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
        groups: What was resampled, ``visit``, ``session`` or ``user``.
        scores: Metric to score with interval; each has the rows and groups scored.
        answers: What the model said in each scored row: probabilities, float64 [scored rows,
            outcomes]; for `next_item` the rank of the true item, float64 [scored rows].
        values: What the leading metric gives each scored row, float64 [scored rows]: its
            log-loss (lower is better), or for `next_item` whether it was a hit (higher is).
        seconds: To fit the model, or None.
        parameters: Numbers that were fitted, or None.
    """

    name: str
    kind: str
    task: str
    dataset: str
    split: str
    fingerprint: str
    groups: str
    scores: dict[str, Interval]
    answers: np.ndarray = field(repr=False)
    values: np.ndarray = field(repr=False)
    seconds: float | None = None
    parameters: int | None = None

    @property
    def rows(self) -> int:
        """How many rows were scored."""
        return next(iter(self.scores.values())).n


class Ladder:
    """Scores forecasts of one task on one part of one log, all on the same rows.

    Args:
        task: ``next_event`` (every row is scored), ``purchase_intent`` (one row a session, the
            one at which `prefix` events are visible and nothing is decided) or ``next_item``
            (every row that an item follows).
        log: The clean log, with sessions.
        split: Which sessions are for training and which for testing.
        part: The part that is scored.
        prefix: For purchase intent, how many events are visible; without it, every row
            before the decision is asked.
        rows: A further mask, bool [len(log)]: only these rows are scored, for all models.
        k: For next item, how many places of a recommendation count.
        groups: What the bootstrap draws: ``session``, or ``user``, where one person's
            sessions resemble one another. By default the session, and in a log whose sessions
            are copies of one another (column ``visit_id``) the ``visit``: copies are no further
            evidence, and intervals that take them for it are too narrow.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        CourseError: If the task, or what is to be drawn, is unknown; if the log cannot serve
            it, or no row is left.
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
        k: int = 20,
        groups: str | None = None,
        resamples: int = 1000,
        seed: int = 0,
    ):
        if task not in TASK_METRICS:
            raise unknown_name("task of a ladder", task, TASK_METRICS)
        if groups is None:
            column = keep_together(log, GROUPS["session"])
            groups = next(name for name in GROUPS if GROUPS[name] == column)
        if groups not in GROUPS:
            raise unknown_name("group to resample", groups, GROUPS)
        if GROUPS[groups] not in log:
            raise CourseError(
                f"Log {log.attrs.get('dataset', 'this log')!r} has no column {GROUPS[groups]!r} to "
                "resample by; draw sessions or users."
            )
        self.task, self.part, self.prefix, self.grouped_by = task, part, prefix, groups
        self.metrics = TASK_METRICS[task]
        if task == "next_item":
            self.metrics = tuple(f"{name}@{_metric(name, k).k}" for name in self.metrics)
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
        self.groups = log[GROUPS[groups]].to_numpy()[self.scored]
        self._options = {"resamples": resamples, "seed": seed}
        self.fingerprint = _fingerprint(self.labels, self.scored)
        self.rungs: dict[str, Rung] = {}

    @property
    def dataset(self) -> str:
        """Name of the log."""
        return self.log.attrs.get("dataset", "this log")

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
            forecast: One row for each row of the log (only the ladder's rows are looked at).
                Next event: one probability for each outcome. Purchase intent: the same, or the
                probability of a purchase, [len(log)]. Next item: the rank of the true item in
                the whole catalogue, [len(log)], 1 for the best, as an item ranker's ``rank`` or
                `course_lib.metrics.rank_of_target` counts it. A Series or DataFrame must have
                the log's index.
            kind: ``baseline``, ``model`` or ``best``.
            seconds: To fit it.
            parameters: How many numbers were fitted.

        Raises:
            CourseError: If the forecast is not aligned with the log, lacks rows that the
                ladder scores, is no probability distribution, or no rank in the catalogue.
        """
        if kind not in KINDS:
            raise unknown_name("kind of model", kind, KINDS)
        chosen = self._select(name, forecast)
        try:
            answers = self._answers(chosen)
            scores = self._scores(answers, self.metrics)
        except CourseError as error:
            raise CourseError(f"{name!r} cannot join the ladder. {error}") from error
        rung = Rung(
            name=name,
            kind=kind,
            task=self.task,
            dataset=self.dataset,
            split=self.split.fingerprint,
            fingerprint=self.fingerprint,
            groups=self.grouped_by,
            scores=scores,
            answers=answers,
            values=self._values(answers, self.metrics[0]),
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

    def _answers(self, chosen: object) -> np.ndarray:
        """Check the scored rows' forecast, and bring its columns into the labels' order."""
        if self.task != "next_item":
            return metrics.align(chosen, self.labels[self.scored])[0]
        ranks = np.asarray(chosen, dtype=np.float64)
        if ranks.ndim != 1:
            raise CourseError(
                f"It gives a table of shape {ranks.shape}, but next_item is scored by one rank a "
                "row: turn scores into ranks with course_lib.metrics.rank_of_target."
            )
        items = len(self.labels.cat.categories)
        wrong = (ranks < 1) | (ranks > items)
        if wrong.any():
            row = int(np.flatnonzero(self.scored)[np.argmax(wrong)])
            raise CourseError(
                f"Its rank in row {row} is {ranks[np.argmax(wrong)]:g}, but ranks go from 1, the "
                f"best, to the {items} items of the catalogue; probabilities are no ranks."
            )
        return ranks

    def _scores(
        self, answers: np.ndarray, names: tuple[str, ...], keep: np.ndarray | slice = slice(None)
    ) -> dict[str, Interval]:
        """Score what was answered in the scored rows, or in those of a mask over them."""
        groups = self.groups[keep]
        if self.task == "next_item":
            return metrics.ranking_scorecard(answers[keep], groups, names, **self._options)
        labels = self.labels[self.scored][keep]
        return metrics.scorecard(answers[keep], labels, groups, names, **self._options)

    def _values(self, answers: np.ndarray, metric: str) -> np.ndarray:
        """What the leading metric, or any metric of ranks, gives each row."""
        if self.task == "next_item":
            return metrics.per_row_ranking(answers, metric)
        return metrics.per_row_log_loss(answers, self.labels[self.scored])

    def join(self, rung: Rung) -> None:
        """Take over a rung that was scored elsewhere, on the same rows and labels.

        Raises:
            CourseError: If task, log, split, rows, labels, metrics or what is resampled are not
                this ladder's.
        """
        mine = {
            "task": self.task,
            "dataset": self.dataset,
            "split": self.split.fingerprint,
            "fingerprint": self.fingerprint,
            "groups": self.grouped_by,
        }
        for what, value in mine.items():
            theirs = getattr(rung, what)
            if theirs != value:
                what = "rows and labels" if what == "fingerprint" else what
                raise CourseError(
                    f"{rung.name!r} cannot join the ladder: it was scored on other {what} "
                    f"({theirs}, not {value})."
                )
        if tuple(rung.scores) != self.metrics:
            raise CourseError(
                f"{rung.name!r} cannot join the ladder: it was scored by other metrics "
                f"({', '.join(rung.scores)}, not {', '.join(self.metrics)})."
            )
        self.rungs[rung.name] = rung

    def add_baselines(self) -> None:
        """Fit the task's baselines on the training part, time them, and add them.

        Counting baselines for next event and purchase intent, item rankers for next item.
        """
        train = self.split.rows(self.log, "train")
        for name, model in _baselines(self.task).items():
            start = perf_counter()
            if self.task == "next_item":
                model.fit(self.log, rows=train)
            else:
                model.fit(self.log, self.labels, rows=train)
            seconds = perf_counter() - start
            if self.task == "next_item":
                forecast = model.rank(self.log, self.labels, rows=self.scored)
            else:
                forecast = model.predict_proba(self.log)
            self.add(name, forecast, kind="baseline", seconds=seconds, parameters=model.parameters_)

    def add_best(self, oracle: pd.DataFrame, name: str = "best possible") -> Rung:
        """Add the best possible forecast of a simulated log.

        Args:
            oracle: As `course_lib.datasets.shopworld.oracle` gives it: outcomes as columns and
                ``purchase_later``. It knows events, not items, so a ladder of `next_item`
                has no such line.
            name: What to call it.

        Raises:
            CourseError: As `add`; for `next_item`.
        """
        if self.task == "next_item":
            raise CourseError(
                "Nobody knows the best possible ranking of items, in a simulated log neither: "
                "this ladder has baselines and models alone."
            )
        forecast = oracle["purchase_later"] if self.task == "purchase_intent" else oracle
        return self.add(name, forecast, kind="best")

    @property
    def best_baseline(self) -> Rung | None:
        """The best baseline by the leading metric: the line to pass."""
        return self._leading("baseline")

    @property
    def best_possible(self) -> Rung | None:
        """The best possible forecast, where the log has one."""
        return self._leading("best")

    def _leading(self, kind: str, metric: str | None = None) -> Rung | None:
        rungs = self._by(metric or self.metrics[0])
        return next((rung for rung in rungs if rung.kind == kind), None)

    def gap_closed(
        self, name: str, rows: np.ndarray | None = None, baseline: str | None = None
    ) -> Interval:
        """Share of the way from a baseline to the best possible that a model has gone.

        Args:
            name: The model.
            rows: Mask over the log, bool [len(log)]: only these of the ladder's rows count.
            baseline: Where the way begins; by default at the best baseline of the ladder, by
                the leading metric on all rows.

        Raises:
            CourseError: If the model, a baseline or the best possible is not on the ladder, no
                row is left, or the baseline leaves no gap.
        """
        start = self.best_baseline if baseline is None else self[baseline]
        best = self.best_possible
        if start is None or best is None:
            raise CourseError(
                "The share of the gap needs a baseline and the best possible forecast on the "
                "ladder; only a simulated log knows the latter."
            )
        keep = self._within(rows)
        sign = 1 if _metric(self.metrics[0]).lower_is_better else -1
        losses = [sign * rung.values[keep] for rung in (start, self[name], best)]
        return metrics.gap_closed(*losses, self.groups[keep], **self._options)

    def difference(
        self,
        first: str,
        second: str,
        rows: np.ndarray | None = None,
        metric: str | None = None,
    ) -> Interval:
        """Score of one model less another's, paired by row and resampled together.

        An interval that does not hold 0 settles which one is better: below 0 the first, for a
        metric that is better lower (log-loss, Brier); above 0 the first, for all others.

        Args:
            first: A model.
            second: Another one.
            rows: Mask over the log, bool [len(log)]: only these of the ladder's rows count.
            metric: One of the ladder's; by default the leading one.

        Raises:
            CourseError: If a model is not on the ladder, no row is left, or the metric is none
                of the ladder's.
        """
        one, other, keep = self[first], self[second], self._within(rows)
        metric, groups = self._known(metric), self.groups[keep]
        if self.task == "next_item":
            values = [self._values(rung.answers[keep], metric) for rung in (one, other)]
            return metrics.paired_difference(*values, groups, **self._options)
        if metric == self.metrics[0]:
            values = one.values[keep], other.values[keep]
            return metrics.paired_difference(*values, groups, **self._options)
        answers, labels = (one.answers[keep], other.answers[keep]), self.labels[self.scored][keep]
        return metrics.paired_score_difference(*answers, labels, groups, metric, **self._options)

    def score(
        self, name: str, rows: np.ndarray | None = None, metric: str | None = None
    ) -> Interval:
        """Score of a model, on all of the ladder's rows or on those of a mask [len(log)].

        Args:
            name: The model.
            rows: Mask over the log, bool [len(log)].
            metric: One of the ladder's; by default the leading one.

        Raises:
            CourseError: As `difference`.
        """
        answers, keep, metric = self[name].answers, self._within(rows), self._known(metric)
        return self._scores(answers, (metric,), keep)[metric]

    def log_loss(self, name: str, rows: np.ndarray | None = None) -> Interval:
        """Log-loss of a model: `score` by that metric."""
        return self.score(name, rows, "log_loss")

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

        Columns: model, kind, task, dataset, split, rows, sessions (or visits, or users: what was
        resampled); for each metric its value, ``_low`` and ``_high``; seconds, parameters.
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
                self._unit: rung.scores[self.metrics[0]].groups,
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
                _metric(metric).title: format(score, f".{digits}f")
                for metric, score in rung.scores.items()
            }
            row["parameters"] = "" if rung.parameters is None else f"{rung.parameters:,}"
            if seconds:
                row["fit seconds"] = "" if rung.seconds is None else f"{rung.seconds:.1f}"
            shown[rung.name] = row
        table = pd.DataFrame.from_dict(shown, orient="index")
        table.columns.name = f"{self.rows:,} rows, {self._drawn:,} {self._unit}"
        return table

    @property
    def rows(self) -> int:
        """How many rows are scored."""
        return int(self.scored.sum())

    @property
    def sessions(self) -> int:
        """How many sessions they are from."""
        return int(self.log["session_id"][self.scored].nunique())

    @property
    def _drawn(self) -> int:
        """How many groups the bootstrap draws from."""
        return len(pd.unique(self.groups))

    @property
    def _unit(self) -> str:
        return f"{self.grouped_by}s"

    def plot(self, metric: str | None = None) -> Figure:
        """Draw the ladder by one metric (the leading one by default), best on top.

        With the line of the best baseline and, where there is one, of the best possible.
        """
        metric = self._known(metric)
        rungs = self._by(metric)
        better = "lower" if _metric(metric).lower_is_better else "higher"
        return interval_plot(
            {rung.name: rung.scores[metric] for rung in rungs},
            xlabel=f"{_metric(metric).title} on {self.rows:,} rows ({better} is better)",
            kinds=[rung.kind for rung in rungs],
            lines=self._lines(metric),
        )

    def words(self, metric: str | None = None) -> str:
        """Say in words what `plot` draws: its alt text."""
        metric = self._known(metric)
        rungs = self._by(metric)
        scores = "; ".join(f"{rung.name} {rung.scores[metric]}" for rung in rungs)
        better = "lower" if _metric(metric).lower_is_better else "higher"
        return (
            f"Dots with bars: {_metric(metric).title} of {len(rungs)} forecasts of "
            f"{_QUESTION[self.task]}, {better} is better, with 95 % intervals over "
            f"{self._drawn:,} {self.part} {self._unit} of {self.dataset}, best first: {scores}."
        )

    def _known(self, metric: str | None) -> str:
        metric = metric or self.metrics[0]
        if metric not in self.metrics:
            raise unknown_name("metric of this ladder", metric, self.metrics)
        if not self.rungs:
            raise CourseError("The ladder is empty: add a forecast first.")
        return metric

    def _by(self, metric: str) -> list[Rung]:
        sign = 1 if _metric(metric).lower_is_better else -1
        return sorted(self.rungs.values(), key=lambda rung: sign * rung.scores[metric].value)

    def _lines(self, metric: str) -> dict[str, float]:
        kinds = {"best baseline": "baseline", "best possible": "best"}
        marks = {label: self._leading(kind, metric) for label, kind in kinds.items()}
        return {label: rung.scores[metric].value for label, rung in marks.items() if rung}


def _metric(name: str, k: int | None = None) -> Metric | RankingMetric:
    """How a metric of any task is named and read."""
    return METRICS[name] if name in METRICS else metrics.ranking_metric(name, k)


def _baselines(task: str) -> dict[str, object]:
    """The baselines of a task by name; item rankers are imported only where they are asked for."""
    if task != "next_item":
        return standard_baselines(task)
    from course_lib.baselines.ranking import item_baselines

    return item_baselines()


def _labels(log: pd.DataFrame, task: str, prefix: int | None) -> pd.Series:
    """The label of each row of the log, missing where the task does not ask; [len(log)]."""
    if task == "next_event":
        return next_event(log)
    if task == "next_item":
        return next_item(log)
    asked = examples(log, task, prefix=prefix)
    labels = pd.Series(pd.NA, index=log.index, dtype="boolean", name="purchase_later")
    labels.iloc[asked["row"].to_numpy()] = asked["label"].array
    return labels


def _fingerprint(labels: pd.Series, scored: np.ndarray) -> str:
    """Twelve hex digits of which rows are scored and what happened there."""
    digest = hashlib.sha256(np.packbits(scored).tobytes())
    digest.update("\n".join(labels[scored].astype(str)).encode())
    return digest.hexdigest()[:12]
