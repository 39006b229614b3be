"""Published logs: one adapter each, from the publisher's layout to the raw event log.

A reader turns every line of the file into one row, torn and odd lines too: what cannot be
read as its column wants it is missing in that row (and counted in ``log.attrs["unreadable"]``),
and cleaning (lesson 01) says what becomes of the row. `course_lib.datasets.catalogue` holds the
facts (tasks, licence, address) about each log.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from course_lib.datasets.catalogue import CARDS, DMM_PAGES, JD_BEHAVIOURS
from course_lib.datasets.download import fetch_file
from course_lib.datasets.files import cache_folder, candidates, data_folder, first_line, open_bytes
from course_lib.errors import CourseError
from course_lib.events import attach_attrs

STAMP = pd.DatetimeTZDtype("us", "UTC")
FETCHED_UNASKED = 100_000_000  # bytes; what is larger is fetched only when asked for by name
SAMPLED_FROM = 20_000_000  # bytes on disk from which the quick profile reads a share of the users
CHUNK = 2_000_000  # rows in memory at once while a large file is sampled

ESHOP_CATEGORIES = {1: "trousers", 2: "skirts", 3: "blouses", 4: "sale"}
ESHOP_COLOURS = {
    1: "beige",
    2: "black",
    3: "blue",
    4: "brown",
    5: "burgundy",
    6: "gray",
    7: "green",
    8: "navy blue",
    9: "of many colours",
    10: "olive",
    11: "pink",
    12: "red",
    13: "violet",
    14: "white",
}
RETAILROCKET_EVENTS = {"view": "view", "addtocart": "cart", "transaction": "purchase"}
TAOBAO_EVENTS = {"pv": "view", "cart": "cart", "fav": "favorite", "buy": "purchase"}


@dataclass(frozen=True)
class Part:
    """Which users a quick run reads: one in `share`, chosen by hash and seed; 1 is all."""

    share: int = 1
    seed: int = 1

    def keeps(self, users: pd.Series) -> np.ndarray:
        """Which rows belong to a chosen user (or to nobody known), bool per row."""
        key = pd.util.hash_array(users.to_numpy("float64", na_value=np.nan), categorize=False)
        salted = (key ^ np.uint64(self.seed)) * np.uint64(0x9E3779B97F4A7C15)
        return ((salted >> np.uint64(33)) % np.uint64(self.share) == 0) | users.isna().to_numpy()


Reader = Callable[[list[Path], Part], pd.DataFrame]


@dataclass(frozen=True)
class Layout:
    """One way in which a log's files come.

    Attributes:
        files: Their names, all needed; each may be gzipped or zipped as well.
        read: Turns them into the raw log.
        starts: What the first line of the first file begins with, a regular expression; None
            where the file is no text.
        share: The quick profile reads one user in `share` where the file is large.
        member: The name of the log inside an archive that holds more.
    """

    files: tuple[str, ...]
    read: Reader
    starts: str | None
    share: int = 1
    member: str | None = None


def _table(
    path: Path,
    dtype: dict[str, str],
    *,
    part: Part | None = None,
    user: str = "",
    member: str | None = None,
    **options: object,
) -> pd.DataFrame:
    """One row for every line of a delimited file, whatever the line holds.

    Columns named in `dtype` get that type; a cell that does not fit it is missing, and their
    number by column stands in ``attrs["unreadable"]``.
    """
    options = {
        "keep_default_na": False,
        "na_values": [""],
        "skip_blank_lines": False,
        "encoding": "utf-8",
    } | options

    def attempt(types: dict[str, str]) -> pd.DataFrame:
        with open_bytes(path, member) as stream:
            if part is None or part.share == 1:
                return pd.read_csv(stream, dtype=types, **options)
            chunks = pd.read_csv(stream, dtype=types, chunksize=CHUNK, **options)
            kept = [chunk[part.keeps(_number(chunk[user], "Int64"))] for chunk in chunks]
        return pd.concat(kept, ignore_index=True)

    try:
        try:
            return attempt({name: kind for name, kind in dtype.items() if kind != "category"})
        except (UnicodeDecodeError, pd.errors.ParserError):
            raise
        except (ValueError, TypeError, OverflowError):
            table = attempt(dict.fromkeys(dtype, "str"))
    except UnicodeDecodeError as error:
        raise CourseError(
            f"File {path.name} is no UTF-8 text ({error.reason} at byte {error.start}); take the "
            "publisher's file as it is."
        ) from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise CourseError(
            f"File {path.name} cannot be read as a table ({str(error).strip()}); fetch it again."
        ) from error
    unreadable = {}
    for name, kind in dtype.items():
        if kind not in ("str", "category"):
            numbers = _number(table[name], kind)
            lost = int((numbers.isna() & table[name].notna()).sum())
            unreadable |= {name: lost} if lost else {}
            table[name] = numbers
    table.attrs["unreadable"] = unreadable
    return table


def _number(column: pd.Series, kind: str) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce")
    if kind == "Int64" and not pd.api.types.is_integer_dtype(numbers):
        numbers = numbers.where(np.isfinite(numbers) & (numbers % 1 == 0) & (numbers.abs() < 2**53))
    return numbers.astype(kind)


def _id(column: pd.Series) -> pd.Series:
    """Ids as int64 where every row has one, else as they are (nullable)."""
    whole = pd.api.types.is_integer_dtype(column) and not column.isna().any()
    return column.astype("int64") if whole else column


def _category(column: pd.Series) -> pd.Series:
    return _id(column).astype("category")


def _always(value: str | None, rows: int) -> pd.Series:
    """One value in every row, as a category; None is missing in every row."""
    categories = pd.Index([] if value is None else [value], dtype="str")
    codes = np.full(rows, -1 if value is None else 0, dtype="int8")
    return pd.Series(pd.Categorical.from_codes(codes, categories=categories))


def _named(codes: pd.Series, names: dict) -> pd.Series:
    """Codes replaced by names, as a category of those that occur, in the order of `names`.

    An unknown code stays what it is, as text.
    """
    known = codes.map(names)
    odd = codes[known.isna() & codes.notna()].astype("str")
    known = known.astype("str").where(known.notna())
    known[odd.index] = odd
    order = [*dict.fromkeys(names.values()), *sorted(set(odd) - set(names.values()))]
    return pd.Series(pd.Categorical(known, categories=order).remove_unused_categories())


def _since_epoch(counts: pd.Series, per_second: int = 1) -> pd.Series:
    """Counts since 1970-01-01 UTC (seconds where `per_second` is 1) as timestamps.

    What lies beyond the year 5000, or is missing, is missing.
    """
    if pd.api.types.is_integer_dtype(counts):
        whole = counts.fillna(0).astype("int64").to_numpy()
        known = counts.notna().to_numpy() & (np.abs(whole) < 10**11 * per_second)
        micro = np.where(known, whole, 0) * (1_000_000 // per_second)
    else:
        values = counts.to_numpy("float64", na_value=np.nan) / per_second
        known = np.abs(values) < 1e11
        micro = np.round(np.where(known, values, 0) * 1e6).astype("int64")
    micro = np.where(known, micro, np.iinfo("int64").min)
    return pd.Series(micro.view("datetime64[us]")).dt.tz_localize("UTC")


def _dates(text: pd.Series, pattern: str) -> pd.Series:
    """Written times as UTC; what does not follow `pattern` is missing."""
    return pd.to_datetime(text, format=pattern, errors="coerce", utc=True).astype(STAMP)


def _read_eshop(paths: list[Path], part: Part) -> pd.DataFrame:
    whole = ("year", "month", "day", "order", "country", "session ID", "page 1 (main category)")
    whole += ("colour", "location", "model photography", "price", "price 2", "page")
    dtype = dict.fromkeys(whole, "Int64") | {"page 2 (clothing model)": "str"}
    raw = _table(paths[0], dtype, member="e-shop clothing 2008.csv", sep=";")
    day = (raw["year"] * 10_000 + raw["month"] * 100 + raw["day"]).astype("str")
    stamp = _dates(day, "%Y%m%d") + pd.to_timedelta(raw["order"], unit="s")
    return _log(
        raw,
        user_id=_id(raw["session ID"]),
        session_id=_id(raw["session ID"]),
        timestamp=stamp.astype(STAMP),
        event=_always("view", len(raw)),
        item_id=_category(raw["page 2 (clothing model)"]),
        category_id=_named(raw["page 1 (main category)"], ESHOP_CATEGORIES),
        price=raw["price"].astype("float32"),
        order=_id(raw["order"]),
        colour=_named(raw["colour"], ESHOP_COLOURS),
        location=_id(raw["location"]),
        photography=_named(raw["model photography"], {1: "en face", 2: "profile"}),
        above_average=_id(raw["price 2"]) == 1,
        page=_id(raw["page"]),
        country=_category(raw["country"]),
    )


_RETAIL = {
    "InvoiceNo": "str",
    "StockCode": "str",
    "Description": "str",
    "Quantity": "Int64",
    "InvoiceDate": "str",
    "UnitPrice": "float64",
    "CustomerID": "Int64",
    "Country": "str",
}


def _read_online_retail(paths: list[Path], part: Part) -> pd.DataFrame:
    path = paths[0]
    if path.name.removesuffix(".zip").endswith(".xlsx") or path.name.startswith("online+retail"):
        raw = _workbook(path)
    else:
        raw = _table(path, _RETAIL)
    cancelled = raw["InvoiceNo"].str.startswith("C").fillna(False).astype("bool")
    negative = (raw["Quantity"] < 0).fillna(False).astype("bool")
    return _log(
        raw,
        user_id=_id(raw["CustomerID"]),
        timestamp=_dates(raw["InvoiceDate"], "%Y-%m-%d %H:%M:%S"),
        event=_named(cancelled | negative, {False: "purchase", True: "return"}),
        item_id=_category(raw["StockCode"]),
        price=raw["UnitPrice"].astype("float32"),
        quantity=_id(raw["Quantity"]),
        title=raw["Description"],
        invoice=raw["InvoiceNo"],
        country=_category(raw["Country"]),
    )


def _workbook(path: Path) -> pd.DataFrame:
    """The publisher's XLSX as a table; parsed once (half a minute), then kept in the cache."""
    facts = path.stat()
    mark = hashlib.sha256(f"{path.resolve()} {facts.st_size} {facts.st_mtime_ns}".encode())
    kept = cache_folder() / "parsed" / f"online_retail-{mark.hexdigest()[:16]}.parquet"
    if kept.exists():
        return pd.read_parquet(kept)
    import openpyxl

    with open_bytes(path, "Online Retail.xlsx") as stream:
        try:
            book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
        except (KeyError, OSError, ValueError) as error:
            raise CourseError(f"File {path.name} is no workbook; fetch it again.") from error
        rows = book.worksheets[0].iter_rows(values_only=True)
        header = list(next(rows, ()))
        if header != list(_RETAIL):
            raise CourseError(
                f"File {path.name} is not laid out as Online Retail: its first row is {header}."
            )
        cells = pd.DataFrame(list(rows), columns=header, dtype="object")
    written = [
        when.replace(microsecond=0).isoformat(" ") if hasattr(when, "isoformat") else when
        for when in cells["InvoiceDate"]
    ]
    cells["InvoiceDate"] = written
    for name, kind in _RETAIL.items():
        column = cells[name]
        text = column.map(str, na_action="ignore").astype("str")
        cells[name] = text if kind == "str" else _number(column, kind)
    kept.parent.mkdir(parents=True, exist_ok=True)
    temporary = kept.with_name(f".{kept.name}.{os.getpid()}")
    cells.to_parquet(temporary)
    os.replace(temporary, kept)
    return cells


