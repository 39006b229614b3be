"""yoochoose_100k, all test positions, ranked among all items: BERT on items, asked by a mask.

Data and protocol as in ``yoochoose_sequence``: the last tenth of the training sessions by time
decides in which epoch to stop; then the network is pretrained anew on the whole week for as many
epochs. Keys: ``bert_hr20``, ``bert_mrr20``, half the width of the hit rate's interval by session,
``behind_hr20`` and ``behind_mrr20`` (lesson 08's Transformer, as ``yoochoose_sequence`` found it,
less this), ``epochs`` and ``minutes``.
"""

from __future__ import annotations

import sys
from time import perf_counter

import numpy as np
from yoochoose_counting import TEST_BEGINS, prepared

from course_lib.metrics import hit_rate, interval, mrr, per_row_ranking
from course_lib.models.bert import behaviour_encoder, masked_network
from course_lib.sequences import Fields, question_sequences, whole_sequences
from course_lib.sessions import next_item
from course_lib.training.masked import pretrain, rank_masked

LENGTH = 21
NETWORK = {"width": 64, "blocks": 2, "heads": 2, "inner": 128, "dropout": 0.1}
TRAINING = {"rate": 0.3, "last": 0.2, "batch_size": 64, "learning_rate": 2e-3, "shapes": 2}
EPOCHS = 80
TRANSFORMER = {"hr20": 0.696, "mrr20": 0.371}
"""What ``yoochoose_sequence`` prints for lesson 08's Transformer."""


def main(seed: int = 1, epochs: int = EPOCHS) -> dict[str, float]:
    """Pretrain on the week, rank the day, and return the figures."""
    log = prepared()
    labels = next_item(log)
    begins = log.groupby("session_id")["timestamp"].transform("min")
    week = (begins < TEST_BEGINS).to_numpy()
    validation = week & (begins >= begins[week].quantile(0.9)).to_numpy()
    test = ~week & labels.notna().to_numpy()
    begun = perf_counter()
    ranks = np.full(len(log), np.nan)
    kept = epochs
    for stage, learnt in (("validation", week & ~validation), ("test", week)):
        fields = Fields.fit(log, learnt, names=["item"])
        whole = whole_sequences(log, fields, rows=learnt, length=LENGTH)
        asked = question_sequences(
            log, fields, labels, rows=validation & labels.notna().to_numpy(), length=LENGTH
        )
        encoder = behaviour_encoder(fields, length=LENGTH, seed=seed, **NETWORK)
        network = masked_network(encoder)
        training = pretrain(
            network,
            whole,
            asked,
            score="mrr@20",
            epochs=kept,
            patience=kept,
            seed=seed,
            progress=False,
            **TRAINING,
        )
        print(f"{stage}: {training}", file=sys.stderr)
        kept = training.best_epoch
        if stage == "test":
            questions = question_sequences(log, fields, labels, rows=test, length=LENGTH)
            ranks = rank_masked(network, questions, len(log))[test]
    band = interval(per_row_ranking(ranks, "hit_rate@20"), log["session_id"].to_numpy()[test])
    figures = {"bert_hr20": hit_rate(ranks, 20), "bert_mrr20": mrr(ranks, 20)}
    return {
        "positions": len(ranks),
        **figures,
        "hr20_half_width": (band.high - band.low) / 2,
        **{f"behind_{key}": TRANSFORMER[key] - figures[f"bert_{key}"] for key in TRANSFORMER},
        "epochs": kept,
        "minutes": (perf_counter() - begun) / 60,
    }


if __name__ == "__main__":
    for key, figure in main().items():
        print(f"{key:20} {figure:.4f}")
