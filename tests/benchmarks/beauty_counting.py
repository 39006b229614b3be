"""Amazon Beauty, leave one out, ranked among all items: what counting reaches.

The last item of each user tests, the one before it is for choosing settings; both stay
uncounted. Items that a user has taken are no candidates. Keys: ``popularity_hr10``,
``markov_hr10``, ``rules_hr10``, ``rules_ndcg10``, ``nearest_hr10``, ``best_hr10``,
``best_ndcg10`` (boosted trees over the counts), half the width of the rules' interval by user,
seconds to fit and to rank, and the peak memory of all counting models. The best ranker's lead
over the rules is paired by user (``best_lead_low``, ``best_lead_high``). Keys that end in
``_validation_counted``: the same rules and trees, with the validation items among what they
learn from, as some published figures have it.
"""

from __future__ import annotations

import resource
from time import perf_counter

import numpy as np
import pandas as pd

from course_lib.baselines.ranking import ItemRanker, SequentialRules, item_baselines
from course_lib.baselines.reranker import Reranker
from course_lib.cleaning import clean
from course_lib.datasets import load
from course_lib.metrics import hit_rate, interval, ndcg, paired_difference, per_row_ranking
from course_lib.sessions import assign_sessions, next_item, session_bounds

KEYS = {
    "popularity": "popularity",
    "Markov, last item": "markov",
    "sequential rules": "rules",
    "nearest sessions": "nearest",
}


def main() -> dict[str, float]:
    """Fit, rank 40,226 users, and return the figures."""
    log = assign_sessions(clean(load("beauty", "full", 1)).log)
    labels = next_item(log)
    left = session_bounds(log)[1] - 1 - np.arange(len(log))
    figures: dict[str, float] = {}
    fitting, ranking = [], []
    asked = left == 1
    for name, model in item_baselines(exclude_seen=True).items():
        if name not in KEYS:
            continue
        ranks, fitted, ranked = _measure(model, log, labels, left >= 2, asked)
        figures[f"{KEYS[name]}_hr10"] = hit_rate(ranks, 10)
        figures[f"{KEYS[name]}_ndcg10"] = ndcg(ranks, 10)
        fitting.append(fitted)
        ranking.append(ranked)
        if name == "sequential rules":
            hits = per_row_ranking(ranks[asked], "hit_rate@10")
            band = interval(hits, log["user_id"].to_numpy()[asked])
            figures["rules_hr10_half_width"] = (band.high - band.low) / 2
            figures["cold_targets"] = float(model.cold(log, labels)[asked].mean())
    figures["counting_fit_seconds"], figures["counting_rank_seconds"] = max(fitting), max(ranking)
    figures["counting_peak_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    best = Reranker(exclude_seen=True)
    ranks, fitted, ranked = _measure(best, log, labels, left >= 2, asked)
    figures["best_hr10"], figures["best_ndcg10"] = hit_rate(ranks, 10), ndcg(ranks, 10)
    figures["best_fit_seconds"], figures["best_rank_seconds"] = fitted, ranked
    lead = paired_difference(
        per_row_ranking(ranks[asked], "hit_rate@10"), hits, log["user_id"].to_numpy()[asked]
    )
    figures["best_lead_low"], figures["best_lead_high"] = lead.low, lead.high
    for name, model in (("rules", SequentialRules(exclude_seen=True)), ("best", best)):
        ranks, _, _ = _measure(model, log, labels, left >= 1, asked)
        figures[f"{name}_hr10_validation_counted"] = hit_rate(ranks, 10)
    return figures


def _measure(
    model: ItemRanker,
    log: pd.DataFrame,
    labels: pd.Series,
    train: np.ndarray,
    asked: np.ndarray,
) -> tuple[np.ndarray, float, float]:
    """Ranks of the asked rows, seconds to fit, seconds to rank."""
    begin = perf_counter()
    model.fit(log, train)
    fitted = perf_counter()
    ranks = model.rank(log, labels, asked)
    return ranks, fitted - begin, perf_counter() - fitted
