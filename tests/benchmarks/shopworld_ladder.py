"""ShopWorld's ladder of the next event: how much of the knowable do networks reach, seeds 1 to 5?

Keys: ``gap_closed_quick`` and ``gap_closed_full`` (the best network's share of the gap between
the Markov chain of the last event and the best possible forecast from the events so far, the
least of all seeds), ``long_lag_simplernn`` and ``long_lag_best`` (the same share on rows whose
active coupon was seen more than `FAR` events ago; the highest and the least of the seeds, quick),
``order_holds`` (1 if on every seed Markov > SimpleRNN > LSTM and GRU >= best possible in log-loss,
paired differences outside chance). Convolutions and the Transformer run on seed 1, the full
profile (some ten times the events) on `FULL_SEEDS`. All test sessions are read uncut, so reach
is not mixed in with memory. The table that it prints is in ``docs/benchmarks.md``.
"""

from __future__ import annotations

import sys

import numpy as np
from _networks import EVENTS, event_parts, fit_events

from course_lib.cleaning import clean
from course_lib.datasets import load, shopworld
from course_lib.ladder import Ladder
from course_lib.metrics import Interval
from course_lib.sessions import assign_sessions, next_event
from course_lib.splits import temporal_split
from course_lib.training import forecast

SEEDS, FULL_SEEDS = (1, 2, 3, 4, 5), (1,)
FAR = 25
"""Events between a coupon and the row it still matters to, at least."""
MARKOV, BEST = "Markov, last event", "best possible"
GATED = ("LSTM", "GRU")
RECURRENT = {name: {} for name in ("SimpleRNN", *GATED)}
"""What is trained on all seeds; the others on the first."""
FULL = {"GRU": {"epochs": 6, "batch_size": 256}}


COLUMNS = ("Markov, last event", "Markov, last three events", *EVENTS, "best possible")


def one_shop(
    profile: str, seed: int, networks: dict[str, dict] | None = None
) -> tuple[Ladder, np.ndarray]:
    """Train the networks on one shop; return its ladder and the rows with a cause far back.

    Args:
        profile: ``"quick"`` or ``"full"``.
        seed: Of the shop and of the networks.
        networks: Changes of the recipes by name; None: all networks as they are.
    """
    networks = {name: {} for name in EVENTS} if networks is None else networks
    log = assign_sessions(clean(load("shopworld", profile, seed)).log)
    split = temporal_split(log, seed=seed)
    labels = next_event(log)
    ladder = Ladder("next_event", log, split)
    ladder.add_baselines()
    ladder.add_best(shopworld.oracle(log, shopworld.simulate(profile, seed).world))
    for name, changes in networks.items():
        vocabulary, parts = event_parts(log, split, labels, EVENTS[name].length)
        model, training = fit_events(name, vocabulary, parts, seed, **changes)
        told = forecast(model, parts["test"], len(log), batch_size=64)
        ladder.add(name, told, seconds=training.seconds, parameters=model.count_params())
        print(f"{profile} {seed}: {name}, {training}", file=sys.stderr)
    return ladder, shopworld.far_back(log, FAR)


def closed(ladder: Ladder, name: str, rows: np.ndarray | None = None) -> Interval:
    """Share of the gap between Markov and the best possible."""
    return ladder.gap_closed(name, rows, MARKOV)


def best_of(ladder: Ladder) -> str:
    """The network with the lowest log-loss."""
    trained = [name for name in EVENTS if name in ladder.rungs]
    return min(trained, key=lambda name: ladder.log_loss(name).value)


def ordered(ladder: Ladder) -> bool:
    """Whether Markov > SimpleRNN > LSTM and GRU, outside chance, and nothing beats the best."""
    pairs = [("SimpleRNN", MARKOV), *((name, "SimpleRNN") for name in GATED)]
    better = all(ladder.difference(*pair).high < 0 for pair in pairs)
    return better and all(ladder.difference(name, BEST).high > 0 for name in GATED)


def main() -> dict[str, float]:
    """Train on all seeds, print the table, and return the figures."""
    lines = [
        f"| profile, seed | {' | '.join(COLUMNS)} | best network | gap closed "
        "| far back: SimpleRNN | far back: best | far-back rows |",
        "| --- " * (len(COLUMNS) + 6) + "|",
    ]
    figures: dict[str, float] = {}
    quick, full, far_simple, far_best, orders = [], [], [], [], []
    runs = [("quick", seed, None if seed == 1 else RECURRENT) for seed in SEEDS]
    runs += [("full", seed, FULL) for seed in FULL_SEEDS]
    for profile, seed, networks in runs:
        ladder, far = one_shop(profile, seed, networks)
        best = best_of(ladder)
        cells = [f"{ladder.log_loss(name):.4f}" if name in ladder.rungs else "" for name in COLUMNS]
        shares = [closed(ladder, best)]
        shares += [
            closed(ladder, name, far) for name in ("SimpleRNN", best) if name in ladder.rungs
        ]
        (quick if profile == "quick" else full).append(shares[0].value)
        if profile == "quick":
            far_simple.append(shares[1].value)
            far_best.append(shares[-1].value)
            orders.append(ordered(ladder))
        told = [f"{share:.3f}" for share in shares]
        told = [told[0], told[1] if len(told) == 3 else "", told[-1]]
        rows = f"{far[ladder.scored].mean():.0%}"
        lines.append(f"| {profile}, {seed} | {' | '.join([*cells, best, *told, rows])} |")
        figures[f"gap_closed_{profile}_{seed}"] = shares[0].value
    print("\n".join(lines))
    return figures | {
        "gap_closed_quick": min(quick),
        "gap_closed_full": min(full),
        "long_lag_simplernn": max(far_simple),
        "long_lag_best": min(far_best),
        "order_holds": float(all(orders)),
    }


if __name__ == "__main__":
    for key, figure in main().items():
        print(f"{key:30} {figure:.4f}")
