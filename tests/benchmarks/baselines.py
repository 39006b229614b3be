"""Every baseline on every task that a log serves: what a network must beat, with intervals.

Each log is split as the lessons split it (by time; by hash where there are no dates), models are
fitted on its training part and scored on its test part by the ladder. Prints Markdown: a table
a task, and one for the value of a basket. Logs that are not here are named and left out.

dmm is special: most of its sessions are copies of others with some page types altered (the
seconds between pages and the answer are the same). The split keeps all copies of a visit in one
part, and intervals are over visits; `copies_apart` measures what a split of sessions would claim.
"""

from __future__ import annotations

import time
import warnings

import numpy as np
import pandas as pd

from course_lib.baselines.classical import SessionClassifier, basket_examples, basket_regression
from course_lib.baselines.shelf import event_baselines, intent_baselines, item_baselines
from course_lib.cleaning import clean
from course_lib.datasets import load, shopworld
from course_lib.errors import CourseError
from course_lib.features import session_features
from course_lib.ladder import Ladder
from course_lib.metrics import interval, paired_difference, scorecard
from course_lib.sessions import assign_sessions, position_in_session, purchase_later
from course_lib.splits import Split, temporal_split

SEED = 1
PREFIXES = {"shopworld": (5, 10), "rees46": (2,), "jd": (20,), "dmm": (5, 10, 15)}
LOGS = ("shopworld", "eshop", "jd", "dmm", "rees46")
BASKETS = {"shopworld": 10, "rees46": 1, "online_retail": 5}  # visible events
SHOWN = {
    "next_event": ("log_loss", "accuracy", "macro_f1"),
    "purchase_intent": ("log_loss", "roc_auc", "average_precision"),
    "next_item": ("hit_rate@20", "ndcg@20", "mrr@20"),
}
TITLES = {
    "next_event": ("next event", "log-loss", "accuracy", "macro F1"),
    "purchase_intent": ("purchase intent", "log-loss", "ROC AUC", "average precision"),
    "next_item": ("next item", "HR@20", "NDCG@20", "MRR@20"),
}


def prepared(name: str) -> tuple[pd.DataFrame, Split]:
    """A clean log with sessions and its split."""
    log = assign_sessions(clean(load(name)).log)
    return log, temporal_split(log, seed=SEED)


def ladder_of(task: str, log: pd.DataFrame, split: Split, prefix: int | None = None) -> Ladder:
    """The ladder of a task with every baseline on it."""
    ladder = Ladder(task, log, split, prefix=prefix)
    train = split.rows(log, "train")
    shelves = {
        "next_event": lambda: event_baselines(SEED),
        "purchase_intent": lambda: intent_baselines(SEED),
        "next_item": item_baselines,
    }
    table = session_features(log) if task == "purchase_intent" else None
    for name, model in shelves[task]().items():
        features = {"table": table} if isinstance(model, SessionClassifier) else {}
        start = time.perf_counter()
        if task == "next_item":
            model.fit(log, rows=train)
        else:
            model.fit(log, ladder.labels, rows=train, **features)
        seconds = time.perf_counter() - start
        if task == "next_item":
            forecast = model.rank(log, ladder.labels, rows=ladder.scored)
        else:
            forecast = model.predict_proba(log, **features)
        if name == "Markov, order chosen":
            name += f" ({model.chain_.order})"
        parameters = getattr(model, "parameters_", None)
        ladder.add(name, forecast, kind="baseline", seconds=seconds, parameters=parameters)
    if log.attrs["dataset"] == "shopworld" and task != "next_item":
        world = shopworld.simulate("quick", SEED).world
        ladder.add_best(shopworld.oracle(log, world, given="events"))
    return ladder


def lines(ladder: Ladder) -> list[str]:
    """The ladder as rows of a Markdown table, best first."""
    where = ladder.dataset + (f", {ladder.prefix} events seen" if ladder.prefix else "")
    where += f" ({ladder.rows:,} rows)"
    made = []
    for place, name in enumerate(ladder.table().index):
        rung = ladder[name]
        scores = " | ".join(format(rung.scores[metric], ".3f") for metric in SHOWN[ladder.task])
        seconds = "" if rung.seconds is None else f"{rung.seconds:.2f}"
        made.append(f"| {where if place == 0 else ''} | {name} | {scores} | {seconds} |")
    return made


def header(task: str) -> list[str]:
    """The head of a task's table."""
    title, *metrics = TITLES[task]
    columns = [f"{title} on", "model", *metrics, "fit, s"]
    return ["", f"| {' | '.join(columns)} |", "| --- " * 2 + "| ---: " * (len(metrics) + 1) + "|"]


