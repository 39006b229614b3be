"""Amazon Beauty, leave one out, ranked among all items: BERT on items, pretrained by masking.

Protocol and data are those of ``beauty_transformer``; the next item is asked by appending the
mask. Keys: ``hr10``, ``ndcg10``, half of the hit rate's 95 % interval's width, ``train_minutes``,
``epochs`` and peak memory; the history (NDCG@10 of the validation part by epoch) goes to
standard error.

``python tests/benchmarks/beauty_bert.py FILE`` keeps a checkpoint there and goes on from it.
"""

from __future__ import annotations

import resource
import sys

import numpy as np
from beauty_transformer import prepared

from course_lib.baselines.ranking import Visits
from course_lib.metrics import hit_rate, interval, ndcg, per_row_ranking
from course_lib.models.bert import behaviour_encoder, masked_network
from course_lib.sequences import Fields, question_sequences, whole_sequences
from course_lib.sessions import next_item
from course_lib.training.masked import pretrain, rank_masked

LENGTH = 50
NETWORK = {
    "width": 64,
    "blocks": 2,
    "heads": 2,
    "inner": 128,
    "dropout": 0.4,
    "from_the_end": True,
}
TRAINING = {
    "rate": 0.3,
    "last": 0.2,
    "epochs": 120,
    "patience": 120,
    "batch_size": 128,
    "learning_rate": 2e-3,
    "score": "ndcg@10",
}


def main(checkpoint: str | None = None, seed: int = 1) -> dict[str, float]:
    """Pretrain, rank 40,226 users, and return the figures."""
    log, left = prepared()
    fields = Fields.fit(log, left >= 2, names=["item"])
    visits = Visits(log)
    labels = next_item(log)
    train = whole_sequences(log, fields, rows=left >= 2, length=LENGTH)
    asked = {
        part: question_sequences(log, fields, labels, rows=left == after, length=LENGTH + 1)
        for part, after in (("validation", 2), ("test", 1))
    }
    encoder = behaviour_encoder(fields, length=LENGTH + 1, seed=seed, **NETWORK)
    network = masked_network(encoder)
    training = pretrain(
        network,
        train,
        asked["validation"],
        visits=visits,
        seed=seed,
        checkpoint=checkpoint,
        **TRAINING,
    )
    print(training.history.to_string(), file=sys.stderr)
    rows = left == 1
    ranks = rank_masked(network, asked["test"], len(log), visits=visits)[rows]
    band = interval(per_row_ranking(ranks, "hit_rate@10"), log["user_id"].to_numpy()[rows])
    return {
        "users": int(np.isfinite(ranks).sum()),
        "hr10": hit_rate(ranks, 10),
        "ndcg10": ndcg(ranks, 10),
        "hr10_half_width": (band.high - band.low) / 2,
        "train_minutes": training.seconds / 60,
        "epochs": len(training.history),
        "best_epoch": training.best_epoch,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


if __name__ == "__main__":
    for key, value in main(sys.argv[1] if len(sys.argv) > 1 else None).items():
        print(f"{key}: {value:.4f}")
