"""Lesson 02 under papermill: another seed, every log that can serve it, no TensorFlow."""

from __future__ import annotations

import pytest
from lesson_runs import assert_runs, forbid_tensorflow, logs_for


@pytest.mark.parametrize("dataset", logs_for("02"))
def test_lesson_02(dataset, tmp_path, monkeypatch):
    trace = forbid_tensorflow(tmp_path, monkeypatch)
    assert_runs("02", dataset, tmp_path)
    assert not trace.exists(), "the lesson asked for TensorFlow or Keras"
