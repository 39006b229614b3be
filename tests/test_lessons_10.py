"""Lesson 10 under papermill: another seed, and every log whose next event or item can be told."""

from __future__ import annotations

import pytest
from lesson_runs import assert_runs, logs_for

from course_lib.models.language import has_packaged_weights


@pytest.mark.skipif(not has_packaged_weights(), reason="the weights of weights.lock are missing")
@pytest.mark.parametrize("dataset", logs_for("10"))
def test_lesson_10(dataset, tmp_path):
    assert_runs("10", dataset, tmp_path, epochs=1, sessions=200, told=3, length=16)
