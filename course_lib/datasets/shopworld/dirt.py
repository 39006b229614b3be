"""What goes wrong between the shopper and the log, and the truth about each raw row.

Dirt can be told from the raw log alone by an honest cleaner: clean events of a user are at
least `MIN_GAP` seconds apart, so two equal ones within a second are one; clean rows reach the
server seconds after they happened, so a timestamp after the receipt or in 1970 is a clock gone
wrong. Not all of it: some clocks are off by less than a cleaner dares to call wrong, and
some bots take pauses almost as people do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from course_lib.datasets.shopworld.rows import RowMaker
from course_lib.datasets.shopworld.visits import DAY_SECONDS
from course_lib.datasets.shopworld.world import MIN_GAP, SEARCH, VIEW

KINDS = (
    "duplicate",
    "bot",
    "clock",
    "absurd_price",
    "missing_price",
    "truncated",
    "late",
)
"""The kinds of dirt: the bool columns of the truth."""
LOST_BY_TRUNCATION = ("brand",)
"""Columns that a row loses when it is cut off in its title."""
SECOND = 1_000_000
"""Timestamps count microseconds."""
CLOCK_AHEAD = (270, 72 * 3600)
"""By how many seconds a device's clock runs ahead, evenly on a logarithmic scale."""
MILD_SPREAD = (0.15, 0.6)
"""Standard deviation of a mild bot's log seconds between events; a person's is about 1."""


@dataclass(frozen=True)
class DirtRates:
    """How much goes wrong, as a share of rows (of sessions for clocks and late uploads)."""

    duplicate: float = 0.012
    bot: float = 0.022
    clock: float = 0.006
    absurd_price: float = 0.004
    missing_price: float = 0.008
    truncated: float = 0.004
    late: float = 0.02


CLEAN = DirtRates(0, 0, 0, 0, 0, 0, 0)
"""Nothing goes wrong."""


