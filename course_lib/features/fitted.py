"""What has to be fitted before it is a feature: scikit-learn transformers that can be audited.

Each remembers which rows of the log it was fitted on (``fitted_rows_``); `fitted_rows` collects
them from a whole pipeline for `course_lib.splits.audit_leakage` (lesson 03). Importing this
module loads scikit-learn; gensim is loaded when item vectors are first fitted.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Self

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.utils.validation import check_is_fitted

from course_lib.errors import CourseError, unknown_name
from course_lib.features.words import positions, words_of
from course_lib.sessions import session_bounds, session_ids

WITHIN = ("price_log", "price_category")
"""The two columns that `PriceWithinCategory` reads in a table of `session_features`."""
ENCODINGS = ("linear", "trees")


class RememberRows(TransformerMixin, BaseEstimator):
    """Passes a table through and remembers on which rows of the log it was fitted.

    Put it first in a pipeline, and `fitted_rows` can tell the leakage audit.

    Attributes:
        fitted_rows_: Positions in the log, int64 [fitted].
    """

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:
        """Remember the table's index: the positions of its rows in the clean log."""
        self.fitted_rows_ = _index_of(X)
        self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the table as it is."""
        return X

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return the names of the columns."""
        return self.feature_names_in_


class PriceWithinCategory(TransformerMixin, BaseEstimator):
    r"""How dear a price is for its category: log price less the category's mean. Lesson 03.

    The mean of a category with few rows leans on the mean of all: with n rows of mean m, and
    M over all categories, it is (n m + prior M) / (n + prior). Fitted on training rows only.

    Args:
        prior: Weight of the overall mean, in rows; 0 or more.

    Attributes:
        means_: Category to mean log price, Series.
        overall_: Mean log price of all fitted rows with a price.
        fitted_rows_: Positions in the log of the rows it was fitted on.
    """

    def __init__(self, prior: float = 20.0):
        self.prior = prior

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:
        """Learn the mean log price of each category.

        Args:
            X: Two columns: log price (0 or missing: none) and category, [n, 2].
            y: Ignored.

        Raises:
            CourseError: If there are not two columns, or `prior` is below 0.
        """
        if self.prior < 0:
            raise CourseError(f"The prior is a number of rows, 0 or more, not {self.prior}.")
        price, category = _price_and_category(X)
        known = price > 0
        self.overall_ = float(price[known].mean()) if known.any() else 0.0
        by_category = price[known].groupby(category[known], observed=True)
        n, mean = by_category.size(), by_category.mean()
        self.means_ = (n * mean + self.prior * self.overall_) / (n + self.prior)
        self.fitted_rows_ = _index_of(X)
        return self

    def transform(self, X: pd.DataFrame) -> np.ndarray:
        """Return log price less the mean of its category, float32 [n, 1]; 0 without a price.

        A category that training did not have is compared with the mean of all.
        """
        check_is_fitted(self, "means_")
        price, category = _price_and_category(X)
        mean = category.astype(object).map(self.means_).astype(float).fillna(self.overall_)
        away = np.where(price > 0, price - mean, 0.0)
        return away.astype(np.float32)[:, None]

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return the name of the one column."""
        return np.array(["price_within_category"], dtype=object)


def _price_and_category(X: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    if not isinstance(X, pd.DataFrame) or X.shape[1] != 2:
        raise CourseError(
            "PriceWithinCategory reads a table of two columns, log price and category, for "
            f"example features[{list(WITHIN)}]."
        )
    return X.iloc[:, 0].astype(float).fillna(0.0), X.iloc[:, 1].astype(str)


class ItemVectors(TransformerMixin, BaseEstimator):
    """Word2Vec over sessions: items that keep the same company get similar vectors. Lesson 03.

    A session is a sentence, an item a word; skip-gram with negative sampling learns to tell
    the items within `window` steps from others (Mikolov et al. 2013; Grbovic and Cheng 2018
    for shops). One worker and a hash of our own make it repeatable on one machine.

    Args:
        dimensions: Numbers in a vector.
        window: Items to either side that count as company.
        epochs: Passes over the sessions.
        least: An item seen less often in training has no vector.
        seed: Of the first vectors and of the sampling.

    Attributes:
        items_: The items that have a vector, most frequent first, object [items].
        vectors_: Their vectors, float32 [items, dimensions].
        fitted_rows_: Positions in the log of the rows it was fitted on.
    """

    def __init__(
        self,
        dimensions: int = 32,
        window: int = 5,
        epochs: int = 5,
        least: int = 5,
        seed: int = 1,
    ):
        self.dimensions = dimensions
        self.window = window
        self.epochs = epochs
        self.least = least
        self.seed = seed

    def fit(self, X: pd.DataFrame, y: object = None, *, rows: np.ndarray | None = None) -> Self:
        """Learn the vectors from the sessions of a log.

        Args:
            X: A clean log with sessions, [n] rows.
            y: Ignored.
            rows: The rows to learn from, bool [n] or positions; by default all. Give the
                training part.

        Raises:
            CourseError: If the log has no items or sessions, or no item comes often enough.
        """
        from gensim.models import Word2Vec

        if "item_id" not in X or not X["item_id"].notna().any():
            name = X.attrs.get("dataset", "this log")
            raise CourseError(f"Log {name!r} records no items, so there is no company to learn.")
        asked = np.sort(positions(X, rows))
        session = session_ids(X)[asked]
        items = X["item_id"].astype("category")
        codes = items.cat.codes.to_numpy(np.int64)[asked]
        self.fitted_rows_ = X.index.to_numpy()[asked]
        session, codes = session[codes >= 0], codes[codes >= 0]
        if not len(codes) or np.bincount(codes).max() < self.least:
            raise CourseError(
                f"No item comes {self.least} times in these {len(asked)} rows; lower `least` or "
                "learn from more rows."
            )
        names = items.cat.categories.astype(str).to_numpy(object)
        edges = np.flatnonzero(np.diff(session)) + 1
        model = Word2Vec(
            [list(part) for part in np.split(names[codes], edges)],
            vector_size=self.dimensions,
            window=self.window,
            epochs=self.epochs,
            min_count=self.least,
            sg=1,
            seed=self.seed,
            workers=1,
            hashfxn=_hash,
        )
        self.items_ = np.array(model.wv.index_to_key, dtype=object)
        self.vectors_ = model.wv.vectors.astype(np.float32)
        return self

    def transform(self, X: pd.DataFrame, rows: np.ndarray | None = None) -> pd.DataFrame:
        """Return the mean vector of the items each asked row's session has shown so far.

        Args:
            X: A clean log with sessions, [n] rows.
            rows: The rows asked, bool [n] or positions; by default all.

        Returns:
            float32 [asked, dimensions] with columns ``vectors_0`` ... and the log's index;
            zeros where the session has shown no item that has a vector.
        """
        check_is_fitted(self, "vectors_")
        asked = positions(X, rows)
        first = session_bounds(X)[0][asked]
        codes = self._codes(X["item_id"])
        known = codes >= 0
        seen = np.concatenate([[0], np.cumsum(known)])
        count = np.maximum(seen[asked + 1] - seen[first], 1)
        mean = np.empty((len(asked), self.vectors_.shape[1]), dtype=np.float32)
        for d, numbers in enumerate(self.vectors_.T.astype(np.float64)):
            total = np.concatenate([[0.0], np.cumsum(np.append(numbers, 0.0)[codes])])
            mean[:, d] = (total[asked + 1] - total[first]) / count
        return pd.DataFrame(
            mean, index=X.index[asked], columns=self.get_feature_names_out(), copy=False
        )

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return the names of the columns: ``vectors_0``, ``vectors_1``, ..."""
        return np.array([f"vectors_{d}" for d in range(self.vectors_.shape[1])], dtype=object)

    def nearest(self, k: int = 10) -> np.ndarray:
        """Return the `k` items nearest to each by cosine, itself left out: positions in `items_`.

        Returns:
            int64 [items, k], nearest first.
        """
        check_is_fitted(self, "vectors_")
        if not 1 <= k < len(self.items_):
            raise CourseError(f"k is between 1 and {len(self.items_) - 1} here, not {k}.")
        unit = self.vectors_ / np.maximum(np.linalg.norm(self.vectors_, axis=1), 1e-12)[:, None]
        nearest = np.empty((len(unit), k), dtype=np.int64)
        for start in range(0, len(unit), 1000):
            near = unit[start : start + 1000] @ unit.T
            here = np.arange(len(near))
            near[here, start + here] = -np.inf
            top = np.argpartition(-near, k - 1, axis=1)[:, :k]
            order = np.argsort(-np.take_along_axis(near, top, axis=1), axis=1, kind="stable")
            nearest[start : start + 1000] = np.take_along_axis(top, order, axis=1)
        return nearest

    def _codes(self, items: pd.Series) -> np.ndarray:
        """Each row's position in `items_`, -1 where it has no vector."""
        category = items.astype("category").cat
        place = pd.Index(self.items_).get_indexer(category.categories.astype(str))
        return np.append(place, -1)[category.codes.to_numpy(np.int64)]


