"""Cleaning, sessions and the split on ShopWorld: events a second, and beside DuckDB.

Both sides start from the raw log in their own memory (a DataFrame, a DuckDB table) and end with
the clean log in their own memory, each row with its session and its part. Every rule that finds
something in ShopWorld is written in SQL below, and the two results are compared to the row and
to the value before any figure is given. Both may use two cores; each figure is the best of three.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import duckdb
import numpy as np
import pandas as pd

from course_lib.cleaning import clean
from course_lib.datasets.shopworld import simulate
from course_lib.sessions import assign_sessions
from course_lib.splits import temporal_split

SIZES = {"0.3m": 300_000, "1m": 1_000_000, "3m": 3_000_000, "10m": 10_000_000}
COMPARED = ("source_row", "session_id", "part", "price", "title", "brand", "category_id")
REPEATS = 3
LARGEST_IN_DUCKDB = 3_000_000

DUCKDB = """
CREATE OR REPLACE TABLE facts AS
WITH neighbours AS (
    SELECT *,
        lag(timestamp) OVER w AS time_before, lead(timestamp) OVER w AS time_after,
        lag(event) OVER w AS event_before, lag(item_id) OVER w AS item_before
    FROM raw WINDOW w AS (PARTITION BY user_id ORDER BY timestamp, source_row)
), copies AS (
    SELECT source_row FROM neighbours
    WHERE timestamp = time_before OR timestamp = time_after
    QUALIFY row_number() OVER (
        PARTITION BY user_id, timestamp, event, item_id, category_id, price, promotion, quantity,
            title, brand
        ORDER BY source_row
    ) > 1
), flagged AS (
    SELECT *,
        source_row IN (SELECT source_row FROM copies)
        OR coalesce(timestamp - time_before <= INTERVAL 1 SECOND AND event = event_before
            AND item_id IS NOT DISTINCT FROM item_before, FALSE)
        OR timestamp < TIMESTAMP '1990-01-01'
        OR timestamp > received_at + INTERVAL 5 MINUTE AS aside
    FROM neighbours
), visits AS (
    SELECT user_id, timestamp, event,
        timestamp - lag(timestamp) OVER (PARTITION BY user_id ORDER BY timestamp, source_row) AS gap
    FROM flagged WHERE NOT aside
), bots AS (
    SELECT user_id FROM visits GROUP BY user_id
    HAVING count(*) >= 60
        AND avg((event NOT IN ('view', 'search'))::INT) <= 0.01
        AND (
            stddev_pop(ln(greatest(epoch(gap), 0.5))) FILTER (gap <= INTERVAL 30 MINUTE) < 0.5
            OR bit_count(bit_or(1 << hour(timestamp))) >= 20
        )
)
SELECT * EXCLUDE (aside, time_before, time_after, event_before, item_before),
    aside OR user_id IN (FROM bots) AS aside,
    received_at - timestamp > INTERVAL 1 MINUTE AND NOT aside AS late
FROM flagged;

CREATE OR REPLACE TABLE items AS
SELECT item_id, -quantile_disc(-price, 0.5) FILTER (price > 0) AS median,
    arg_min(brand, source_row) FILTER (brand IS NOT NULL) AS brand,
    arg_min(category_id, source_row) FILTER (category_id IS NOT NULL) AS category_id
FROM raw WHERE item_id IS NOT NULL GROUP BY item_id;

CREATE OR REPLACE TABLE titles AS
WITH pairs AS (
    SELECT item_id, title, count(*) AS rows, min(source_row) AS first
    FROM raw WHERE item_id IS NOT NULL AND title IS NOT NULL GROUP BY item_id, title
), usual AS (
    SELECT *, first_value(title) OVER (
        PARTITION BY item_id ORDER BY rows DESC, first
    ) AS whole FROM pairs
)
SELECT item_id, title, whole FROM usual
WHERE length(title) < length(whole) AND starts_with(whole::VARCHAR, title::VARCHAR);

CREATE OR REPLACE TABLE cleaned AS
WITH repaired AS (
    SELECT f.* REPLACE (
        CASE WHEN price <= 0 OR price > 5 * median OR price * 5 < median THEN NULL
            ELSE price END AS price,
        coalesce(whole, f.title) AS title,
        CASE WHEN whole IS NULL THEN f.brand ELSE coalesce(f.brand, i.brand) END AS brand,
        CASE WHEN whole IS NULL THEN f.category_id
            ELSE coalesce(f.category_id, i.category_id) END AS category_id
    )
    FROM facts f
    LEFT JOIN items i ON f.item_id = i.item_id
    LEFT JOIN titles t ON f.item_id = t.item_id AND f.title = t.title
    WHERE NOT aside
), cut AS (
    SELECT *, coalesce(timestamp - lag(timestamp) OVER w > INTERVAL 30 MINUTE, TRUE) AS begins
    FROM repaired WINDOW w AS (PARTITION BY user_id ORDER BY timestamp, source_row)
)
SELECT * EXCLUDE (begins),
    sum(begins::INT) OVER (
        ORDER BY user_id, timestamp, source_row ROWS UNBOUNDED PRECEDING
    ) - 1 AS session_id