def add_dirt(
    log: pd.DataFrame,
    make_rows: RowMaker,
    bot_ids: np.ndarray,
    days: int,
    rates: DirtRates,
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Turn the clean log into what the shop recorded.

    Args:
        log: The clean truth, n rows, with session_id.
        make_rows: Makes the bots' rows.
        bot_ids: User ids that are free for bots.
        days: Number of simulated days.
        rates: How much goes wrong.
        rng: Source of chance.

    Returns:
        raw: Rows in the order of their receipt, with `received_at`, without session_id.
        truth: Same index: one bool column a kind of `KINDS`, and log_row (-1: never happened).
    """
    n = len(log)
    bots = _bots(make_rows, bot_ids, round(n * rates.bot), days, rng)
    rows = pd.concat([log.drop(columns="session_id"), bots], ignore_index=True)
    happened = rows["timestamp"].to_numpy(dtype="datetime64[us]").view(np.int64)
    truth = {kind: np.zeros(len(rows), dtype=bool) for kind in KINDS}
    truth["bot"][n:] = True
    truth["log_row"] = np.where(truth["bot"], -1, np.arange(len(rows)))

    shown = happened.copy()
    received = happened + rng.integers(SECOND // 20, 3 * SECOND, size=len(rows))
    session = log["session_id"].to_numpy()
    _upset_sessions(session, shown[:n], received[:n], truth, rates, rng)
    price = rows["price"].to_numpy(copy=True)
    _upset_prices(price[:n], truth, rates, rng)
    cut = _cut_titles(rows["title"], n, rates, rng)
    truth["truncated"][cut.index] = True

    copied, shift = _double_fires(n, rates, rng)
    source = np.concatenate([np.arange(len(rows)), copied])
    shown = np.concatenate([shown, shown[copied] + shift])
    received = np.concatenate([received, received[copied] + shift])
    order = np.argsort(received, kind="stable")
    source = source[order]
    truth = {name: values[source] for name, values in truth.items()}
    truth["duplicate"] = order >= len(rows)
    truth["log_row"] = np.where(truth["duplicate"], -1, truth["log_row"])

    raw = rows.take(source)
    raw.index = pd.RangeIndex(len(raw))
    raw["timestamp"] = _as_time(shown[order])
    raw["price"] = price[source]
    _write_cut_titles(raw, cut.reindex(source[truth["truncated"]]), truth["truncated"])
    raw["received_at"] = _as_time(received[order])
    return raw, pd.DataFrame(truth)


def _as_time(microseconds: np.ndarray) -> pd.DatetimeIndex:
    """Microseconds since 1970 as UTC timestamps."""
    return pd.DatetimeIndex(microseconds.view("datetime64[us]")).tz_localize("UTC")


def _upset_sessions(
    session: np.ndarray,
    shown: np.ndarray,
    received: np.ndarray,
    truth: dict[str, np.ndarray],
    rates: DirtRates,
    rng: np.random.Generator,
) -> None:
    """Upset whole sessions, in place: device clocks ahead or reset to 1970, late uploads."""
    count = session[-1] + 1
    n = len(session)
    first = shown[np.searchsorted(session, np.arange(count))]
    last = shown[np.searchsorted(session, np.arange(count), side="right") - 1]
    shuffled = rng.permutation(count)
    wrong, late = round(count * rates.clock), round(count * rates.late)
    reset, ahead = shuffled[: wrong // 3], shuffled[wrong // 3 : wrong]
    uploads = shuffled[wrong : wrong + late]

    shift = np.zeros(count, dtype=np.int64)
    log_ahead = rng.uniform(*np.log(CLOCK_AHEAD), size=len(ahead))
    shift[ahead] = np.exp(log_ahead).astype(np.int64) * SECOND
    shift[reset] = rng.integers(0, DAY_SECONDS, size=len(reset)) * SECOND - first[reset]
    shown += shift[session]
    truth["clock"][:n] = shift[session] != 0
    upload = np.zeros(count, dtype=np.int64)
    upload[uploads] = last[uploads] + rng.integers(300, DAY_SECONDS, size=late) * SECOND
    truth["late"][:n] = upload[session] > 0
    received[:] = np.where(truth["late"][:n], upload[session], received)


def _upset_prices(
    price: np.ndarray, truth: dict[str, np.ndarray], rates: DirtRates, rng: np.random.Generator
) -> None:
    """Lose some prices and make some absurd, in place."""
    priced = rng.permutation(np.flatnonzero(~np.isnan(price)))
    lost, absurd = round(len(price) * rates.missing_price), round(len(price) * rates.absurd_price)
    missing, wrong = priced[:lost], priced[lost : lost + absurd]
    truth["missing_price"][missing] = True
    truth["absurd_price"][wrong] = True
    price[missing] = np.nan
    right = price[wrong]
    faults = np.stack([right * 100, right * 0.01, -right, right * 0, right * 0 + 999_999])
    price[wrong] = faults[rng.integers(len(faults), size=len(wrong)), np.arange(len(wrong))]


def _cut_titles(titles: pd.Series, n: int, rates: DirtRates, rng: np.random.Generator) -> pd.Series:
    """Choose rows of the first n to be truncated: their titles cut within a word, by row."""
    titled = np.flatnonzero(titles.iloc[:n].notna())
    wanted = min(len(titled), round(n * rates.truncated))
    rows = rng.choice(titled, size=wanted, replace=False)
    luck = rng.random(len(rows))
    cut = [
        _cut_within_a_word(title, level)
        for title, level in zip(titles.iloc[rows].astype(str), luck, strict=True)
    ]
    return pd.Series(cut, index=rows, dtype=object)


def _cut_within_a_word(title: str, level: float) -> str:
    """Cut a title so that its last word loses its end; ``level`` in [0, 1) says where."""
    places = [
        place for place in range(2, len(title)) if title[place - 1] != " " and title[place] != " "
    ]
    return title[: places[int(level * len(places))]]


def _write_cut_titles(raw: pd.DataFrame, cut: pd.Series, truncated: np.ndarray) -> None:
    """Put the cut titles into the raw rows marked, and lose what stood behind them."""
    known = raw["title"].cat.categories
    new = pd.Index(cut.unique()).difference(known)
    titles = raw["title"].cat.add_categories(list(new))
    codes = titles.cat.codes.to_numpy(copy=True)
    codes[truncated] = titles.cat.categories.get_indexer(cut)
    raw["title"] = pd.Categorical.from_codes(codes, dtype=titles.dtype)
    for column in LOST_BY_TRUNCATION:
        codes = raw[column].cat.codes.to_numpy(copy=True)
        codes[truncated] = -1
        raw[column] = pd.Categorical.from_codes(codes, dtype=raw[column].dtype)


def _double_fires(
    n: int, rates: DirtRates, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Choose rows that are recorded twice, and how many microseconds later: [k] each.

    Half are exact copies; the others fire again within the same second or in the next.
    """
    copied = rng.choice(n, size=round(n * rates.duplicate), replace=False)
    shift = np.where(rng.random(len(copied)) < 0.5, 0, rng.integers(0, 2, size=len(copied)))
    return copied, shift * SECOND


def _bots(
    make_rows: RowMaker, ids: np.ndarray, rows: int, days: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Make the rows of bots until there are about as many as asked for.

    Every other one is harsh: hundreds of views at an even pace, at any hour, item after item.
    The others are milder: a hundred or so views a day at a pace that was made uneven to look
    human, some searches. None of them ever fills a cart.
    """
    parts = []
    for number, user in enumerate(ids):
        if rows <= 0:
            break
        draw = _harsh_bot if number % 2 == 0 else _mild_bot
        second, event = draw(days, rng)
        item = np.where(event == VIEW, rng.integers(1 << 30) + np.arange(len(event)), -1)
        parts.append(
            make_rows(user_id=np.full(len(event), user), second=second, event=event, item=item)
        )
        rows -= len(event)
    return (
        pd.concat(parts, ignore_index=True)
        if parts
        else make_rows(*[np.zeros(0, dtype=np.int64)] * 4)
    )


def _harsh_bot(days: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Seconds and events of a crawler: one to three runs of hundreds of views."""
    runs = rng.integers(1, 4)
    pace = rng.integers(2, 12)
    starts = np.sort(rng.choice(max(days, 3), size=runs, replace=False)) * DAY_SECONDS
    lengths = rng.integers(150, 400, size=runs)
    seconds = [
        start + rng.integers(DAY_SECONDS // 2) + pace * np.arange(length)
        for start, length in zip(starts, lengths, strict=True)
    ]
    second = np.concatenate(seconds)
    return second, np.full(len(second), VIEW)


def _mild_bot(days: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Seconds and events of a price watcher: some sixty to two hundred views on a day."""
    length = rng.integers(60, 200)
    spread = rng.uniform(*MILD_SPREAD)
    gaps = np.exp(np.log(rng.integers(8, 30)) + spread * rng.standard_normal(length))
    gaps = np.maximum(np.rint(gaps), MIN_GAP).astype(np.int64)
    second = rng.integers(max(days, 1)) * DAY_SECONDS + rng.integers(DAY_SECONDS // 2)
    event = np.where(rng.random(length) < 0.1, SEARCH, VIEW)
    return second + np.cumsum(gaps), event
