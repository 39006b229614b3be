"""The claims of lesson 05 on ShopWorld, seeds 1 to 5: the grid that CI does not have time for.

``course bench rnn-claims`` prints the figures; ``python tests/benchmarks/rnn_claims.py`` prints
the table of ``docs/claims.md``. Two networks a seed are trained as in the lesson's quick profile.
"""

from __future__ import annotations

import pandas as pd

from course_lib.cleaning import clean
from course_lib.datasets import load, shopworld
from course_lib.ladder import Ladder
from course_lib.metrics import Interval
from course_lib.models.rnn import event_rnn
from course_lib.sequences import Vocabulary, event_sequences
from course_lib.sessions import assign_sessions, next_event, position_in_session, purchase_later
from course_lib.splits import Split, temporal_split
from course_lib.training import fit, forecast

SEEDS = (1, 2, 3, 4, 5)
OVERALL_AT_LEAST, FAR_BACK_AT_MOST = 0.75, 0.60
MARKOV, THREE = "Markov, last event", "Markov, last three events"
"""Where the share of the gap is measured from, here as in the lesson; and from where else."""
PREFIX = 5
"""Events that are visible when purchase intent is asked."""
UNCUT = 512
"""Events in a sequence that cuts no session of ShopWorld short."""
LOSSES = ("markov", "three", "simplernn", "best")
SHARES = ("closed", "closed_from_three", "far_closed", "near_closed_uncut", "far_closed_uncut")


def one_seed(seed: int) -> dict[str, object]:
    """Train and score lesson 05's next-event network on the quick ShopWorld of one seed."""
    log = assign_sessions(clean(load("shopworld", "quick", seed)).log)
    split = temporal_split(log, seed=seed)
    labels = next_event(log)
    vocabulary = Vocabulary.fit(log["event"], rows=split.rows(log, "train"))
    parts = {
        part: event_sequences(log, vocabulary, labels, rows=split.rows(log, part))
        for part in ("train", "validation", "test")
    }
    model = event_rnn(vocabulary, parts["train"].outcomes, seed=seed)
    training = fit(model, parts["train"], parts["validation"], seed=seed, progress=False)
    ladder = Ladder("next_event", log, split)
    ladder.add_baselines()
    ladder.add_best(shopworld.oracle(log, shopworld.simulate("quick", seed).world))
    ladder.add("SimpleRNN", forecast(model, parts["test"], len(log)))
    whole = event_sequences(log, vocabulary, labels, rows=split.rows(log, "test"), length=UNCUT)
    ladder.add("SimpleRNN, uncut", forecast(model, whole, len(log), batch_size=64))
    far = shopworld.far_back(log)
    near = shopworld.far_back(log, distance=0) & ~far
    return {
        "markov": ladder.log_loss(MARKOV),
        "three": ladder.log_loss(THREE),
        "simplernn": ladder.log_loss("SimpleRNN"),
        "best": ladder.log_loss("best possible"),
        "closed": ladder.gap_closed("SimpleRNN", baseline=MARKOV),
        "closed_from_three": ladder.gap_closed("SimpleRNN", baseline=THREE),
        "lead_over_three": ladder.difference("SimpleRNN", THREE),
        "far_closed": ladder.gap_closed("SimpleRNN", far, MARKOV),
        "near_closed_uncut": ladder.gap_closed("SimpleRNN, uncut", near, MARKOV),
        "far_closed_uncut": ladder.gap_closed("SimpleRNN, uncut", far, MARKOV),
        "far_share": float(far[ladder.scored].mean()),
        "auc_gain": _auc_gain(log, split, vocabulary, seed),
        "seconds": training.seconds,
    }


def _auc_gain(log: pd.DataFrame, split: Split, vocabulary: Vocabulary, seed: int) -> Interval:
    """ROC AUC of the lesson's network for purchase intent, less the Markov chain's, paired."""
    later = purchase_later(log)
    early = (position_in_session(log) < 4 * PREFIX) & later.notna().to_numpy()
    parts = {
        part: event_sequences(log, vocabulary, later, rows=split.rows(log, part) & early)
        for part in ("train", "validation", "test")
    }
    buyer = event_rnn(vocabulary, parts["train"].outcomes, seed=seed)
    fit(buyer, parts["train"], parts["validation"], epochs=4, seed=seed, progress=False)
    intent = Ladder("purchase_intent", log, split, prefix=PREFIX)
    intent.add_baselines()
    intent.add("SimpleRNN", forecast(buyer, parts["test"], len(log))[:, 1])
    return intent.difference("SimpleRNN", MARKOV, metric="roc_auc")


def grid() -> dict[int, dict[str, object]]:
    """Return `one_seed` for each of `SEEDS`."""
    return {seed: one_seed(seed) for seed in SEEDS}


def main() -> dict[str, float]:
    """Return the share of the gap closed for each seed, and whether every claim holds."""
    results = grid()
    figures = {}
    for seed, result in results.items():
        figures[f"closed_{seed}"] = result["closed"].value
        figures[f"far_closed_{seed}"] = result["far_closed"].value
        figures[f"far_closed_uncut_{seed}"] = result["far_closed_uncut"].value
        figures[f"closed_from_three_{seed}"] = result["closed_from_three"].value
        figures[f"auc_gain_{seed}"] = result["auc_gain"].value
    closed = [result["closed"].value for result in results.values()]
    remote = [result["far_closed"].value for result in results.values()]
    figures["closed_least"], figures["far_closed_most"] = min(closed), max(remote)
    leads = all(
        result["lead_over_three"].high < 0 < result["auc_gain"].low for result in results.values()
    )
    figures["claims_hold"] = float(
        leads and min(closed) >= OVERALL_AT_LEAST and max(remote) <= FAR_BACK_AT_MOST
    )
    figures["fit_seconds"] = sum(result["seconds"] for result in results.values())
    return figures


def table() -> str:
    """Return the grid as a Markdown table, one row a seed."""
    lines = [
        "| seed | Markov, last event | Markov, last three | SimpleRNN | best possible | gap closed "
        "| from three | far back | near, uncut | far back, uncut | far-back rows | AUC gained |",
        f"|{' --- |' * 12}",
    ]
    for seed, result in grid().items():
        cells = [f"{result[name]:.4f}" for name in LOSSES]
        cells += [f"{result[name]:.2f}" for name in SHARES]
        cells += [f"{result['far_share']:.0%}", f"{result['auc_gain']:.3f}"]
        lines.append(f"| {seed} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
