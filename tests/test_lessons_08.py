"""Lesson 08 under papermill: another seed, and every log that can serve it."""

from __future__ import annotations

import pytest
from lesson_runs import assert_runs, logs_for


@pytest.mark.parametrize("dataset", logs_for("08"))
def test_lesson_08(dataset, tmp_path):
    assert_runs("08", dataset, tmp_path, epochs=1, sessions=1500)