FROM cut;

CREATE OR REPLACE TABLE log AS
WITH sessions AS (
    SELECT session_id, min(timestamp) AS start, max(timestamp) AS stop
    FROM cleaned GROUP BY session_id
), sorted AS (
    SELECT list(start ORDER BY start) AS starts, count(*) AS n FROM sessions
), edges AS (
    SELECT date_trunc('day', starts[round_even(0.7 * n, 0)::INT + 1]) AS validation,
        date_trunc('day', starts[round_even(0.85 * n, 0)::INT + 1]) AS test
    FROM sorted
), parts AS (
    SELECT session_id,
        CASE
            WHEN (start < validation AND stop >= validation) OR (start < test AND stop >= test)
                THEN 'straddling'
            WHEN start < validation THEN 'train' WHEN start < test THEN 'validation' ELSE 'test'
        END AS part
    FROM sessions, edges
)
SELECT cleaned.*, part FROM cleaned JOIN parts USING (session_id)
ORDER BY user_id, timestamp, source_row
"""


def with_pandas(raw: pd.DataFrame) -> pd.DataFrame:
    """Clean, cut, split: the library's own path."""
    log = assign_sessions(clean(raw).log)
    return log.assign(part=temporal_split(log).part_of_rows(log))


def best_seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall-clock and processor seconds of the fastest of `REPEATS` runs."""
    taken = []
    for _ in range(REPEATS):
        gc.collect()
        wall, processor = time.perf_counter(), time.process_time()
        work()
        taken.append((time.perf_counter() - wall, time.process_time() - processor))
    return min(wall for wall, _ in taken), min(processor for _, processor in taken)


def connect(raw: pd.DataFrame) -> duckdb.DuckDBPyConnection:
    """A DuckDB in memory, two threads, that holds the raw log as a table of its own."""
    connection = duckdb.connect(config={"threads": 2})
    connection.execute("SET TimeZone = 'UTC'")
    plain = raw.assign(
        source_row=np.arange(len(raw)),
        timestamp=raw["timestamp"].dt.tz_localize(None),
        received_at=raw["received_at"].dt.tz_localize(None),
    )
    connection.register("frame", plain)
    connection.execute("CREATE TABLE raw AS FROM frame")
    connection.unregister("frame")
    return connection


def same(ours: pd.DataFrame, theirs: pd.DataFrame) -> bool:
    """Whether both sides kept the same rows, in the same order, with the same values."""
    for column in COMPARED:
        one, other = ours[column], theirs[column]
        if column in ("price", "source_row", "session_id"):
            equal = np.array_equal(
                one.to_numpy("float64"), other.to_numpy("float64"), equal_nan=True
            )
        else:
            equal = one.astype("str").to_numpy().tolist() == other.astype("str").to_numpy().tolist()
        if not equal:
            return False
    return True


def main() -> dict[str, float | bool]:
    """Measure every size, and DuckDB at the sizes up to three million rows.

    Other work on the same cores slows the clock on the wall, not the processor's: the path is
    linear if an event takes as many processor seconds in the largest log as in the smallest.
    """
    figures: dict[str, float | bool] = {}
    equal, per_event = [], []
    rows_per_user = len(simulate(users=2_000, seed=1).raw) / 2_000
    for label, rows in SIZES.items():
        raw = simulate(users=round(rows / rows_per_user), seed=1).raw
        seconds, processor = best_seconds(lambda raw=raw: with_pandas(raw))
        per_event.append(processor / len(raw))
        figures[f"rows_{label}"] = len(raw)
        figures[f"events_per_second_{label}"] = round(len(raw) / seconds)
        figures[f"events_per_processor_second_{label}"] = round(len(raw) / processor)
        if rows > LARGEST_IN_DUCKDB:
            continue
        connection = connect(raw)
        theirs, _ = best_seconds(lambda connection=connection: connection.execute(DUCKDB))
        result = connection.execute(f"SELECT {', '.join(COMPARED)} FROM log").df()
        equal.append(same(with_pandas(raw), result))
        figures[f"ratio_to_duckdb_{label}"] = round(seconds / theirs, 2)
        connection.close()
    return figures | {
        "events_per_second": min(figures[f"events_per_second_{label}"] for label in SIZES),
        "ratio_to_duckdb": max(figures[key] for key in figures if key.startswith("ratio")),
        "equal_to_duckdb": all(equal),
        "linearity": round(per_event[-1] / per_event[0], 2),
    }


if __name__ == "__main__":
    for key, value in main().items():
        print(f"{key:34} {value}")