def _read_rees46(paths: list[Path], part: Part) -> pd.DataFrame:
    dtype = {
        "event_time": "str",
        "event_type": "str",
        "product_id": "Int64",
        "category_id": "Int64",
        "category_code": "str",
        "brand": "str",
        "price": "float64",
        "user_id": "Int64",
        "user_session": "str",
    }
    raw = _table(paths[0], dtype, part=part, user="user_id")
    events = ("view", "cart", "remove_from_cart", "purchase")
    return _log(
        raw,
        user_id=_id(raw["user_id"]),
        session_id=raw["user_session"],
        timestamp=_dates(raw["event_time"], "%Y-%m-%d %H:%M:%S UTC"),
        event=_named(raw["event_type"], {name: name.partition("_")[0] for name in events}),
        item_id=_category(raw["product_id"]),
        category_id=_category(raw["category_id"]),
        brand=_category(raw["brand"]),
        price=raw["price"].astype("float32"),
        category_path=_category(raw["category_code"]),
    )


def _read_dmm(paths: list[Path], part: Part) -> pd.DataFrame:
    whole = ("session", "pos", "page_type", "purchase")
    raw = _table(paths[0], dict.fromkeys(whole, "Int64") | {"cum_time_s": "float64"})
    return _log(
        raw,
        user_id=_id(raw["session"]),
        session_id=_id(raw["session"]),
        visit_id=_id(_same_times(raw["session"], raw["cum_time_s"])),
        timestamp=_since_epoch(raw["cum_time_s"]),
        event=_named(raw["page_type"], DMM_PAGES),
        item_id=_always(None, len(raw)),
        session_purchase=(raw["purchase"] == 1).fillna(False).astype("bool"),
    )


