"""yoochoose_100k, all 10,152 test positions, ranked among all items: what counting reaches.

The publisher's preparation is kept (nothing cleaned, repeats stay): a week of sessions trains,
the next day tests. Keys: ``{popularity,markov,rules,nearest,best}_{hr20,mrr20}``, where best
is boosted trees over the counts; its lead over nearest sessions is paired by session
(``best_lead_low``, ``best_lead_high``). Ties share the mean rank after popularity has ordered them;
``markov_*_ties_won`` shows what the same chain reads when a tie counts as won, and
``markov_*_ties_shared`` without popularity.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from course_lib.baselines.ranking import ItemMarkov, item_baselines
from course_lib.baselines.reranker import Reranker
from course_lib.datasets import load
from course_lib.events import sort_log
from course_lib.metrics import (
    hit_rate,
    interval,
    mrr,
    paired_difference,
    per_row_ranking,
    rank_of_target,
)
from course_lib.sessions import assign_sessions, next_item

TEST_BEGINS = pd.Timestamp("2014-04-07 00:45", tz="UTC")
"""Between the last session of the publisher's training file and the first of the test file."""
KEYS = {
    "popularity": "popularity",
    "Markov, last item": "markov",
    "sequential rules": "rules",
    "nearest sessions": "nearest",
    "best": "best",
}


def main() -> dict[str, float]:
    """Fit on the week, rank the day, and return the figures."""
    log = prepared()
    labels = next_item(log)
    begins = log.groupby("session_id")["timestamp"].transform("min")
    train = (begins < TEST_BEGINS).to_numpy()
    asked = ~train & labels.notna().to_numpy()
    figures: dict[str, float] = {"positions": int(asked.sum())}
    hits: dict[str, np.ndarray] = {}
    for name, model in {**item_baselines(), "best": Reranker()}.items():
        if name in KEYS:
            ranks = model.fit(log, train).rank(log, labels, asked)
            figures[f"{KEYS[name]}_hr20"] = hit_rate(ranks, 20)
            figures[f"{KEYS[name]}_mrr20"] = mrr(ranks, 20)
            hits[KEYS[name]] = per_row_ranking(ranks[asked], "hit_rate@20")
    sessions = log["session_id"].to_numpy()[asked]
    band = interval(hits["best"], sessions)
    lead = paired_difference(hits["best"], hits["nearest"], sessions)
    figures["best_hr20_half_width"] = (band.high - band.low) / 2
    figures["best_lead_low"], figures["best_lead_high"] = lead.low, lead.high
    return figures | _tie_rules(ItemMarkov().fit(log, train), log, labels, asked)


def prepared() -> pd.DataFrame:
    """The log as published, sorted, with sessions; not cleaned."""
    raw = load("yoochoose", "full", 1)
    for column in ("item_id", "event"):
        raw[column] = raw[column].astype("category")
    return assign_sessions(sort_log(raw))


def _tie_rules(
    chain: ItemMarkov, log: pd.DataFrame, labels: pd.Series, asked: np.ndarray
) -> dict[str, float]:
    """The chain's figures under two other tie rules."""
    scores = chain.score(log, asked)
    targets = chain.items_.get_indexer(labels[asked].astype(object))
    shared = rank_of_target(scores, targets)
    own = np.asarray(scores[np.arange(len(targets)), targets]).ravel()
    rows = np.repeat(np.arange(len(targets)), np.diff(scores.indptr))
    above = np.bincount(rows[scores.data > own[rows]], minlength=len(targets))
    won = np.where(own > 0, 1.0 + above, len(chain.items_))
    return {
        f"markov_{metric}_ties_{rule}": score(ranks, 20)
        for rule, ranks in (("won", won), ("shared", shared))
        for metric, score in (("hr20", hit_rate), ("mrr20", mrr))
    }
