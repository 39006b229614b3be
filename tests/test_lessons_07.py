"""Lesson 07 under papermill: another seed, and every log that serves its main task."""

from __future__ import annotations

import pytest
from lesson_runs import assert_runs, logs_for


@pytest.mark.parametrize("dataset", logs_for("07", "next_event"))
def test_lesson_07(dataset, tmp_path):
    assert_runs("07", dataset, tmp_path, epochs=1, sessions=200, width=8, length=16, questions=500)
