"""Lesson 06 under papermill: another seed, and every log that serves its main task."""

from __future__ import annotations

import pytest
from lesson_runs import assert_runs, logs_for


@pytest.mark.parametrize("dataset", logs_for("06", "next_event"))
def test_lesson_06(dataset, tmp_path):
    assert_runs("06", dataset, tmp_path, epochs=1, sessions=200, width=8, length=16, questions=500)
