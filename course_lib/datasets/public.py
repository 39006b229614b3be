"""Published logs: one adapter each, from the publisher's layout to the raw event log.

A reader turns every line of the file into one row, torn and odd lines too: what cannot be
read as the column wants it is missing in that row, and cleaning (lesson 01) says so.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from course_lib.datasets.cards import Card
from course_lib.datasets.files import data_folder, find, open_bytes
from course_lib.errors import CourseError
from course_lib.events import attach_attrs

EPOCH = pd.Timestamp("1970-01-01", tz="UTC")
STAMP = pd.DatetimeTZDtype("us", "UTC")
ESHOP_CATEGORIES = {1: "trousers", 2: "skirts", 3: "blouses", 4: "sale"}
ESHOP_COLOURS = "beige black blue brown burgundy gray green navy blue,of many colors,olive pink red violet white"
JD_BEHAVIOURS = {
    1: "view_from_home",
    2: "view_from_list",
    3: "view_from_sale",
    4: "view_from_cart",
    5: "view_from_search",
    6: "read_comments",
    7: "read_specification",
    8: "scroll_to_bottom",
    9: "cart",
    10: "purchase",
}


def _read(path: Path, dtype: dict[str, str], **options: object) -> pd.DataFrame:
    """One row for every line of a delimited file, whatever the line holds."""
    options = {
        "keep_default_na": False,
        "na_values": [""],
        "skip_blank_lines": False,
        "encoding": "utf-8",
    } | options
    with open_bytes(path) as stream:
        return pd.read_csv(stream, dtype=dtype, **options)


def _id(column: pd.Series) -> pd.Series:
    """Ids as int64 where every row has one, else as they are (nullable)."""
    whole = pd.api.types.is_integer_dtype(column) and not column.isna().any()
    return column.astype("int64") if whole else column


def _named(codes: pd.Series, names: dict) -> pd.Series:
    """Codes replaced by names, as a category; an unknown code is missing."""
    return pd.Series(pd.Categorical(codes.map(names), categories=list(names.values())))


def _seconds(seconds: pd.Series | np.ndarray) -> pd.Series:
    """Seconds since 1970-01-01 UTC as timestamps, rounded to the microsecond."""
    micro = np.round(pd.Series(seconds).to_numpy("float64", na_value=np.nan) * 1e6)
    known = np.isfinite(micro)
    stamps = np.where(known, np.where(known, micro, 0).astype("int64"), np.iinfo("int64").min)
    return pd.Series(stamps.view("datetime64[us]")).dt.tz_localize("UTC")


def _read_eshop(paths: list[Path]) -> pd.DataFrame:
    raw = _read(paths[0], {"page 2 (clothing model)": "str"}, sep=";")
    session = _id(raw["session ID"])
    day = pd.to_datetime(raw[["year", "month", "day"]], errors="coerce").dt.as_unit("us")
    stamp = day.dt.tz_localize("UTC") + pd.to_timedelta(raw["order"], unit="s")
    return pd.DataFrame(
        {
            "user_id": session,
            "session_id": session,
            "timestamp": stamp.astype(STAMP),
            "event": pd.Categorical(["view"] * len(raw)),
            "item_id": raw["page 2 (clothing model)"].astype("category"),
            "category_id": _named(raw["page 1 (main category)"], ESHOP_CATEGORIES),
            "price": raw["price"].astype("float32"),
            "order": raw["order"],
            "colour": raw["colour"],
            "location": raw["location"],
            "model_photography": raw["model photography"],
            "price_above_average": raw["price 2"] == 1,
            "page": raw["page"],
            "country": raw["country"],
        }
    )


def _read_online_retail(paths: list[Path]) -> pd.DataFrame:
    dtype = {
        "InvoiceNo": "str",
        "StockCode": "str",
        "Description": "str",
        "Quantity": "Int64",
        "InvoiceDate": "str",
        "UnitPrice": "float64",
        "CustomerID": "float64",
        "Country": "str",
    }
    raw = _read(paths[0], dtype)
    returned = raw["InvoiceNo"].str.startswith("C") | (raw["Quantity"] < 0)
    stamp = pd.to_datetime(raw["InvoiceDate"], format="%Y-%m-%d %H:%M:%S", errors="coerce")
    return pd.DataFrame(
        {
            "user_id": _id(raw["CustomerID"].astype("Int64")),
            "timestamp": stamp.dt.tz_localize("UTC").astype(STAMP),
            "event": _named(
                returned.fillna(False).astype("bool"), {False: "purchase", True: "return"}
            ),
            "item_id": raw["StockCode"].astype("category"),
            "price": raw["UnitPrice"].astype("float32"),
            "quantity": _id(raw["Quantity"]),
            "title": raw["Description"],
            "invoice": raw["InvoiceNo"],
            "country": raw["Country"].astype("category"),
        }
    )


def _read_rees46(paths: list[Path]) -> pd.DataFrame:
    dtype = {
        "event_time": "str",
        "event_type": "category",
        "product_id": "Int64",
        "category_id": "Int64",
        "category_code": "category",
        "brand": "category",
        "price": "float64",
        "user_id": "Int64",
        "user_session": "str",
    }
    raw = _read(paths[0], dtype)
    stamp = pd.to_datetime(raw["event_time"], format="%Y-%m-%d %H:%M:%S UTC", errors="coerce")
    return pd.DataFrame(
        {
            "user_id": _id(raw["user_id"]),
            "session_id": raw["user_session"],
            "timestamp": stamp.dt.tz_localize("UTC").astype(STAMP),
            "event": raw["event_type"].cat.rename_categories({"remove_from_cart": "remove"}),
            "item_id": _id(raw["product_id"]).astype("category"),
            "category_id": _id(raw["category_id"]).astype("category"),
            "brand": raw["brand"],
            "price": raw["price"].astype("float32"),
            "category_path": raw["category_code"],
        }
    )


def _read_dmm(paths: list[Path]) -> pd.DataFrame:
    raw = _read(paths[0], {})
    session = _id(raw["session"])
    return pd.DataFrame(
        {
            "user_id": session,
            "session_id": session,
            "timestamp": _seconds(raw["cum_time_s"]),
            "event": _named(raw["page_type"], {page: f"page_{page}" for page in range(7)}),
            "item_id": pd.Series(pd.Categorical([None] * len(raw), categories=[])),
            "session_purchase": raw["purchase"].astype("bool"),
        }
    )


def _read_yoochoose(paths: list[Path]) -> pd.DataFrame:
    dtype = {"SessionId": "int64", "ItemId": "int64", "Time": "float64"}
    raw = pd.concat([_read(path, dtype, sep="\t") for path in paths], ignore_index=True)
    return pd.DataFrame(
        {
            "user_id": raw["SessionId"],
            "session_id": raw["SessionId"],
            "timestamp": _seconds(raw["Time"].round(3)),
            "event": pd.Categorical(["view"] * len(raw)),
            "item_id": raw["ItemId"].astype("category"),
        }
    )


def _read_beauty(paths: list[Path]) -> pd.DataFrame:
    raw = _read(paths[0], {"user": "int64", "item": "int64"}, sep=" ", names=["user", "item"])
    order = raw.groupby("user", sort=False).cumcount()
    return pd.DataFrame(
        {
            "user_id": raw["user"],
            "timestamp": _seconds(order),
            "event": pd.Categorical(["review"] * len(raw)),
            "item_id": raw["item"].astype("category"),
        }
    )


def _read_jd(paths: list[Path]) -> pd.DataFrame:
    raw = _read(paths[0], {})
    session = _id(raw["session"])
    elapsed = raw.groupby("session", sort=False)["interval"].cumsum() - raw["interval"]
    return pd.DataFrame(
        {
            "user_id": session,
            "session_id": session,
            "timestamp": _seconds(elapsed),
            "event": _named(raw["behavior"], JD_BEHAVIOURS),
            "item_id": raw["sku"].astype("category"),
            "category_id": raw["category"].astype("category"),
            "interval": raw["interval"],
            "dwell": raw["dwell"],
        }
    )


_READERS: dict[str, tuple[str, tuple[str, ...], Callable[[list[Path]], pd.DataFrame]]] = {
    "eshop": ("eshop_clothing_2008", ("e-shop clothing 2008.csv",), _read_eshop),
    "online_retail": ("online_retail", ("Online Retail.csv",), _read_online_retail),
    "rees46": ("rees46_slice", ("2019-Oct_slice.csv",), _read_rees46),
    "dmm": ("clickstream_dmm", ("events.csv",), _read_dmm),
    "yoochoose": (
        "yoochoose_100k",
        ("yoochoose-clicks-100k_train_full.txt", "yoochoose-clicks-100k_test.txt"),
        _read_yoochoose,
    ),
    "beauty": ("amazon_beauty", ("beauty.txt",), _read_beauty),
    "jd": ("jd_micro_behaviors", ("appliances_sample_events.csv",), _read_jd),
}


def _card(
    name: str, title: str, tasks: tuple[str, ...], clock: str, rows: int, **more: object
) -> Card:
    facts = {
        "event_column": "event",
        "columns": {},
        "licence": "",
        "citation": "",
        "address": "",
    } | more
    return Card(name=name, title=title, tasks=tasks, clock=clock, rows=rows, **facts)


_ALL = ("next_event", "purchase_intent", "next_item")
CARDS = {
    card.name: card
    for card in (
        _card(
            "eshop",
            "clicks in a Polish maternity-wear shop, April to August 2008",
            ("next_event", "next_item"),
            "day",
            165_474,
            event_column="category_id",
        ),
        _card(
            "online_retail",
            "invoice lines of a UK gift wholesaler",
            ("next_item",),
            "time",
            541_909,
        ),
        _card("rees46", "events of a multi-category shop, October 2019", _ALL, "time", 17_435),
        _card(
            "dmm",
            "page types of an anonymous shop",
            ("next_event", "purchase_intent"),
            "session",
            562_274,
            decision_events=("page_6",),
        ),
        _card("yoochoose", "clicks in a European shop, April 2014", ("next_item",), "time", 83_846),
        _card("beauty", "reviews of beauty products", ("next_item",), "order", 353_962),
        _card("jd", "micro-behaviours in JD's appliances", _ALL, "session", 57_332),
    )
}


def load(name: str, profile: str = "quick", seed: int = 1) -> pd.DataFrame:
    """The raw event log of a published dataset."""
    folder, files, reader = _READERS[name]
    data = data_folder()
    folders = [] if data is None else [data / folder, data]
    paths = [find(file, folders) for file in files]
    if None in paths:
        raise CourseError(f"Log {name!r} needs {' and '.join(files)}; put it into COURSE_DATA.")
    log = reader(paths)
    card = CARDS[name]
    attach_attrs(
        log, dataset=name, tasks=card.tasks, clock=card.clock, event_column=card.event_column
    )
    log.attrs["decision_events"] = list(card.decision_events)
    return log
