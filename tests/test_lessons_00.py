"""Lesson 00 under papermill: another seed, every log that can serve it, no TensorFlow."""

from __future__ import annotations

import pytest
from lesson_runs import assert_runs, forbid_tensorflow, logs_for


@pytest.mark.parametrize("dataset", logs_for("00"))
def test_lesson_00(dataset, tmp_path, monkeypatch):
    trace = forbid_tensorflow(tmp_path, monkeypatch)
    assert_runs("00", dataset, tmp_path)
    assert not trace.exists(), "the lesson asked for TensorFlow or Keras"
