"""yoochoose_100k, all test positions, ranked among all items: a GRU, a Transformer, their blend.

Data and protocol as in ``yoochoose_counting``. The last tenth of the training sessions by time
decides when to stop and how to blend; then the networks are trained anew on the whole week for
as many epochs, and the counting ranker counts it. Keys: ``{gru,transformer,counting,best}_hr20``
and ``_mrr20`` (best: rank fusion of the three), half the width of the best's interval by
session, its lead over counting (``best_lead_low``, ``best_lead_high``), and ``minutes``.
"""

from __future__ import annotations

import sys
from time import perf_counter

import numpy as np
from _networks import fit_network_of_items, item_parts
from yoochoose_counting import TEST_BEGINS, prepared

from course_lib.baselines.reranker import Reranker
from course_lib.metrics import (
    hit_rate,
    interval,
    mrr,
    paired_difference,
    per_row_ranking,
    rank_of_target,
)
from course_lib.models.fusion import fusion_weights
from course_lib.sequences import Catalogue
from course_lib.sessions import next_item
from course_lib.training import rank_items, recommend_items

LENGTH, LISTED = 20, 100
NETWORKS = {
    "GRU": {"epochs": 12, "batch_size": 64, "decay": True, "patience": 12},
    "Transformer": {"epochs": 12, "batch_size": 64, "decay": True, "patience": 12},
}


def main(seed: int = 1) -> dict[str, float]:
    """Train on the week, rank the day, and return the figures."""
    log = prepared()
    labels = next_item(log)
    begins = log.groupby("session_id")["timestamp"].transform("min")
    week = (begins < TEST_BEGINS).to_numpy()
    validation = week & (begins >= begins[week].quantile(0.9)).to_numpy()
    asked = {
        "validation": validation & labels.notna().to_numpy(),
        "test": ~week & labels.notna().to_numpy(),
    }
    begun = perf_counter()
    lists: dict[str, dict[str, np.ndarray]] = {"validation": {}, "test": {}}
    ranks: dict[str, np.ndarray] = {}
    targets: np.ndarray | None = None
    for stage, learnt, part in (
        ("validation", week & ~validation, "validation"),
        ("test", week, "test"),
    ):
        catalogue = Catalogue.fit(log, learnt)
        targets = catalogue.items.get_indexer(labels.astype(object))
        rows = {"train": learnt, "validation": validation, "test": asked[part]}
        parts = item_parts(log, catalogue, rows, LENGTH)
        for name, settings in NETWORKS.items():
            model, training = fit_network_of_items(name, catalogue, parts, seed, **settings)
            print(f"{stage}: {name}, {training}", file=sys.stderr)
            at, best = recommend_items(model, parts["test"], LISTED)
            listed = np.full((len(log), LISTED), -1)
            listed[at] = best
            lists[stage][name] = listed[asked[part]]
            if stage == "test":
                ranks[name] = rank_items(model, parts["test"])[asked[part]]
        counting = Reranker().fit(log, learnt)
        lists[stage]["counting"] = counting.recommend(log, asked[part], LISTED)
        if stage == "test":
            ranks["counting"] = counting.rank(log, labels, asked[part])[asked[part]]
            continue
        fusion = fusion_weights(
            lists[stage],
            targets[asked[part]],
            len(catalogue),
            metric="mrr@20",
            tie_break=catalogue.counts,
            steps=5,
        )
        print(fusion, file=sys.stderr)
    blended = fusion.scores(lists["test"], len(catalogue))
    ranks["best"] = rank_of_target(blended, targets[asked["test"]], catalogue.counts)
    figures: dict[str, float] = {"positions": len(ranks["best"])}
    for name, values in ranks.items():
        figures[f"{name.lower()}_hr20"] = hit_rate(values, 20)
        figures[f"{name.lower()}_mrr20"] = mrr(values, 20)
    sessions = log["session_id"].to_numpy()[asked["test"]]
    hits = {name: per_row_ranking(ranks[name], "hit_rate@20") for name in ("best", "counting")}
    band = interval(hits["best"], sessions)
    lead = paired_difference(hits["best"], hits["counting"], sessions)
    figures["best_hr20_half_width"] = (band.high - band.low) / 2
    figures["best_lead_low"], figures["best_lead_high"] = lead.low, lead.high
    return figures | {"minutes": (perf_counter() - begun) / 60}


if __name__ == "__main__":
    for key, figure in main().items():
        print(f"{key:24} {figure:.4f}")