def _same_times(session: pd.Series, seconds: pd.Series) -> pd.Series:
    """One number for all sessions whose rows have the same seconds, Int64 [rows].

    Numbers count from 0 as they first occur; missing where the session is. A session stands for
    its seconds by the sum of their hashes, modulo 2**64, so the order of its rows is no matter.
    """
    hashes = pd.Series(pd.util.hash_array(seconds.to_numpy("float64")), index=session.index)
    total = hashes.groupby(session, dropna=False, sort=False).transform("sum")
    known = session.notna()
    visits = pd.Series(pd.NA, index=session.index, dtype="Int64")
    visits[known] = pd.factorize(total[known])[0]
    return visits


def _read_yoochoose(paths: list[Path], part: Part) -> pd.DataFrame:
    dtype = {"SessionId": "Int64", "ItemId": "Int64", "Time": "float64"}
    tables = [_table(path, dtype, sep="\t") for path in paths]
    raw = pd.concat(tables, ignore_index=True)
    return _clicks(raw, _since_epoch(raw["Time"].round(3)))


def _read_yoochoose_whole(paths: list[Path], part: Part) -> pd.DataFrame:
    dtype = {"SessionId": "Int64", "Time": "str", "ItemId": "Int64", "Category": "str"}
    raw = _table(paths[0], dtype, part=part, user="SessionId", header=None, names=list(dtype))
    log = _clicks(raw, _dates(raw["Time"], "%Y-%m-%dT%H:%M:%S.%fZ"))
    return log.assign(category_id=_category(raw["Category"]))