def _hash(text: str) -> int:
    """A hash that is the same in every process, unlike Python's own."""
    return zlib.crc32(text.encode())


def feature_pipeline(
    families: Iterable[str] | None = None,
    *,
    encoding: str = "linear",
    least: int = 20,
    words: int = 300,
) -> Pipeline:
    """Return a scikit-learn pipeline that turns a table of features into numbers. Lesson 03.

    Everything in it is fitted where ``fit`` is called, so give it training rows. It takes what
    a table has: columns of `session_features`, of `ItemVectors` (``vectors_*``) and, where the
    table has a column ``words`` (`session_words`), TF-IDF of it. Append a model with
    ``make_pipeline(feature_pipeline(), LogisticRegression())``.

    Args:
        families: Only columns of these families, the part of a name before its first ``_``; by
            default all of the table.
        encoding: ``"linear"``: numbers are standardised, each category is a column of zeros and
            ones. ``"trees"``: numbers stay as they are, categories are numbered.
        least: A category or a word in fewer training rows is put with the other rare ones (a
            category) or left out (a word).
        words: At most so many words.

    Raises:
        CourseError: If the encoding is unknown.
    """
    if encoding not in ENCODINGS:
        raise unknown_name("encoding", encoding, ENCODINGS)
    chosen = None if families is None else tuple(families)
    linear = encoding == "linear"
    scale = StandardScaler() if linear else "passthrough"
    rare = {"min_frequency": least, "dtype": np.float32}
    one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", **rare)
    numbered = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, **rare)
    within = Pipeline([("within", PriceWithinCategory()), ("scale", scale)])
    tfidf = TfidfVectorizer(
        tokenizer=words_of, token_pattern=None, lowercase=False, min_df=least, max_features=words
    )
    columns = ColumnTransformer(
        [
            ("numbers", scale, _Columns("numbers", chosen)),
            ("categories", one_hot if linear else numbered, _Columns("categories", chosen)),
            ("within", within, _Columns("within", chosen)),
            ("words", _Words(tfidf), _Columns("words", chosen)),
        ],
        sparse_threshold=0.3 if linear else 0.0,
        verbose_feature_names_out=False,
    )
    return Pipeline([("rows", RememberRows()), ("columns", columns)])