def figures_of(ladder: Ladder) -> dict[str, float]:
    """What the best baseline of a ladder reaches, by each metric that is shown."""
    where = f"{ladder.dataset}_{ladder.prefix}" if ladder.prefix else ladder.dataset
    baselines = [rung for rung in ladder.rungs.values() if rung.kind == "baseline"]
    figures = {}
    for metric in SHOWN[ladder.task]:
        values = [rung.scores[metric].value for rung in baselines]
        best = min(values) if metric == "log_loss" else max(values)
        figures[f"{ladder.task}_{where}_{metric.replace('@', '')}"] = best
    return figures


def basket_lines(name: str, log: pd.DataFrame, split: Split) -> tuple[list[str], dict[str, float]]:
    """Mean, median and linear regression of the logarithm of a basket's value, on the test part."""
    prefix = BASKETS[name]
    table, value, rows = basket_examples(log, prefix)
    part = split.part_of_rows(log).astype(str).to_numpy()[rows]
    train, test = part == "train", part == "test"
    goal, session = np.log(value.to_numpy()), log["session_id"].to_numpy()[rows][test]
    told = {
        "mean": np.full(test.sum(), goal[train].mean()),
        "median": np.full(test.sum(), np.median(goal[train])),
        "linear regression": basket_regression()
        .fit(table[train], goal[train])
        .predict(table[test]),
    }
    off = {model: forecast - goal[test] for model, forecast in told.items()}
    made = []
    for place, (model, error) in enumerate(off.items()):
        where = f"{name}, {prefix} events seen ({test.sum():,} baskets)" if place == 0 else ""
        squared, absolute = interval(error**2, session), interval(np.abs(error), session)
        less = paired_difference(error**2, off["mean"] ** 2, session)
        beside = "" if model == "mean" else f"{less:.3f}"
        made.append(f"| {where} | {model} | {squared:.3f} | {absolute:.3f} | {beside} |")
    share = 1 - np.mean(off["linear regression"] ** 2) / np.mean(off["mean"] ** 2)
    return made, {f"basket_{name}_mse_removed": float(share)}


def copies_apart(log: pd.DataFrame, split: Split, prefix: int = 10) -> dict[str, float]:
    """ROC AUC of a random forest on dmm with copies kept in one part, and spread over all."""
    table, labels = session_features(log), purchase_later(log)
    rows = labels.notna().to_numpy() & (position_in_session(log) == prefix - 1)
    spread = temporal_split(log.drop(columns="visit_id"), seed=SEED)
    figures = {"sessions": log["session_id"].nunique(), "visits": log["visit_id"].nunique()}
    for name, parts in (("in_one_part", split), ("spread", spread)):
        train, test = (rows & parts.rows(log, part) for part in ("train", "test"))
        model = SessionClassifier("forest", seed=SEED).fit(log, labels, rows=train, table=table)
        forecast = model.predict_proba(log, rows=test, table=table)[test]
        score = scorecard(forecast, labels[test], log["visit_id"][test], ("roc_auc",))
        figures[f"roc_auc_copies_{name}"] = score["roc_auc"].value
    return {f"dmm_{key}": value for key, value in figures.items()}


def main() -> dict[str, float]:
    """Print the tables and return what the best baseline reaches in each."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    begun = time.perf_counter()
    tables: dict[str, list[str]] = {task: header(task) for task in SHOWN}
    columns = "basket value on | model | MSE of log value | MAE of log value | MSE less the mean's"
    tables["basket"] = ["", f"| {columns} |", "| --- | --- | ---: | ---: | ---: |"]
    figures: dict[str, float] = {}
    for name in dict.fromkeys((*LOGS, *BASKETS)):
        try:
            log, split = prepared(name)
        except CourseError as error:
            print(f"{name} is left out: {error}")
            continue
        for task in [task for task in SHOWN if task in log.attrs["tasks"] and name in LOGS]:
            prefixes = PREFIXES[name] if task == "purchase_intent" else (None,)
            for prefix in prefixes:
                ladder = ladder_of(task, log, split, prefix)
                tables[task] += lines(ladder)
                figures |= figures_of(ladder)
        if name == "dmm":
            figures |= copies_apart(log, split)
        if name in BASKETS:
            made, shares = basket_lines(name, log, split)
            tables["basket"] += made
            figures |= shares
    for table in tables.values():
        print("\n".join(table))
    print()
    return figures | {"seconds": time.perf_counter() - begun}


if __name__ == "__main__":
    for key, figure in main().items():
        print(f"{key:44} {figure:,.4g}")