def _clicks(raw: pd.DataFrame, stamp: pd.Series) -> pd.DataFrame:
    return _log(
        raw,
        user_id=_id(raw["SessionId"]),
        session_id=_id(raw["SessionId"]),
        timestamp=stamp,
        event=_always("view", len(raw)),
        item_id=_category(raw["ItemId"]),
    )


def _read_beauty(paths: list[Path], part: Part) -> pd.DataFrame:
    dtype = {"user": "Int64", "item": "Int64"}
    raw = _table(paths[0], dtype, sep=" ", header=None, names=list(dtype))
    return _log(
        raw,
        user_id=_id(raw["user"]),
        timestamp=_since_epoch(raw.groupby("user", sort=False, dropna=False).cumcount()),
        event=_always("review", len(raw)),
        item_id=_category(raw["item"]),
    )


_JD = ("session", "pos", "sku", "behavior", "category", "interval", "dwell")


def _read_jd(paths: list[Path], part: Part) -> pd.DataFrame:
    return _micro_behaviours(_table(paths[0], dict.fromkeys(_JD, "Int64")))


def _read_jd_lines(paths: list[Path], part: Part) -> pd.DataFrame:
    """The authors' own layout: one session a line, sku+behaviour+category+interval+dwell."""
    with open_bytes(paths[0]) as stream:
        lines = stream.read().decode("ascii", errors="replace").splitlines()
    cells = [
        (session, position, *(event.split("+") + [None] * 5)[:5])
        for session, line in enumerate(lines)
        for position, event in enumerate(line.split())
    ]
    raw = pd.DataFrame(cells, columns=list(_JD))
    return _micro_behaviours(raw.apply(_number, kind="Int64"))