class _Columns:
    """Which columns of a table one step of `feature_pipeline` takes."""

    def __init__(self, kind: str, families: tuple[str, ...] | None):
        self.kind, self.families = kind, families

    def __call__(self, table: pd.DataFrame) -> list[str]:
        chosen = [c for c in table if self.families is None or family_of(c) in self.families]
        if self.kind == "within":
            return list(WITHIN) if set(WITHIN) <= set(chosen) else []
        if self.kind == "words":
            return [c for c in chosen if c == "words"]
        numeric = self.kind == "numbers"
        return [
            c
            for c in chosen
            if c not in ("words", WITHIN[1]) and pd.api.types.is_numeric_dtype(table[c]) == numeric
        ]


class _Words(TransformerMixin, BaseEstimator):
    """A vectorizer of documents that takes a table of one column, as `ColumnTransformer` gives."""

    def __init__(self, vectorizer: TfidfVectorizer):
        self.vectorizer = vectorizer

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:
        self.vectorizer_ = clone(self.vectorizer).fit(X.iloc[:, 0])
        return self

    def transform(self, X: pd.DataFrame) -> sparse.csr_matrix:
        return self.vectorizer_.transform(X.iloc[:, 0])

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        return np.array([f"words_{w}" for w in self.vectorizer_.get_feature_names_out()], object)


def family_of(column: str) -> str:
    """Return the family of a feature: its name up to the first ``_``."""
    return column.partition("_")[0]


def fitted_rows(model: object, name: str | None = None) -> dict[str, np.ndarray]:
    """Say of everything inside a fitted model which rows of the log it was fitted on.

    Args:
        model: A fitted transformer, pipeline or column transformer.
        name: What to call it; by default its class.

    Returns:
        Name to positions, ready for ``audit_leakage(..., statistics=fitted_rows(model))``.

    Raises:
        CourseError: If nothing in it remembers its rows.
    """
    found: dict[str, np.ndarray] = {}
    _collect(model, name or type(model).__name__, found)
    if not found:
        raise CourseError(
            f"This {type(model).__name__} does not say which rows it was fitted on; fit it, and "
            "put RememberRows() first in the pipeline, as feature_pipeline() does."
        )
    return found


def _collect(model: object, name: str, found: dict[str, np.ndarray]) -> None:
    if hasattr(model, "fitted_rows_"):
        found[name] = np.asarray(model.fitted_rows_, dtype=np.int64)
    if isinstance(model, Pipeline):
        steps = model.steps
    elif isinstance(model, ColumnTransformer):
        steps = [(step, inner) for step, inner, _ in getattr(model, "transformers_", [])]
    else:
        return
    for step, inner in steps:
        _collect(inner, f"{name}: {step}", found)


def _index_of(table: pd.DataFrame) -> np.ndarray:
    if not isinstance(table, pd.DataFrame) or not pd.api.types.is_integer_dtype(table.index):
        raise CourseError(
            "To be audited, what is fitted needs a DataFrame whose index says which rows of the "
            "log it holds, as session_features(log)[mask] has it."
        )
    return table.index.to_numpy(np.int64)
