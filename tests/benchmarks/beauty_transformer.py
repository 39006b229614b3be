"""Amazon Beauty, leave one out, ranked among all items: a causal Transformer with full softmax.

The last item of each user tests, the one before it decides when to stop and how to blend; both
stay out of training. Items that a user has taken are no candidates. Keys: ``hr10``, ``ndcg10``
of the network; ``counting_hr10``, ``counting_ndcg10`` of the best ranker of lesson 04;
``blend_hr10``, ``blend_ndcg10`` of their rank fusion; halves of the 95 % intervals' widths, the
blend's lead over counting paired by user, ``train_minutes``, ``epochs`` and peak memory.

``python tests/benchmarks/beauty_transformer.py FILE`` keeps a checkpoint there and goes on from it.
"""

from __future__ import annotations

import resource
import sys

import numpy as np
import pandas as pd

from course_lib.baselines.reranker import Reranker
from course_lib.cleaning import clean
from course_lib.datasets import load
from course_lib.metrics import (
    hit_rate,
    interval,
    ndcg,
    paired_difference,
    per_row_ranking,
    rank_of_target,
)
from course_lib.models.fusion import fusion_weights
from course_lib.models.transformer import item_transformer
from course_lib.sequences import Catalogue, item_sequences
from course_lib.sessions import assign_sessions, next_item, session_bounds
from course_lib.training import fit_items, rank_items, recommend_items

LENGTH, LISTED = 50, 200
"""Items that the network reads, and that each model lists for the fusion."""
NETWORK = {"width": 64, "blocks": 2, "heads": 1, "dropout": 0.4}
TRAINING = {"epochs": 16, "patience": 16, "batch_size": 128, "learning_rate": 2e-3, "decay": True}


def prepared() -> tuple[pd.DataFrame, np.ndarray]:
    """The log, and how many items of its user come after each row."""
    log = assign_sessions(clean(load("beauty", "full", 1)).log)
    return log, session_bounds(log)[1] - 1 - np.arange(len(log))


def main(checkpoint: str | None = None, seed: int = 1) -> dict[str, float]:
    """Train, rank 40,226 users, blend, and return the figures."""
    log, left = prepared()
    labels = next_item(log)
    catalogue = Catalogue.fit(log, left >= 2)
    parts = {
        "train": item_sequences(log, catalogue, rows=left >= 3, length=LENGTH),
        **{
            part: item_sequences(
                log, catalogue, rows=left == after, length=LENGTH, overlap=LENGTH - 1
            )
            for part, after in (("validation", 2), ("test", 1))
        },
    }
    network = item_transformer(catalogue, length=LENGTH, seed=seed, **NETWORK)
    training = fit_items(
        network,
        parts["train"],
        parts["validation"],
        exclude_seen=True,
        seed=seed,
        checkpoint=checkpoint,
        **TRAINING,
    )
    print(training.history.to_string(), file=sys.stderr)
    counting = Reranker(exclude_seen=True).fit(log, left >= 2)
    asked = {"validation": left == 2, "test": left == 1}
    lists = {
        part: {
            "Transformer": recommend_items(network, parts[part], LISTED, exclude_seen=True)[1],
            "counting": counting.recommend(log, rows, LISTED),
        }
        for part, rows in asked.items()
    }
    targets = catalogue.items.get_indexer(labels.astype(object))
    fusion = fusion_weights(
        lists["validation"],
        targets[asked["validation"]],
        len(catalogue),
        tie_break=catalogue.counts,
    )
    print(fusion, file=sys.stderr)
    rows = asked["test"]
    blended = fusion.scores(lists["test"], len(catalogue))
    ranks = {
        "": rank_items(network, parts["test"], exclude_seen=True)[rows],
        "counting_": counting.rank(log, labels, rows)[rows],
        "blend_": rank_of_target(blended, targets[rows], catalogue.counts),
    }
    users = log["user_id"].to_numpy()[rows]
    figures = {"users": len(users), "train_minutes": training.seconds / 60}
    figures |= {"epochs": len(training.history), "best_epoch": training.best_epoch}
    hits = {}
    for name, values in ranks.items():
        hits[name] = per_row_ranking(values, "hit_rate@10")
        figures[f"{name}hr10"], figures[f"{name}ndcg10"] = hit_rate(values, 10), ndcg(values, 10)
        band = interval(hits[name], users)
        figures[f"{name}hr10_half_width"] = (band.high - band.low) / 2
    lead = paired_difference(hits["blend_"], hits["counting_"], users)
    figures["blend_lead_low"], figures["blend_lead_high"] = lead.low, lead.high
    figures["transformer_weight"] = fusion.weights["Transformer"]
    figures["fusion_constant"] = fusion.constant
    figures["peak_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return figures


if __name__ == "__main__":
    for key, value in main(sys.argv[1] if len(sys.argv) > 1 else None).items():
        print(f"{key}: {value:.4f}")
