"""Features of a session so far: what a classical model looks at (lesson 03).

`session_features` makes a table of them, row by row, from the past alone; `session_words` and
`path_levels` turn titles and categories into words. What has to be fitted first is in
`course_lib.features.fitted` and is loaded, with scikit-learn, when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from course_lib.features.past import FAMILIES, NOTHING, path_levels, session_features
from course_lib.features.words import session_words

if TYPE_CHECKING:
    from course_lib.features.fitted import (
        ItemVectors,
        PriceWithinCategory,
        RememberRows,
        feature_pipeline,
        fitted_rows,
    )

_FITTED = ("ItemVectors", "PriceWithinCategory", "RememberRows", "feature_pipeline", "fitted_rows")

__all__ = [
    "FAMILIES",
    "NOTHING",
    "ItemVectors",
    "PriceWithinCategory",
    "RememberRows",
    "feature_pipeline",
    "fitted_rows",
    "path_levels",
    "session_features",
    "session_words",
]


def __getattr__(name: str) -> object:
    """Load what needs scikit-learn on first use (PEP 562)."""
    if name not in _FITTED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from course_lib.features import fitted

    return getattr(fitted, name)
