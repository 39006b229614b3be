"""ShopWorld's funnel, session lengths, repeats and popularity beside real logs'.

Real logs are read from COURSE_DATA and left out where they are not there. Only what a log
records is computed; everything else is missing in the table.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from course_lib import datasets
from course_lib.datasets import shopworld
from course_lib.errors import CourseError

REAL = ("rees46", "eshop", "yoochoose", "jd", "online_retail")


def measures(log: pd.DataFrame) -> dict[str, float]:
    """Describe a log by the figures of the table, missing ones left out."""
    figures: dict[str, float] = {"events": len(log)}
    event = log["event"].astype(str)
    views = log[event.str.startswith("view")]
    if "session_id" in log:
        session = log["session_id"]
        length = session.value_counts()
        figures |= {
            "sessions": len(length),
            "length_mean": length.mean(),
            "length_median": length.median(),
            "length_p90": length.quantile(0.9),
            "length_p99": length.quantile(0.99),
        }
        for name in ("cart", "purchase"):
            if (event == name).any():
                figures[f"sessions_with_{name}"] = session[event == name].nunique() / len(length)
        figures |= repeats(views)
    sold = log[event == "purchase"]
    if len(views):
        figures |= popularity(views["item_id"], "views")
    if len(sold):
        figures |= popularity(sold["item_id"], "purchases")
        figures["share_purchase"] = len(sold) / len(log)
    users_return = "session_id" not in log or log["user_id"].nunique() < log["session_id"].nunique()
    if len(sold) and users_return:
        figures["bought_again"] = bought_again(sold)
    return figures


def repeats(views: pd.DataFrame) -> dict[str, float]:
    """Share of a session's later views of the item just viewed, and of any seen before."""
    again = views["session_id"].eq(views["session_id"].shift())
    same = views["item_id"].astype(str).eq(views["item_id"].astype(str).shift())
    known = views.duplicated(["session_id", "item_id"])
    if not again.any():
        return {}
    return {
        "immediate_repeats": (same & again).sum() / again.sum(),
        "views_of_seen_items": known[again].mean(),
    }


def popularity(items: pd.Series, what: str) -> dict[str, float]:
    """Gini coefficient over the items that occur, and the share of their top hundredth."""
    counts = np.sort(items.dropna().astype(str).value_counts().to_numpy())
    rank = np.arange(1, len(counts) + 1)
    gini = ((2 * rank - len(counts) - 1) * counts).sum() / (len(counts) * counts.sum())
    top = counts[-max(1, len(counts) // 100) :].sum() / counts.sum()
    return {f"gini_{what}": gini, f"top_1_percent_{what}": top}


def bought_again(sold: pd.DataFrame) -> float:
    """Share of purchases of an item that the user had bought on an earlier day."""
    sold = sold.dropna(subset=["user_id", "item_id"])
    day = sold["timestamp"].dt.floor("D")
    key = pd.DataFrame({"user": sold["user_id"], "item": sold["item_id"].astype(str), "day": day})
    once_a_day = key.drop_duplicates()
    return float(once_a_day.duplicated(["user", "item"]).mean())


def table() -> pd.DataFrame:
    """One column a log, one row a figure."""
    columns = {"shopworld": measures(shopworld.simulate("quick", 1).log)}
    for name in REAL:
        try:
            log = datasets.load(name)
        except CourseError:
            continue
        if {"session_id", "timestamp"} <= set(log.columns):
            log = log.sort_values(["session_id", "timestamp"], kind="stable")
        columns[name] = measures(log)
    return pd.DataFrame(columns)


def main() -> dict[str, float]:
    """Return the table as one flat dictionary, ``log.figure``; missing figures left out."""
    return {
        f"{log}.{figure}": round(float(value), 4)
        for log, figures in table().items()
        for figure, value in figures.dropna().items()
    }


if __name__ == "__main__":
    print(table().round(3).to_string())
