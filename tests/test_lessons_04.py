"""Lesson 04 under papermill: another seed, every log, and no TensorFlow."""

from __future__ import annotations

import pytest
from lesson_runs import assert_runs, forbid_tensorflow, logs_for


@pytest.mark.parametrize("dataset", logs_for("04"))
def test_lesson_04(dataset, tmp_path):
    assert_runs("04", dataset, tmp_path)


def test_lesson_04_never_asks_for_tensorflow(tmp_path, monkeypatch):
    trace = forbid_tensorflow(tmp_path, monkeypatch)
    assert_runs("04", "shopworld", tmp_path)
    assert not trace.exists()
