"""Every network on every task that a log serves, beside every baseline, one table a task.

Logs, splits, baselines and tables are those of ``baselines``; the networks and how they are
trained are those of ``_networks``, one recipe for all logs. For purchase intent they read whole
events, prices and times included, as the classical models do. On dmm purchase intent is asked after
5, 10 and 15 pages, on visits (copies of a visit stay in one part). The last column is the
network's lead over the best baseline in the first metric, paired, with its interval; below 0 is
better for a log-loss, above 0 for a hit rate. Keys: the best network's and the best baseline's
leading scores in each table.
"""

from __future__ import annotations

import sys
import time
import warnings

import numpy as np
import pandas as pd
from _networks import (
    EVENTS,
    INTENT,
    ITEMS,
    event_parts,
    fit_events,
    fit_network_of_items,
    item_parts,
)
from baselines import PREFIXES, SHOWN, TITLES, ladder_of, prepared

from course_lib.errors import CourseError
from course_lib.ladder import Ladder
from course_lib.sequences import Catalogue
from course_lib.sessions import position_in_session
from course_lib.splits import Split
from course_lib.training import forecast, rank_items

LOGS = ("jd", "eshop", "rees46", "dmm")
SEED = 1


def add_networks(ladder: Ladder, log: pd.DataFrame, split: Split) -> None:
    """Train each network that serves the ladder's task, and let it join."""
    if ladder.task == "next_item":
        catalogue = Catalogue.fit(log, split.rows(log, "train"))
        rows = {part: split.rows(log, part) for part in ("train", "validation", "test")}
        for name, recipe in ITEMS.items():
            parts = item_parts(log, catalogue, rows, recipe.length)
            model, training = fit_network_of_items(name, catalogue, parts, SEED)
            _join(ladder, name, rank_items(model, parts["test"]), model, training)
        return
    rows, recipes, intent = np.ones(len(log), bool), EVENTS, ladder.prefix is not None
    if intent:
        rows = (position_in_session(log) < 4 * ladder.prefix) & ladder.labels.notna().to_numpy()
        recipes = INTENT
    for name, recipe in recipes.items():
        vocabulary, parts = event_parts(log, split, ladder.labels, recipe.length, rows, intent)
        model, training = fit_events(name, vocabulary, parts, SEED, recipes)
        told = forecast(model, parts["test"], len(log), batch_size=64)
        told = told[:, 1] if ladder.prefix else told
        _join(ladder, name, told, model, training)


def _join(ladder: Ladder, name: str, told: np.ndarray, model: object, training: object) -> None:
    ladder.add(name, told, seconds=training.seconds, parameters=model.count_params())
    print(f"{ladder.dataset} {ladder.task}: {name}, {training}", file=sys.stderr)


def best(ladder: Ladder, kind: str) -> str:
    """The best rung of a kind, ``baseline`` or ``model``, by the ladder's leading metric."""
    names = [name for name in ladder.table().index if ladder[name].kind == kind]
    return names[0]


def lines(ladder: Ladder) -> list[str]:
    """The ladder as rows of a Markdown table: the best baseline, then the networks."""
    where = ladder.dataset + (f", {ladder.prefix} events seen" if ladder.prefix else "")
    ruler = best(ladder, "baseline")
    made = []
    for name in ladder.table().index:
        rung = ladder[name]
        if name != ruler and rung.kind == "baseline":
            continue
        scores = " | ".join(format(rung.scores[metric], ".3f") for metric in SHOWN[ladder.task])
        lead = "" if name == ruler else f"{ladder.difference(name, ruler):.3f}"
        seconds = "" if rung.seconds is None else f"{rung.seconds:.0f}"
        shown = f"*{name}*" if name == ruler else name
        made.append(f"| {where} | {shown} | {scores} | {lead} | {seconds} |")
        where = ""
    return made


def header(task: str) -> list[str]:
    """The head of a task's table."""
    title, *metrics = TITLES[task]
    columns = [f"{title} on", "model", *metrics, "lead over the best baseline", "fit, s"]
    return ["", f"| {' | '.join(columns)} |", "| --- " * 2 + "| ---: " * (len(metrics) + 2) + "|"]


def main() -> dict[str, float]:
    """Print the tables and return the best network's and the best baseline's scores."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    begun = time.perf_counter()
    tables = {task: header(task) for task in SHOWN}
    figures: dict[str, float] = {}
    for name in LOGS:
        try:
            log, split = prepared(name)
        except CourseError as error:
            print(f"{name} is left out: {error}")
            continue
        for task in [task for task in SHOWN if task in log.attrs["tasks"]]:
            for prefix in PREFIXES[name] if task == "purchase_intent" else (None,):
                ladder = ladder_of(task, log, split, prefix)
                add_networks(ladder, log, split)
                tables[task] += lines(ladder)
                where = f"{task}_{name}" + (f"_{prefix}" if prefix else "")
                shown = ("roc_auc", "average_precision") if prefix else SHOWN[task][:1]
                for kind in ("baseline", "model"):
                    for metric in shown:
                        figures[f"{where}_{kind}_{metric.replace('@', '')}"] = _top(
                            ladder, kind, metric
                        )
    for table in tables.values():
        print("\n".join(table))
    print()
    return figures | {"minutes": (time.perf_counter() - begun) / 60}


def _top(ladder: Ladder, kind: str, metric: str) -> float:
    values = [rung.scores[metric].value for rung in ladder.rungs.values() if rung.kind == kind]
    return min(values) if metric == "log_loss" else max(values)


if __name__ == "__main__":
    for key, figure in main().items():
        print(f"{key:56} {figure:.4f}")