def _micro_behaviours(raw: pd.DataFrame) -> pd.DataFrame:
    interval = raw["interval"].fillna(0)
    # the interval runs to the next event, so an event starts after those before it
    start = interval.groupby(raw["session"], sort=False, dropna=False).cumsum() - interval
    return _log(
        raw,
        user_id=_id(raw["session"]),
        session_id=_id(raw["session"]),
        timestamp=_since_epoch(start),
        event=_named(raw["behavior"], JD_BEHAVIOURS),
        item_id=_category(raw["sku"]),
        category_id=_category(raw["category"]),
        interval=_id(raw["interval"]),
        dwell=_id(raw["dwell"]),
    )


def _read_retailrocket(paths: list[Path], part: Part) -> pd.DataFrame:
    dtype = dict.fromkeys(("timestamp", "visitorid", "itemid", "transactionid"), "Int64")
    dtype["event"] = "str"
    raw = _table(paths[0], dtype, part=part, user="visitorid", member="events.csv")
    return _log(
        raw,
        user_id=_id(raw["visitorid"]),
        timestamp=_since_epoch(raw["timestamp"], per_second=1000),
        event=_named(raw["event"], RETAILROCKET_EVENTS),
        item_id=_category(raw["itemid"]),
        transaction_id=_id(raw["transactionid"]),
    )


def _read_taobao(paths: list[Path], part: Part) -> pd.DataFrame:
    dtype = {"user": "Int64", "item": "Int64", "category": "Int64", "event": "str", "time": "Int64"}
    raw = _table(paths[0], dtype, part=part, user="user", header=None, names=list(dtype))
    return _log(
        raw,
        user_id=_id(raw["user"]),
        timestamp=_since_epoch(raw["time"]),
        event=_named(raw["event"], TAOBAO_EVENTS),
        item_id=_category(raw["item"]),
        category_id=_category(raw["category"]),
    )


def _log(raw: pd.DataFrame, **columns: pd.Series) -> pd.DataFrame:
    log = pd.DataFrame(columns, index=pd.RangeIndex(len(raw)))
    if raw.attrs.get("unreadable"):
        log.attrs["unreadable"] = raw.attrs["unreadable"]
    return log


_REES46_HEADER = "event_time,event_type,product_id"
# log: its folder in COURSE_DATA, and the layouts that are understood, the fullest first
ADAPTERS: dict[str, tuple[str, tuple[Layout, ...]]] = {
    "eshop": (
        "eshop_clothing_2008",
        (
            Layout(("e-shop clothing 2008.csv",), _read_eshop, "year;month;day;order"),
            Layout(
                ("clickstream+data+for+online+shopping.zip",),
                _read_eshop,
                "year;month;day;order",
                member="e-shop clothing 2008.csv",
            ),
        ),
    ),
    "online_retail": (
        "online_retail",
        (
            Layout(("Online Retail.csv",), _read_online_retail, "InvoiceNo,StockCode,Description"),
            Layout(("Online Retail.xlsx",), _read_online_retail, None),
            Layout(("online+retail.zip",), _read_online_retail, None),
        ),
    ),
    "rees46": (
        "rees46_slice",
        (
            Layout(("2019-Oct.csv",), _read_rees46, _REES46_HEADER, share=100),
            Layout(("2019-Oct_slice.csv",), _read_rees46, _REES46_HEADER),
        ),
    ),
    "dmm": (
        "clickstream_dmm",
        (Layout(("events.csv",), _read_dmm, "session,pos,page_type,cum_time_s,purchase"),),
    ),
    "yoochoose": (
        "yoochoose_100k",
        (
            Layout(
                ("yoochoose-clicks-100k_train_full.txt", "yoochoose-clicks-100k_test.txt"),
                _read_yoochoose,
                "SessionId\tItemId\tTime",
            ),
            Layout(
                ("yoochoose-clicks.dat",), _read_yoochoose_whole, r"\d+,\d{4}-\d\d-\d\dT", share=80
            ),
        ),
    ),
    "beauty": ("amazon_beauty", (Layout(("beauty.txt",), _read_beauty, r"\d+ \d+$"),)),
    "jd": (
        "jd_micro_behaviors",
        (
            Layout(("appliances_sample_events.csv",), _read_jd, "session,pos,sku,behavior"),
            Layout(("JD_Applicances_sample",), _read_jd_lines, r"\d+\+\d+\+\d+\+\d+\+\d+"),
        ),
    ),
    "retailrocket": (
        "retailrocket",
        (
            Layout(
                ("events.csv",), _read_retailrocket, "timestamp,visitorid,event,itemid", share=5
            ),
            Layout(
                ("ecommerce-dataset.zip",),
                _read_retailrocket,
                "timestamp,visitorid,event,itemid",
                share=5,
                member="events.csv",
            ),
        ),
    ),
    "taobao": (
        "taobao",
        (
            Layout(
                ("UserBehavior.csv",), _read_taobao, r"\d+,\d+,\d+,(pv|buy|cart|fav),", share=200
            ),
        ),
    ),
}


