"""Columns of a stranger's file: ids, times, events and prices from text, guesses said aloud."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from difflib import get_close_matches

import numpy as np
import pandas as pd

from course_lib.errors import CourseError

MISSING = ("", "nan", "null", "none", "na", "n/a", "<na>", "nat", "\\n", "#n/a", "undefined", "-")
MOST_EVENTS = 200  # different names, more are no event types
SAMPLE = 2_000  # values on which the format of times is chosen
STAMP = pd.DatetimeTZDtype("us", "UTC")
# what shops call the events of the course
SYNONYMS = {
    "view": "pv pageview page_view product_view view_item detail click view_product impression",
    "cart": "addtocart add_to_cart add-to-cart add basket addtobasket add_to_basket",
    "remove": "remove_from_cart removefromcart removefromcartevent delete_from_cart",
    "favorite": "fav favourite favorites wishlist add_to_wishlist like",
    "purchase": "buy order transaction checkout_complete bought sale pay payment ordered",
    "search": "query site_search",
}
_CALLED = {other: name for name, others in SYNONYMS.items() for other in others.split()}
WRITTEN = (
    "%Y-%m-%d %H:%M:%S",
    "%Y/%m/%d %H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%Y/%m/%d %H:%M",
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y%m%d",
    "%Y%m%d%H%M%S",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y",
    "%d-%m-%Y %H:%M:%S",
    "%d-%m-%Y %H:%M",
    "%d-%m-%Y",
    "%m/%d/%Y %I:%M:%S %p",
    "%m/%d/%Y %I:%M %p",
    "%Y-%m-%d %H:%M:%S UTC",
    "%Y-%m-%d %H:%M:%S.%f UTC",
    "%d %b %Y %H:%M:%S",
    "%a %b %d %H:%M:%S %Y",
    "%a, %d %b %Y %H:%M:%S GMT",
)
_UNITS = (("s", 1e8, 1e10), ("ms", 1e11, 1e13), ("us", 1e14, 1e16), ("ns", 1e17, 1e19))
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_NUMBER = r"[-+]?\d{1,19}(\.\d*)?([eE][-+]?\d{1,2})?"


def trimmed(column: pd.Series) -> pd.Series:
    """Text without blanks around it; what stands for nothing (NaN, NULL, ...) is missing."""
    text = column.astype("str").str.strip()
    return text.mask(text.str.lower().isin(MISSING))


def decide_ids(column: pd.Series) -> pd.Series:
    """Ids as whole numbers where all are, also where written as 17850.0; else as text."""
    known = column.dropna()
    if known.empty:
        return column
    if known.str.fullmatch(r"-?(0|[1-9]\d{0,17})").all():
        whole = column
    elif known.str.fullmatch(r"(0|[1-9]\d{0,14})\.0+").all():
        whole = column.str.replace(r"\.0+$", "", regex=True)
    else:
        return column
    values = whole.fillna("0").astype("int64")
    return values if len(known) == len(column) else values.astype("Int64").mask(column.isna())


def parse_events(
    column: pd.Series, called: str, mapping: dict[str, str], source: str
) -> tuple[pd.Series, list[str]]:
    """Events by the course's names, and a sentence for each name that was translated unasked.

    Raises:
        CourseError: If `mapping` names an event that does not occur, or there are too many.
    """
    event = trimmed(column)
    found = sorted(event.dropna().unique())
    if len(found) > MOST_EVENTS:
        raise CourseError(
            f"Column {called!r} of {source} holds {len(found):,} different values: those are no "
            "event types; name another column."
        )
    for name in mapping:
        if name not in found:
            near = get_close_matches(name, found, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"it holds {', '.join(found[:12])}."
            raise CourseError(f"Column {called!r} of {source} has no event {name!r}: {hint}")
        if not mapping[name].strip():
            raise CourseError(f"Event {name!r} is mapped to nothing; say {name}=EVENT.")
    guesses = []
    names = {}
    for name in found:
        plain = re.sub(r"[\s-]+", "_", name.lower())
        names[name] = mapping[name].strip() if name in mapping else _CALLED.get(plain, plain)
        if name not in mapping and names[name] != name:
            guesses.append(f"event {name!r} is {names[name]!r}")
    return event.map(names).astype("str").where(event.notna()), guesses


def parse_prices(column: pd.Series, called: str) -> tuple[pd.Series, list[str], pd.Series]:
    """Prices as float32, what was guessed, and which rows had one that could not be read."""
    text = trimmed(column).str.replace(r"[\s'$€£¥]|[A-Z]{3}$", "", regex=True)
    commas = int(text.str.fullmatch(r"-?(\d{1,3}(\.\d{3})+|\d+),\d+").sum())
    points = int(text.str.fullmatch(r"-?(\d{1,3}(,\d{3})+|\d+)\.\d+").sum())
    grouped = int(text.str.fullmatch(r"-?\d{1,3}(,\d{3})+").sum())
    guesses = []
    if commas > points and commas > grouped:
        text = text.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
        guesses.append(f"{called!r} has decimal commas")
    else:
        text = text.str.replace(r",(?=\d{3})", "", regex=True)
    price = pd.to_numeric(text, errors="coerce").astype("float64")
    price = price.where(np.abs(price) < np.finfo("float32").max).astype("float32")
    return price, guesses, price.isna() & trimmed(column).notna()


def parse_times(column: pd.Series, called: str, source: str) -> tuple[pd.Series, list[str], str]:
    """Times in UTC (missing where unreadable), what was guessed, and the clock.

    Raises:
        CourseError: If fewer than half of the values are times.
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        zone = getattr(column.dtype, "tz", None)
        stamp = column.dt.tz_localize("UTC") if zone is None else column.dt.tz_convert("UTC")
        guesses = [] if zone else [f"{called!r} is in UTC (it names no time zone)"]
        return stamp.astype(STAMP), guesses, _clock(stamp)
    text = trimmed(column)
    known = text.dropna()
    if known.empty:
        raise CourseError(f"Column {called!r} of {source} is empty: there are no times.")
    # spread over the file: the first rows may be odd
    sample = known.iloc[np.unique(np.linspace(0, len(known) - 1, SAMPLE).astype("int64"))]
    read, guess = _reader(sample)
    stamp = read(text)
    bad = int(stamp[known.index].isna().sum())
    if 2 * bad > len(known):
        first = known[stamp[known.index].isna()].iloc[0]
        raise CourseError(
            f"{bad:,} of {len(known):,} values in column {called!r} of {source} are no times "
            f"(the first is {first[:40]!r}); write them as 2026-01-31 12:00:00 or as unix seconds."
        )
    return stamp, [f"{called!r} is {guess}"], _clock(stamp)


