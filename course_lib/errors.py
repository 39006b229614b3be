"""Errors that a person can act on: one sentence that says what, where and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class CourseError(ValueError):
    """Bad input. Its text is one sentence for the user; the command line prints it and exits 2."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> CourseError:
    """Return the error for a name that is not in `known`, with the nearest valid one.

    Args:
        kind: What the name stands for, e.g. ``"dataset"``.
        name: What was asked for.
        known: The valid names.
    """
    choices = sorted(str(choice) for choice in known)
    # one number is as near to another as the next: only words can be misspelt
    spelt = any(map(str.isalpha, str(name)))
    nearest = get_close_matches(str(name), choices, n=1, cutoff=0.5) if spelt else []
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"choose from {', '.join(choices)}."
    return CourseError(f"Unknown {kind} {str(name)!r}: {hint}")
