"""Say in words whether two answers are equal, and where they differ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

LONGEST = 70  # characters of a value shown in a sentence


def in_words(value: Any) -> str:
    """Return a short, deterministic text for a value inside a sentence."""
    if value is None:
        return "None"
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool | str):
        text = repr(value)
    elif _is_missing(value):
        text = "missing"
    elif isinstance(value, float):
        text = f"{value:.6g}"
    elif isinstance(value, pd.Timestamp | pd.Timedelta):
        text = str(value)
    elif isinstance(value, pd.DataFrame | pd.Series | pd.Index | np.ndarray):
        text = f"{kind_in_words(value)} of shape {value.shape}"
    else:
        text = repr(value)
        if " at 0x" in text:
            text = kind_in_words(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def kind_in_words(value: Any) -> str:
    """Return what kind of thing a value (or a type) is: ``a pandas Series``, ``a number (int)``."""
    kind = value if isinstance(value, type) else type(value)
    known = {
        type(None): "None",
        bool: "a truth value (bool)",
        int: "a number (int)",
        float: "a number (float)",
        str: "a text (str)",
        list: "a list",
        tuple: "a tuple",
        dict: "a dictionary",
        set: "a set",
        np.ndarray: "a NumPy array",
        pd.Series: "a pandas Series",
        pd.DataFrame: "a pandas DataFrame",
        pd.Index: "a pandas Index",
    }
    if kind in known:
        return known[kind]
    article = "an" if kind.__name__[:1].lower() in "aeiou" else "a"
    return f"{article} {kind.__name__}"


def difference(got: Any, expected: Any, tolerance: float | None = None) -> str:
    """Return how `got` differs from `expected`, or ``""`` where it does not.

    Tables, series, arrays and lists are compared by position, their index is ignored, and a
    missing value equals a missing value.

    Args:
        got: The learner's value.
        expected: The truth.
        tolerance: How far two numbers may lie apart; without it, rounding errors only.
    """
    if isinstance(expected, pd.DataFrame):
        return _of_tables(got, expected, tolerance)
    if isinstance(expected, Mapping):
        return _of_mappings(got, expected, tolerance)
    if isinstance(expected, set | frozenset):
        return _of_sets(got, expected)
    if _is_sequence(expected):
        return _of_sequences(got, expected, tolerance)
    if isinstance(got, np.ndarray) and got.ndim == 0:
        got = got.item()
    if _is_sequence(got) or isinstance(got, pd.DataFrame | Mapping | set):
        return f"expected {in_words(expected)}, found {kind_in_words(got)}"
    if _same(got, expected, tolerance):
        return ""
    return f"expected {in_words(expected)}, found {in_words(got)}"


def _is_missing(value: Any) -> bool:
    return (
        value is None
        or value is pd.NA
        or value is pd.NaT
        or (isinstance(value, float | np.floating) and math.isnan(value))
    )


def _is_sequence(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, list | tuple | pd.Series | pd.Index | pd.api.extensions.ExtensionArray)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number | np.bool_)


def _same(got: Any, expected: Any, tolerance: float | None) -> bool:
    if _is_missing(got) or _is_missing(expected):
        return _is_missing(got) and _is_missing(expected)
    if _is_number(got) and _is_number(expected):
        return _close(np.float64(got), np.float64(expected), tolerance)
    try:
        return bool(got == expected)
    except (TypeError, ValueError):
        return False


def _close(got: Any, expected: Any, tolerance: float | None) -> Any:
    absolute, relative = (1e-9, 1e-9) if tolerance is None else (tolerance, 0.0)
    with np.errstate(invalid="ignore"):
        return np.isclose(got, expected, rtol=relative, atol=absolute, equal_nan=True)


def _as_array(values: Any) -> np.ndarray:
    """Return numbers as floats (missing = NaN), everything else as objects."""
    if isinstance(values, np.ndarray):
        array = values
    else:
        if isinstance(values, list | tuple):
            try:
                array = np.array(values)
            except ValueError:
                array = np.empty(len(values), dtype=object)
                array[:] = values
            if array.dtype.kind in "US":
                array = np.array(values, dtype=object)
        else:
            series = pd.Series(values)
            if pd.api.types.is_bool_dtype(series.dtype) or pd.api.types.is_numeric_dtype(
                series.dtype
            ):
                return series.to_numpy(dtype=float, na_value=np.nan)
            array = series.to_numpy(dtype=object)
    if array.dtype.kind in "biuf":
        return array.astype(float)
    if array.dtype.kind in "mM" and array.ndim == 1:
        return pd.Series(array).to_numpy(dtype=object)
    return array.astype(object)


def _equal_objects(one: np.ndarray, other: np.ndarray, tolerance: float | None) -> np.ndarray:
    """Compare two object arrays of one shape, at array speed where their elements allow it."""
    missing = pd.isna(one), pd.isna(other)
    left, right = (
        np.where(gone, None, values) for gone, values in zip(missing, (one, other), strict=True)
    )
    try:
        same = np.asarray(left == right, dtype=bool)
        if same.all():
            return same
    except (TypeError, ValueError):
        pass
    pairs = zip(one.ravel(), other.ravel(), strict=True)
    return np.array([_same(a, b, tolerance) for a, b in pairs], dtype=bool).reshape(one.shape)


def _of_sequences(got: Any, expected: Any, tolerance: float | None) -> str:
    if isinstance(got, pd.DataFrame) and np.ndim(expected) == 2:
        got = got.to_numpy()
    if not _is_sequence(got):
        return f"expected {len(expected)} values, found {kind_in_words(got)}"
    one, other = _as_array(got), _as_array(expected)
    if one.shape != other.shape:
        if one.ndim == other.ndim == 1:
            return f"expected {len(other)} values, found {len(one)}"
        return f"expected the shape {other.shape}, found {one.shape}"
    if one.dtype == other.dtype == float:
        equal = _close(one, other, tolerance)
    else:
        equal = _equal_objects(one, other, tolerance)
    if equal.all():
        return ""
    wrong = np.argwhere(~equal)
    first = tuple(int(part) for part in wrong[0])
    place = f"position {first[0]}" if len(first) == 1 else f"position {first}"
    # an array of numbers was compared as floats: show the values as they were given
    shown = in_words(_at(expected, first)), in_words(_at(got, first))
    more = f"; {len(wrong)} of {equal.size} values differ" if len(wrong) > 1 else ""
    return f"expected {shown[0]} at {place}, found {shown[1]}{more}"


def _at(values: Any, place: tuple[int, ...]) -> Any:
    if isinstance(values, pd.Series):
        return values.iloc[place[0]]
    if isinstance(values, np.ndarray):
        return values[place]
    for part in place:
        values = values[part]
    return values


def _of_tables(got: Any, expected: pd.DataFrame, tolerance: float | None) -> str:
    if not isinstance(got, pd.DataFrame):
        return f"expected {kind_in_words(expected)}, found {kind_in_words(got)}"
    missing = [str(column) for column in expected.columns if column not in got.columns]
    if missing:
        return f"expected the columns {', '.join(missing)}, which are not there"
    if len(got) != len(expected):
        return f"expected {len(expected)} rows, found {len(got)}"
    for column in expected.columns:
        text = _of_sequences(got[column], expected[column], tolerance)
        if text:
            return f"in column {column!r}: {text}"
    return ""


def _of_mappings(got: Any, expected: Mapping[Any, Any], tolerance: float | None) -> str:
    if not isinstance(got, Mapping):
        return f"expected a dictionary, found {kind_in_words(got)}"
    for key, value in expected.items():
        if key not in got:
            return f"expected the key {in_words(key)}, which is not there"
        text = difference(got[key], value, tolerance)
        if text:
            return f"at key {in_words(key)}: {text}"
    extra = [key for key in got if key not in expected]
    return f"found the key {in_words(extra[0])}, which should not be there" if extra else ""


def _of_sets(got: Any, expected: set[Any] | frozenset[Any]) -> str:
    if not isinstance(got, set | frozenset):
        return f"expected a set, found {kind_in_words(got)}"
    missing, extra = sorted(map(str, expected - got)), sorted(map(str, got - expected))
    parts = []
    if missing:
        parts.append(f"{len(missing)} missing, such as {missing[0]!r}")
    if extra:
        parts.append(f"{len(extra)} too many, such as {extra[0]!r}")
    return "; ".join(parts)