def _clock(stamp: pd.Series) -> str:
    """Real dates only ("day") where every time is midnight."""
    return "day" if (stamp.dropna() == stamp.dropna().dt.normalize()).all() else "time"


def _reader(sample: pd.Series) -> tuple[Callable[[pd.Series], pd.Series], str]:
    """How the most values of the sample can be read, and what to call it."""
    ways: list[tuple[Callable[[pd.Series], pd.Series], str]] = []
    numbers = sample[sample.str.fullmatch(_NUMBER)]
    if len(numbers) * 2 >= len(sample):
        middle = float(pd.to_numeric(numbers).abs().median())
        ways += [
            (_counted(unit), f"unix {_UNIT_NAMES[unit]}")
            for unit, low, high in _UNITS
            if low <= middle < high
        ]
    few = sample.iloc[:: max(1, len(sample) // 8)]
    likely = [pattern for pattern in WRITTEN if any(_follows(text, pattern) for text in few)]
    ways += [(_written(pattern), f"written as {pattern}, in UTC") for pattern in likely or WRITTEN]
    ways.append((_iso, "written as ISO 8601 (UTC where it names no time zone)"))
    results = [(way(sample), way, name) for way, name in ways]
    hits = [int(stamps.notna().sum()) for stamps, _, _ in results]
    best = [result for result, hit in zip(results, hits, strict=True) if hit == max(hits)]
    # 8 digits are a date before they are a count, 03/04 is what keeps the file in order
    best.sort(key=lambda result: (result[2].startswith("unix"), -_order(result[0])))
    stamps, way, name = best[0]
    rivals = [other for other, _, _ in best[1:] if not other.equals(stamps)]
    return way, f"{name} (it could be read otherwise too)" if rivals and max(hits) else name


def _follows(text: str, pattern: str) -> bool:
    try:
        datetime.strptime(text, pattern)
    except ValueError:
        return False
    return True


def _order(stamps: pd.Series) -> int:
    return int((stamps.diff() >= pd.Timedelta(0)).sum())


def _counted(unit: str) -> Callable[[pd.Series], pd.Series]:
    per_second = _PER_SECOND[unit]

    def read(text: pd.Series) -> pd.Series:
        plain = text.str.fullmatch(r"[-+]?\d{1,18}").fillna(False).astype("bool")
        whole = text.where(plain, "0").fillna("0").astype("int64").to_numpy()
        micro = whole * (10**6 // per_second) if per_second <= 10**6 else whole // 1000
        other = text.str.fullmatch(_NUMBER).fillna(False).astype("bool") & ~plain
        values = pd.to_numeric(text.where(other), errors="coerce").to_numpy("float64")
        with np.errstate(all="ignore"):
            fits = np.abs(values / per_second) < 1e10
            rounded = np.round(np.where(fits, values, 0) / per_second * 1e6).astype("int64")
        near = plain.to_numpy() & (np.abs(whole // per_second) < 10**10)
        micro = np.where(near, micro, np.where(other & fits, rounded, np.iinfo("int64").min))
        stamp = pd.Series(micro.view("datetime64[us]"), index=text.index)
        return stamp.dt.tz_localize("UTC")

    return read


def _written(pattern: str) -> Callable[[pd.Series], pd.Series]:
    digits = {"%Y%m%d": r"(19|20)\d{6}", "%Y%m%d%H%M%S": r"(19|20)\d{12}"}.get(pattern)

    def read(text: pd.Series) -> pd.Series:
        if digits:  # or strptime would take 1709640000 for the year 1709
            text = text.where(text.str.fullmatch(digits).fillna(False).astype("bool"))
        return pd.to_datetime(text, format=pattern, errors="coerce", utc=True).astype(STAMP)

    return read


def _iso(text: pd.Series) -> pd.Series:
    return pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True).astype(STAMP)
