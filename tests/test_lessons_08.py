"""Lesson 08 under papermill: another seed, and every log that serves its main task."""

from __future__ import annotations

import pytest
from lesson_runs import assert_runs, logs_for


@pytest.mark.parametrize("dataset", logs_for("08", "next_item"))
def test_lesson_08(dataset, tmp_path):
    assert_runs("08", dataset, tmp_path, epochs=1, sessions=500, width=8, length=16)
