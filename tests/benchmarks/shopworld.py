"""How fast ShopWorld simulates and how fast its oracle answers, events a second on one core."""

from __future__ import annotations

import time
from collections.abc import Callable

from course_lib.datasets import shopworld

USERS, DAYS = 15_000, 150  # about a million events
REPEATS = 3


def best_of(
    repeats: int, work: Callable[[], object], clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return the seconds of the fastest of some calls of ``work()``, told by ``clock``."""
    seconds = []
    for _ in range(repeats):
        begin = clock()
        work()
        seconds.append(clock() - begin)
    return min(seconds)


def simulate() -> shopworld.Simulation:
    """Simulate afresh, dirt included."""
    shopworld.simulation._simulate.cache_clear()
    return shopworld.simulate(seed=1, users=USERS, days=DAYS)


def main() -> dict[str, float]:
    """Measure; keys end in ``_per_second`` for rates.

    Run it on one core (``taskset -c 0``) to compare it with the promise of 300,000 events; the
    rate by processor time is the one to read where other programs share the core.
    """
    made = simulate()
    rows = len(made.log)
    return {
        "events": rows,
        "events_per_second": round(len(made.raw) / best_of(REPEATS, simulate)),
        "events_per_processor_second": round(
            len(made.raw) / best_of(REPEATS, simulate, time.process_time)
        ),
        "oracle_events_per_second": round(
            rows / best_of(REPEATS, lambda: shopworld.oracle(made.log, made.world))
        ),
        "oracle_everything_events_per_second": round(
            rows / best_of(REPEATS, lambda: shopworld.oracle(made.log, made.world, "everything"))
        ),
    }


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value}")