def folders(name: str) -> list[Path]:
    """Where the files of log `name` are looked for, in that order."""
    data = data_folder()
    inside = ADAPTERS[name][0]
    here = [] if data is None else list(dict.fromkeys((data / inside, data / name, data)))
    return [*here, cache_folder() / name]


def locate(name: str) -> tuple[Layout, list[Path]] | None:
    """The files of log `name` on this machine, or None where they are not all here.

    Raises:
        CourseError: If a file of that name is here but laid out otherwise.
    """
    strange = None
    for layout in ADAPTERS[name][1]:
        found: list[Path] = []
        for file in layout.files:
            for path in candidates(file, folders(name)):
                seen = "" if layout.starts is None else first_line(path, layout.member)
                if layout.starts is None or found or re.match(layout.starts, seen):
                    found.append(path)
                    break
                strange = strange or (path, seen)
        if len(found) == len(layout.files):
            return layout, found
    # a loose file in COURSE_DATA may belong to another log; one in this log's folder may not
    if strange and strange[0].parent != data_folder():
        path, seen = strange
        raise CourseError(
            f"File {path.name} in {path.parent.name} is not laid out as {name!r}: it starts with "
            f"{seen[:60]!r}; take the publisher's file as it is."
        )
    return None


def fetch(name: str, progress: bool = True) -> list[Path]:
    """Download the files of log `name` into the cache unless they are here already.

    Returns:
        The files.

    Raises:
        CourseError: If a login stands before it, or the download fails.
    """
    here = locate(name)
    if here:
        return here[1]
    card = CARDS[name]
    if card.by_hand:
        raise CourseError(_by_hand(name))
    folder = cache_folder() / name
    files = [fetch_file(file, folder, progress) for file in card.files]
    if locate(name) is None:
        raise CourseError(
            f"What {card.address} sends is not laid out as {name!r}: it was perhaps moved; get it "
            f"from {card.page} and put it into {folder}."
        )
    return files


def _by_hand(name: str) -> str:
    card = CARDS[name]
    where = "the folder that COURSE_DATA names" if data_folder() else f"{cache_folder() / name}"
    if name == "dmm":
        return (
            f"Log 'dmm' is not here: its publisher ({card.page}) ships pickled NumPy arrays, which "
            "can run code when opened, so write them as events.csv with the columns session, pos, "
            f"page_type, cum_time_s, purchase and put it into {where}."
        )
    wanted = " or ".join(" and ".join(layout.files) for layout in ADAPTERS[name][1])
    return (
        f"Log {name!r} is not here: download {wanted} from {card.page} (its publisher asks for a "
        f"login, so the course cannot) and put it, as it is, into {where}."
    )


def load(name: str, profile: str = "quick", seed: int = 1) -> pd.DataFrame:
    """The raw event log of a published dataset; see `course_lib.datasets.load`."""
    card = CARDS[name]
    here = locate(name)
    if here is None:
        size = card.size or 0
        if not card.by_hand and size > FETCHED_UNASKED:
            raise CourseError(
                f"Log {name!r} is not here and is large ({size / 1e9:.1f} GB): fetch it with "
                f"`course data fetch {name}`, or put {card.files[0].name} into the folder that "
                "COURSE_DATA names."
            )
        fetch(name)
        here = locate(name)
    layout, paths = here
    large = sum(path.stat().st_size for path in paths) >= SAMPLED_FROM
    part = Part(layout.share if profile == "quick" and large else 1, seed)
    log = layout.read(paths, part)
    attach_attrs(
        log, dataset=name, tasks=card.tasks, clock=card.clock, event_column=card.event_column
    )
    log.attrs["decision_events"] = list(card.decision_events)
    if part.share > 1:
        log.attrs["sample"] = f"one user in {part.share}, by hash with seed {seed}"
    return log
