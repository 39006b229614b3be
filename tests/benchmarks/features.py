"""Features of a session so far on ShopWorld: events a second, and whether time grows linearly.

``session_features`` makes every family of every row. Each size is the best of three runs after
a first one that is not counted; the path is linear if an event takes as many processor seconds
in the largest log as in the smallest.
"""

from __future__ import annotations

import gc
import time

import pandas as pd

from course_lib.datasets.shopworld import simulate
from course_lib.features import session_features

SIZES = {"1m": 1_000_000, "3m": 3_000_000, "10m": 10_000_000}
REPEATS = 3


def best_seconds(log: pd.DataFrame) -> tuple[float, float]:
    """Wall-clock and processor seconds of the fastest of `REPEATS` runs."""
    taken = []
    for _ in range(REPEATS):
        gc.collect()
        wall, processor = time.perf_counter(), time.process_time()
        session_features(log)
        taken.append((time.perf_counter() - wall, time.process_time() - processor))
    return min(wall for wall, _ in taken), min(processor for _, processor in taken)


def main() -> dict[str, float]:
    """Return events a second by size, their least, and the linearity."""
    small = simulate(users=2_000, seed=1)
    columns = session_features(small.log).shape[1]
    users_per_row = 2_000 / len(small.log)
    figures: dict[str, float] = {"columns": columns}
    per_event = []
    for label, rows in SIZES.items():
        log = simulate(users=round(rows * users_per_row), seed=1, dirt=False).log
        wall, processor = best_seconds(log)
        per_event.append(processor / len(log))
        figures[f"rows_{label}"] = len(log)
        figures[f"events_per_second_{label}"] = round(len(log) / wall)
        figures[f"events_per_processor_second_{label}"] = round(len(log) / processor)
        del log
    return figures | {
        "events_per_second": min(figures[f"events_per_second_{label}"] for label in SIZES),
        "linearity": round(per_event[-1] / per_event[0], 2),
    }


if __name__ == "__main__":
    for key, value in main().items():
        print(f"{key:34} {value}")
