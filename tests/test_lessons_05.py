"""Lesson 05 under papermill: another seed, and every log that can serve it."""

from __future__ import annotations

import pytest
from lesson_runs import assert_runs, logs_for


@pytest.mark.parametrize("dataset", logs_for("05"))
def test_lesson_05(dataset, tmp_path):
    assert_runs("05", dataset, tmp_path, epochs=2, sessions=600, width=8, length=16)
