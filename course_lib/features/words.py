"""What a session has been about, in words: documents for TF-IDF (lesson 03)."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

from course_lib.errors import CourseError
from course_lib.sessions import session_bounds

TEXT_COLUMNS = ("title", "category_path", "category_id", "brand")
"""Columns that `session_words` reads where the log has them.

``category_id`` only where there is no ``category_path``, which says the same in words.
"""


def session_words(
    log: pd.DataFrame,
    rows: np.ndarray | None = None,
    *,
    columns: Iterable[str] | None = None,
    last: int | None = None,
) -> pd.Series:
    """Return the visible part of each asked row's session as one document. Lesson 03.

    An event contributes the words of its title and its names of category and brand, each as
    one word (``home.kitchen`` stays whole, and so do its upper levels: ``home``). Looking at
    an item three times says its words three times.

    Args:
        log: A clean log with sessions, [n] rows.
        rows: The rows asked, bool [n] or positions; by default all. The documents together
            hold every event as often as it is visible: ask few rows, or set `last`.
        columns: Which columns to read; by default those of `TEXT_COLUMNS` that the log has,
            without ``category_id`` where it has a ``category_path``.
        last: Read only so many events before each row, itself included.

    Returns:
        A Series of str, [asked], named ``"words"``, with the log's index; empty where the
        session has shown no words so far. ``attrs["columns"]`` names the columns read.

    Raises:
        CourseError: If a column is not there, none is, or `last` is below 1.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    chosen = _chosen_columns(log, columns)
    if last is not None and last < 1:
        raise CourseError(f"A document holds at least the last 1 event, not {last}.")
    asked = positions(log, rows)
    start = session_bounds(log)[0][asked]
    if last is not None:
        start = np.maximum(start, asked + 1 - last)
    sizes = asked + 1 - start
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    visible = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - start, sizes)
    blank = pa.scalar(" ", pa.large_string())
    said = _said(log[chosen[0]], chosen[0])
    for column in chosen[1:]:
        said = pc.binary_join_element_wise(said, _said(log[column], column), blank)
    lists = pa.LargeListArray.from_arrays(pa.array(offsets), said.take(pa.array(visible)))
    documents = pc.binary_join(lists, blank)
    documents = pc.utf8_trim_whitespace(pc.replace_substring_regex(documents, r"\s+", " "))
    words = pd.Series(
        documents.to_numpy(zero_copy_only=False), index=log.index[asked], name="words", dtype="str"
    )
    words.attrs["columns"] = list(chosen)
    return words


def words_of(document: str) -> list[str]:
    """Cut a document of `session_words` into words: what TF-IDF counts."""
    return document.split()


def positions(log: pd.DataFrame, rows: np.ndarray | None) -> np.ndarray:
    """Return asked rows as positions, in the order given, int64 [asked].

    Args:
        log: A log, [n] rows.
        rows: A bool mask [n], positions, or None for all rows.

    Raises:
        CourseError: If the mask has another length or a position lies outside the log.
    """
    if rows is None:
        return np.arange(len(log))
    asked = np.asarray(rows)
    if asked.dtype == bool:
        if asked.shape != (len(log),):
            raise CourseError(
                f"The mask of rows has the shape {asked.shape}, but the log has {len(log)} rows: "
                "give one True or False a row."
            )
        return np.flatnonzero(asked)
    asked = asked.astype(np.int64)
    if asked.size and not 0 <= asked.min() <= asked.max() < len(log):
        raise CourseError(f"A row asked for lies outside this log of {len(log)} rows.")
    return asked


def _chosen_columns(log: pd.DataFrame, columns: Iterable[str] | None) -> list[str]:
    known = [column for column in TEXT_COLUMNS if column in log]
    if "category_path" in known and "category_id" in known:
        known.remove("category_id")
    chosen = known if columns is None else list(columns)
    absent = [column for column in chosen if column not in log]
    if absent or not chosen:
        what = f"column {absent[0]!r}" if absent else "title, category or brand"
        name = log.attrs.get("dataset", "this log")
        raise CourseError(
            f"Log {name!r} has no {what} to read words from; name others with columns=[...]."
        )
    return chosen


def _said(column: pd.Series, name: str) -> object:
    """The words of each row of a column, as an Arrow array; empty where it is missing."""
    import pyarrow as pa

    category = column.astype("category").cat
    words = [_title(v) if name == "title" else _names(v) for v in category.categories]
    codes = category.codes.to_numpy(np.int64)
    return pa.array([*words, ""], type=pa.large_string()).take(pa.array(codes % (len(words) + 1)))


def _title(value: object) -> str:
    return " ".join(re.findall(r"[^\W\d_]{2,}", str(value).lower()))


def _names(value: object) -> str:
    """A name as one word, and the upper levels of a path as further ones."""
    levels = re.sub(r"\s+", "_", str(value).strip().lower()).split(".")
    return " ".join(".".join(levels[: level + 1]) for level in range(len(levels)))
