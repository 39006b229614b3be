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
