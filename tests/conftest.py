"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def course_data() -> Path:
    """The folder of real logs; tests that need it skip where COURSE_DATA is not set."""
    folder = os.environ.get("COURSE_DATA")
    if not folder:
        pytest.skip("COURSE_DATA is not set: no real logs here")
    return Path(folder)


# Whole files go to one worker each (--dist loadfile): the longest ones first, so that none is
# left over at the end with only one worker busy.
LONGEST_FIRST = (
    "tests/test_environment.py",
    "tests/test_exercises.py",
    "tests/test_lessons_08.py",
    "tests/test_lessons_10.py",
    "tests/test_lessons_09.py",
    "tests/test_lessons_07.py",
    "tests/test_lessons_06.py",
    "tests/test_lessons_05.py",
    "tests/test_training_items.py",
    "tests/test_lessons_",
    "notebooks/10_",
    "notebooks/09_",
    "notebooks/08_",
    "notebooks/07_",
    "notebooks/06_",
    "notebooks/05_",
    "solutions/",
    "tests/test_models.py",
    "tests/test_features.py",
    "tests/test_datasets.py",
    "tests/test_runs.py",
    "tests/test_build.py",
    "tests/test_cli.py",
    "notebooks/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files by `LONGEST_FIRST`; the tests of a file keep their order."""

    def rank(item: pytest.Item) -> int:
        ranks = (n for n, start in enumerate(LONGEST_FIRST) if item.nodeid.startswith(start))
        return next(ranks, len(LONGEST_FIRST))

    items.sort(key=rank)
